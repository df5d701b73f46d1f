"""Locks on files, held for moments and waited for; threads and processes exclude each other alike."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gasang.core.errors import GasangError
from gasang.images.spool import out_of_space


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Wait for the lock of a file, made if it is missing, and hold it in the block. Its descriptor. Raises GasangError."""
    descriptor = open_lock(path)
    try:
        wait_for(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """As `locked`, for a file that is there for its lock alone and gone at the end."""
    descriptor = claim(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def claim(path: Path) -> int:
    """A locked descriptor of the file that has this name: who had the lock before may have renamed or removed another one."""
    while True:
        descriptor = open_lock(path)
        wait_for(descriptor)
        if _has_name(path, descriptor):
            return descriptor
        os.close(descriptor)


def _has_name(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def open_lock(path: Path) -> int:
    """A descriptor of a file made for its lock."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise out_of_space(fault, path.parent) from fault


def wait_for(descriptor: int) -> None:
    """Take the exclusive lock when it is free."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as fault:
        if fault.errno not in (errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS):
            raise GasangError("the image store", f"its lock cannot be had ({fault.strerror})", "check its disk") from fault


def is_free(path: Path) -> bool:
    """Whether nobody holds a file's lock; of a file that is gone, True."""
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return True
