"""Network namespaces: made, entered, left."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from gasang.core.errors import GasangError, NotFoundError, PermissionDeniedError
from gasang.host import netns


def identity() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


@pytest.fixture
def namespace() -> int:
    try:
        return netns.create()
    except PermissionDeniedError:
        pytest.skip("network namespaces need root")


def test_making_one_leaves_the_thread_where_it_was(namespace: int) -> None:
    here = identity()
    other = netns.create()
    assert identity() == here
    assert len({here, os.fstat(namespace).st_ino, os.fstat(other).st_ino}) == 3
    os.close(namespace)
    os.close(other)


def test_the_thread_is_inside_and_comes_back_also_from_an_error(namespace: int) -> None:
    here, seen = identity(), []

    def look() -> None:
        seen.append((identity(), socket.if_nameindex()))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), netns.entered(namespace):
        look()
    assert seen == [(os.fstat(namespace).st_ino, [(1, "lo")])]
    assert identity() == here
    os.close(namespace)


def test_other_threads_stay_where_they_are(namespace: int) -> None:
    here, seen = identity(), []
    entered, looked = threading.Event(), threading.Event()

    def look() -> None:
        entered.wait()
        seen.append(identity())
        looked.set()

    thread = threading.Thread(target=look)
    thread.start()
    with netns.entered(namespace):
        entered.set()
        looked.wait()
    thread.join()
    assert seen == [here]
    os.close(namespace)


def test_of_a_process(namespace: int) -> None:
    own = netns.of_process(os.getpid())
    assert os.fstat(own).st_ino == os.stat("/proc/self/ns/net").st_ino
    os.close(own)
    os.close(namespace)
    with pytest.raises(NotFoundError, match="gone"):
        netns.of_process(1 << 22)


def test_what_is_no_namespace_is_refused(namespace: int) -> None:
    with open(os.devnull, "rb") as file, pytest.raises(GasangError, match="the kernel refused"), netns.entered(file.fileno()):
        raise AssertionError("nobody comes here")
    os.close(namespace)
