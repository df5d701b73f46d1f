"""A bridge listened to: its frames, when each passed, and how many were lost because nobody took them in time (packet(7))."""

from __future__ import annotations

import socket
import struct
import time
from typing import Final

from gasang.core.errors import GasangError, PermissionDeniedError
from gasang.network.capture.heard import LARGEST, Frame, Heard

_ALL: Final = 0x0003
_SOL_PACKET, _ADD_MEMBERSHIP, _STATISTICS, _AUXILIARY = 263, 1, 6, 8
_MEMBERSHIP = struct.Struct("=iHH8s")
_PROMISCUOUS: Final = 1
_COUNTS = struct.Struct("=II")
_AUXILIARY_DATA = struct.Struct("=IIIHHHH")
_HAS_TAG, _HAS_TAG_KIND = 1 << 4, 1 << 6
_TAG: Final = 0x8100
_TIMES: Final = 35
"""SO_TIMESTAMPNS, and the kind of its control message."""
_TIME = struct.Struct("=qq")
_RECEIVE_BUFFER_FORCE: Final = 33
_QUEUE: Final = 8 << 20


class Listener(Heard):
    """Every frame of interface `name`, in the network namespace of the thread that makes this."""

    def __init__(self, name: str) -> None:
        """Raises PermissionDeniedError, GasangError where there is no such interface."""
        try:
            source = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
        except PermissionError as error:
            raise PermissionDeniedError(f"interface {name}", "listening is not permitted", "run the daemon as root") from error
        try:
            source.setsockopt(_SOL_PACKET, _AUXILIARY, 1)
            source.setsockopt(socket.SOL_SOCKET, _TIMES, 1)
            source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE)
            index = socket.if_nametoindex(name)
            # A bridge shows what passes between its ports to those alone who ask for everything.
            source.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, _MEMBERSHIP.pack(index, _PROMISCUOUS, 0, bytes(8)))
            source.bind((name, _ALL))
        except OSError as error:
            source.close()
            raise GasangError(f"interface {name}", f"it cannot be listened to ({error.strerror})", "see that it is there and up") from error
        super().__init__(source, "bridge")
        self._received = self._dropped = 0

    def counts(self) -> tuple[int, int]:
        """How many frames there were up to now, and how many of them were lost."""
        # Asked for, the kernel begins again; and its first number contains the second.
        packets, drops = _COUNTS.unpack(self._socket.getsockopt(_SOL_PACKET, _STATISTICS, _COUNTS.size))
        self._received += packets
        self._dropped += drops
        return self._received, self._dropped

    def _next(self) -> Frame:
        data, control, *_ = self._socket.recvmsg(LARGEST, 256)
        moment = 0
        for level, kind, value in control:
            if level == _SOL_PACKET and kind == _AUXILIARY and len(value) >= _AUXILIARY_DATA.size:
                status, *_rest, tag, tag_kind = _AUXILIARY_DATA.unpack_from(value)
                if status & _HAS_TAG:
                    tag_kind = tag_kind if status & _HAS_TAG_KIND else _TAG
                    data = data[:12] + struct.pack(">HH", tag_kind, tag) + data[12:]
            elif level == socket.SOL_SOCKET and kind == _TIMES and len(value) >= _TIME.size:
                seconds, nanoseconds = _TIME.unpack_from(value)
                moment = seconds * 1_000_000_000 + nanoseconds
        return Frame(data, moment or time.time_ns())
