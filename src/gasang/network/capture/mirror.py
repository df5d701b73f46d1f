"""A switch in user space listened to: what it lets in, as a listener at a bridge hears it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Final

from gasang.core.errors import GasangError
from gasang.network.capture.listener import LARGEST, Frame

_HEADER: Final = 12
"""struct virtio_net_hdr_v1, in front of each frame."""


class Mirror:
    """`mirror` is the switch's (Switch.mirror), ours to close; `missed` tells how many frames we were too slow for."""

    def __init__(self, mirror: socket.socket, missed: Callable[[], int]) -> None:
        self._socket = mirror
        self._socket.setblocking(False)
        self._missed = missed
        self._received = self._dropped = 0

    def fileno(self) -> int:
        """To be waited for."""
        return self._socket.fileno()

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def frames(self, most: int) -> list[Frame]:
        """Those that are there, so many at most. Raises GasangError when the switch goes."""
        found: list[Frame] = []
        with contextlib.suppress(BlockingIOError):
            while len(found) < most:
                data = self._next()
                if not data:
                    if not found:
                        raise GasangError("network", "its switch has gone", "start a machine in it")
                    break
                found.append(Frame(data[_HEADER:], time.time_ns()))
        self._received += len(found)
        return found

    def _next(self) -> bytes:
        try:
            return self._socket.recv(_HEADER + LARGEST)
        except ConnectionResetError:
            return b""

    def counts(self) -> tuple[int, int]:
        """How many frames there were up to now, and how many of them were lost."""
        with contextlib.suppress(GasangError):
            self._dropped = self._missed()
        return self._received + self._dropped, self._dropped
