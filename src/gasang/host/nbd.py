"""Linux's network block devices: /dev/nbdN, whose requests go to a socket (include/uapi/linux/nbd.h, drivers/block/nbd.c)."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from gasang.core.errors import GasangError, PermissionDeniedError, StateError, UnsupportedError

FOLDER: Final = Path("/sys/block")
_SET_SOCKET, _SET_BLOCK_SIZE, _RUN, _CLEAR, _SET_BLOCKS, _DISCONNECT, _SET_FLAGS = (0xAB00 + number for number in (0, 1, 3, 4, 7, 8, 10))
SECTOR: Final = 512
_PAGE: Final = 4096


class NetworkDevice:
    """A device of the host that nobody uses, by its path. Close it in the end."""

    def __init__(self, path: str) -> None:
        """Raises UnsupportedError, PermissionDeniedError, StateError, GasangError."""
        self.path = path
        if _is_used(Path(path).name):
            raise _used(path)
        try:
            self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise UnsupportedError(f"device {path}", "this host has none", "load the kernel module nbd: modprobe nbd") from error
        except PermissionError as error:
            raise PermissionDeniedError(f"device {path}", "it may not be opened", "run as root") from error
        except OSError as error:
            raise GasangError(f"device {path}", f"it cannot be opened ({error.strerror})", "name another: --device") from error

    @classmethod
    def free(cls) -> Self:
        """The first that nobody uses. Raises as above, StateError where all are used."""
        found = sorted(FOLDER.glob("nbd[0-9]*"), key=lambda path: (len(path.name), path.name))
        for folder in found:
            if not _is_used(folder.name):
                return cls(f"/dev/{folder.name}")
        if found:
            raise StateError("network block devices", "all of them are used", "end one of their servers")
        return cls("/dev/nbd0")

    def attach(self, socket: int, size: int, flags: int) -> None:
        """Have its requests go to `socket`: `size` bytes, of which an incomplete sector is left out, and NBD's transmission flags.

        Raises StateError where it is used already.
        """
        block = SECTOR if size % _PAGE else _PAGE
        try:
            self._ioctl(_SET_SOCKET, socket)
            self._ioctl(_SET_BLOCK_SIZE, block)
            self._ioctl(_SET_BLOCKS, size // block)
            self._ioctl(_SET_FLAGS, flags)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise _used(self.path) from error
            raise GasangError(f"device {self.path}", f"it takes no disk ({error.strerror})", "see the kernel's messages") from error

    @property
    def is_used(self) -> bool:
        """Whether it has its disk: from some time after `run` has begun."""
        return _is_used(Path(self.path).name)

    def run(self) -> None:
        """Carry requests until it is detached or the socket's other end has gone."""
        with suppress(OSError):  # how it ended is the other end's to tell
            self._ioctl(_RUN)

    def detach(self) -> None:
        """Write back what was written to it, and have `run` return. Raises GasangError where something could not be written."""
        try:
            os.fsync(self.descriptor)
        except OSError as error:
            raise GasangError(f"device {self.path}", f"not all could be written ({error.strerror})", "check the disk") from error
        finally:
            with suppress(OSError):  # it has ended
                self._ioctl(_DISCONNECT)

    def close(self) -> None:
        """Let go of it; `run` has returned."""
        with suppress(OSError):
            self._ioctl(_CLEAR)
        os.close(self.descriptor)

    def _ioctl(self, number: int, argument: int = 0) -> None:
        import fcntl  # Linux's alone, as all of this

        fcntl.ioctl(self.descriptor, number, argument)


def _is_used(name: str) -> bool:
    """Whether requests of the device go somewhere; who is about to be used is found out by `attach`."""
    return (FOLDER / name / "pid").exists()


def _used(path: str) -> StateError:
    return StateError(f"device {path}", "somebody uses it", "name another, or none: --device")
