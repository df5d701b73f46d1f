"""Networks beside the host's: what is done where, by which thread."""

from __future__ import annotations

import os
import threading

import pytest

from gasang.core.errors import PermissionDeniedError
from gasang.host import netns
from gasang.network.place import Beside, Here
from support.privileges import needs_root


def where() -> str:
    """The calling thread's network namespace."""
    return os.readlink("/proc/thread-self/ns/net")


def test_here_is_here() -> None:
    assert Here().call(threading.get_ident) == Here().outside(threading.get_ident) == threading.get_ident()


@needs_root
def test_one_thread_lives_there_and_one_stays() -> None:
    home, namespace = where(), netns.create()
    place = Beside(namespace)
    there = os.readlink(f"/proc/self/fd/{namespace}")
    assert place.call(where) == there != home
    assert place.outside(where) == where() == home
    assert place.call(lambda: place.outside(where)) == home
    assert place.call(lambda: place.call(where)) == there
    assert place.call(lambda: started_by_us()) == there
    with pytest.raises(ZeroDivisionError):
        place.call(lambda: 1 // 0)
    place.close()
    os.close(namespace)


def started_by_us() -> str:
    """Where a thread is that the calling one starts."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(where()))
    thread.start()
    thread.join()
    return found[0]


@needs_root
def test_what_is_no_network_is_refused() -> None:
    descriptor = os.open("/proc/self/ns/uts", os.O_RDONLY)
    with pytest.raises(PermissionDeniedError, match="network namespace: the host does not let us enter it"):
        Beside(descriptor)
    os.close(descriptor)
