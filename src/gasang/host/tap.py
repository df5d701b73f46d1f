"""Taps: network interfaces of the host whose frames a program has instead of a cable (Linux: Documentation/networking/tuntap.rst).

Frames come and go with a virtio_net_hdr of 12 bytes in front: the kernel joins segments and leaves checksums out where the other end says
it can do without.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Self

from gasang.core.errors import GasangError, PermissionDeniedError, UnsupportedError

HEADER: Final = 12
LARGEST: Final = HEADER + 14 + 4 + 65535
_SET_INTERFACE, _SET_PERSISTENT, _SET_OFFLOAD, _SET_HEADER_SIZE = 0x400454CA, 0x400454CB, 0x400454D0, 0x400454D8
_TAP, _NO_INFORMATION, _HEADERS, _NEW = 0x0002, 0x1000, 0x4000, 0x8000
CSUM, TSO4, TSO6, TSO_ECN = 1, 2, 4, 8
_REQUEST: Final = struct.Struct("16sH22x")
_NAME_MAX: Final = 15
_CLOSED: Final = "run as root, or let users open it, as most hosts do (chmod 666 /dev/net/tun)"


class Tap:
    """A new interface of that name, down; it is gone when this is closed, unless it is to `stay`. `descriptor` can be waited for."""

    joins = True

    def __init__(self, name: str, *, new: bool = True) -> None:
        """With `new` false it may be one that stayed. Raises PermissionDeniedError, UnsupportedError, GasangError."""
        subject = f"network interface {name}"
        if not 1 <= len(name.encode()) <= _NAME_MAX or "%" in name or "/" in name:
            raise GasangError(subject, f"an interface has a name of 1 to {_NAME_MAX} letters", "choose another name")
        if not sys.platform.startswith("linux"):
            raise UnsupportedError(subject, "this host has no taps", "use a Linux host")
        self.name = name
        try:
            self.descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError as error:
            raise PermissionDeniedError(subject, "/dev/net/tun may not be opened", _CLOSED) from error
        except OSError as error:
            raise UnsupportedError(subject, f"/dev/net/tun cannot be opened ({error.strerror})", "load the kernel module tun") from error
        try:
            self._ioctl(_SET_INTERFACE, _REQUEST.pack(name.encode(), _TAP | _NO_INFORMATION | _HEADERS | (_NEW if new else 0)))
            self._ioctl(_SET_HEADER_SIZE, struct.pack("i", HEADER))
        except PermissionError as error:
            os.close(self.descriptor)
            raise PermissionDeniedError(subject, "it may not be made", "run as root") from error
        except OSError as error:
            os.close(self.descriptor)
            raise GasangError(subject, f"it cannot be made ({error.strerror})", "choose a name that no interface has") from error

    @classmethod
    def taken(cls, descriptor: int, name: str = "tap") -> Self:
        """One that somebody else has made and set up as this does; its descriptor is ours now."""
        made = cls.__new__(cls)
        made.name, made.descriptor = name, descriptor
        return made

    def _ioctl(self, request: int, argument: bytes | int) -> None:
        import fcntl

        fcntl.ioctl(self.descriptor, request, argument)

    def stay(self) -> None:
        """Let the interface be there when this is closed, until somebody deletes it."""
        self._ioctl(_SET_PERSISTENT, 1)

    def join(self, kinds: int) -> None:
        """Give frames whose checksums are left out, or whose segments are joined: CSUM, and with it TSO4, TSO6 and TSO_ECN.

        Without support in the kernel, none are. Where the descriptor is a socket, the other end is told in a message of four bytes.
        """
        try:
            self._ioctl(_SET_OFFLOAD, kinds)
        except OSError as error:
            if error.errno == errno.ENOTTY:
                with suppress(OSError):
                    os.write(self.descriptor, kinds.to_bytes(4, "little"))

    def send(self, frame: Sequence[memoryview]) -> None:
        """Send a frame in pieces, its header in front; where the kernel does not take it (now, or such a one at all) it is lost."""
        with suppress(OSError):
            os.writev(self.descriptor, frame)

    def receive(self, most: int) -> list[bytes]:
        """The frames that are there, so many at most, each with its header."""
        frames: list[bytes] = []
        with suppress(BlockingIOError, OSError):  # nothing more, or an interface that is down
            while len(frames) < most:
                frames.append(os.read(self.descriptor, LARGEST))
        return frames

    def close(self) -> None:
        """Remove the interface."""
        os.close(self.descriptor)
