"""A switch in user space listened to: what it lets in, as a listener at a bridge hears it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable
from typing import Final

from gasang.core.errors import GasangError
from gasang.network.capture.heard import LARGEST, Frame, Heard

_HEADER: Final = 12
"""struct virtio_net_hdr_v1, in front of each frame."""


class Mirror(Heard):
    """`mirror` is the switch's (Switch.mirror), ours to close; `missed` tells how many frames we were too slow for."""

    def __init__(self, mirror: socket.socket, missed: Callable[[], int]) -> None:
        mirror.setblocking(False)
        super().__init__(mirror, "switch")
        self._missed = missed
        self._received = self._dropped = 0

    def counts(self) -> tuple[int, int]:
        """How many frames there were up to now, and how many of them were lost."""
        with contextlib.suppress(GasangError):
            self._dropped = self._missed()
        return self._received + self._dropped, self._dropped

    def _next(self) -> Frame:
        data = self._socket.recv(_HEADER + LARGEST)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        self._received += 1
        return Frame(data[_HEADER:], time.time_ns())
