"""Network namespaces: made, entered for a moment, and left again.

A descriptor (of /proc/PID/ns/net, a bind mount of it, or `create`) names one and keeps it alive. Entering concerns the calling thread
only; the way back is opened before, and a thread that could not go back would act on the wrong network, so that ends the process.

Reference: setns(2), unshare(2), network_namespaces(7).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from gasang.core.errors import GasangError, NotFoundError, PermissionDeniedError

_NEW_NETWORK: Final = 0x40000000
_OURS = "/proc/thread-self/ns/net"


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def current() -> int:
    """A descriptor of the calling thread's namespace."""
    return os.open(_OURS, os.O_RDONLY | os.O_CLOEXEC)


def of_process(pid: int) -> int:
    """A descriptor of a process's namespace.

    Raises NotFoundError when there is no such process, PermissionDeniedError.
    """
    try:
        return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise PermissionDeniedError(f"network of process {pid}", "the host does not let us look", "run as root") from error
    except OSError as error:
        raise NotFoundError(f"network of process {pid}", f"the process is gone ({error.strerror})") from error


def create() -> int:
    """A descriptor of a new, empty namespace (its lo is down).

    Raises PermissionDeniedError without CAP_SYS_ADMIN.
    """
    home = current()
    try:
        _check(_libc().unshare(_NEW_NETWORK), "a new network namespace")
        try:
            return current()
        finally:
            _return(home)
    finally:
        os.close(home)


@contextmanager
def entered(namespace: int) -> Iterator[None]:
    """The calling thread is in `namespace` meanwhile. Sockets opened there stay there.

    Raises PermissionDeniedError without CAP_SYS_ADMIN, GasangError for what is no namespace.
    """
    home = current()
    try:
        _check(_libc().setns(namespace, _NEW_NETWORK), "the network namespace")
        try:
            yield
        finally:
            _return(home)
    finally:
        os.close(home)


def _return(home: int) -> None:
    if _libc().setns(home, _NEW_NETWORK):
        os.abort()


def _check(result: int, subject: str) -> None:
    if not result:
        return
    number = ctypes.get_errno()
    if number == 1:
        raise PermissionDeniedError(subject, "the host does not let us make or enter it", "run as root")
    raise GasangError(subject, f"the kernel refused ({os.strerror(number)})")
