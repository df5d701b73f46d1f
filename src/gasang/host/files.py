"""File operations that differ between hosts: positioned reads and writes, locks and stable storage."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from pathlib import Path

_F_FULLFSYNC = 51
NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_POSITION = threading.Lock()
"""Held between moving a file's position and using it, on hosts without pread."""


def open_file(path: Path | str, *, read_only: bool, links: bool = True) -> int:
    """A descriptor for bytes as they are, not inherited by programs that are started; raise OSError as `os.open` does.

    Without `links` the file itself is opened or, if it is a symbolic link, none.

    A fifo is opened at once too, without anybody at its other end: it does not hold up who only wants to know what it is.
    """
    flags = (os.O_RDONLY if read_only else os.O_RDWR) | (0 if links else NO_LINKS)
    return os.open(path, flags | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """Exactly `length` bytes from `offset` on, in one call where the host gives them; raise OSError if it fails or the file is shorter."""
    data = read_some(descriptor, length, offset)
    if len(data) == length:
        return data
    parts = [data]
    have = len(data)
    while have < length and parts[-1]:
        parts.append(read_some(descriptor, length - have, offset + have))
        have += len(parts[-1])
    if have < length:
        raise OSError(errno.EIO, "the file ends early")
    return b"".join(parts)


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Store all of `data` at `offset`; raise OSError if the host fails."""
    done = _write_some(descriptor, data, offset)
    if done < len(data):
        rest = memoryview(data)
        while done < len(rest):
            done += _write_some(descriptor, rest[done:], offset + done)


def read_some(descriptor: int, length: int, offset: int) -> bytes:
    """At most `length` bytes from `offset` on, none at the file's end; raise OSError if the host fails."""
    if sys.platform != "win32":
        return os.pread(descriptor, length, offset)
    with _POSITION:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, length)


def _write_some(descriptor: int, data: bytes | memoryview, offset: int) -> int:
    if sys.platform != "win32":
        return os.pwrite(descriptor, data, offset)
    with _POSITION:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, data)


def copy_range(source: int, place: int, target: int, offset: int, length: int) -> int:
    """Have the host copy bytes from one file to another; how many it did, fewer where it cannot or the source ends. Raises OSError.

    The bytes pass no memory of ours, and no memory at all where the file system lets files share them (copy_file_range(2)).
    """
    if not hasattr(os, "copy_file_range"):
        return 0
    done = 0
    while done < length:
        try:
            step = os.copy_file_range(source, target, length - done, place + done, offset + done)
        except OSError as error:
            if error.errno in _CANNOT_COPY:
                return done
            raise
        if not step:
            return done
        done += step
    return done


_CANNOT_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY)
"""What hosts say of two files that they do not copy between: other file systems, devices, a filter of system calls."""


def will_need(descriptor: int, offset: int, length: int) -> None:
    """Have the host begin to read what is asked for soon; advice, which it may leave."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_WILLNEED)


def sync(descriptor: int) -> None:
    """Return once the file's content is on stable storage; raise OSError if the host fails."""
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(descriptor, _F_FULLFSYNC)  # fsync there leaves data in the drive's cache
    elif hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def lock_file(descriptor: int, *, shared: bool) -> bool:
    """Take an advisory lock without waiting, given back on close; False if others hold one that excludes it.

    True where the host or its file system has none.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        return error.errno in (errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS)
    return True


def wait_for_lock(descriptor: int) -> None:
    """Take an advisory lock when nobody else has it, given back on close; at once where the host has none. Raises OSError."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def is_own(descriptor: int) -> bool:
    """Whether an open file is the user's own, or root's."""
    return not hasattr(os, "geteuid") or os.fstat(descriptor).st_uid in (0, os.geteuid())
