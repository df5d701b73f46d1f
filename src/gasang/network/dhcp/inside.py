"""The servers' sockets inside guests' network namespaces: each hears its guest's tap alone, and of that only such questions.

No guest hears another's answers, and an address is asked for by whom it belongs to; so nothing can be used up.
"""

from __future__ import annotations

import contextlib
import ctypes
import selectors
import socket
import struct
import time
from typing import Final

from gasang.host.netns import entered
from gasang.network import guests
from gasang.network.dhcp.answering import Answering, Guest
from gasang.network.loop import Loop

_ATTACH_FILTER: Final = 26
_IGNORE_OUTGOING: Final = 23
_SOL_PACKET: Final = 263
_ALL: Final = 0x0003
_FRAME: Final = 2048
_BURST: Final = 16
_INSTRUCTION = struct.Struct("=HBBI")
_LDH, _LDB, _LDXB_LENGTH, _LDH_X, _JEQ, _JSET, _RET = 0x28, 0x30, 0xB1, 0x48, 0x15, 0x45, 0x06
_QUESTIONS: Final = (
    (_LDH, 0, 0, 12),
    (_JEQ, 0, 6, 0x0800),
    (_LDB, 0, 0, 23),
    (_JEQ, 0, 12, 17),
    (_LDH, 0, 0, 20),
    (_JSET, 10, 0, 0x1FFF),
    (_LDXB_LENGTH, 0, 0, 14),
    (_LDH_X, 0, 0, 16),
    (_JEQ, 6, 7, 67),
    (_JEQ, 0, 6, 0x86DD),
    (_LDB, 0, 0, 20),
    (_JEQ, 0, 2, 17),
    (_LDH, 0, 0, 56),
    (_JEQ, 1, 2, 547),
    (_JEQ, 0, 1, 58),
    (_RET, 0, 0, _FRAME),
    (_RET, 0, 0, 0),
)
"""For the kernel (linux/filter.h): UDP to port 67, no later fragment; over IPv6, UDP to port 547, and all of ICMP."""


class Inside:
    """The sockets of all guests, and a thread for them, which starts with the first."""

    def __init__(self) -> None:
        self._loop = Loop("gasang-dhcp")
        self._sockets: dict[str, socket.socket] = {}

    def serve(self, machine: str, namespace: int, guest: Guest) -> None:
        """Answer a guest, in place of what it was answered before. Raises PermissionDeniedError, OSError."""
        made = _listen(namespace)
        answering = Answering(guest)
        self._loop.call(lambda: self._add(machine, made, answering))

    def release(self, machine: str) -> None:
        """Close that machine's socket, before this returns (it keeps its namespace alive)."""
        if self._loop.started:
            self._loop.finish(lambda: self._remove(machine))

    def close(self) -> None:
        """Stop."""
        self._loop.close(self._remove_all)

    def _add(self, machine: str, made: socket.socket, answering: Answering) -> None:
        self._remove(machine)
        self._sockets[machine] = made
        self._loop.selector.register(made, selectors.EVENT_READ, lambda _events: self._serve(made, answering))

    def _remove_all(self) -> None:
        for machine in list(self._sockets):
            self._remove(machine)

    def _remove(self, machine: str) -> None:
        made = self._sockets.pop(machine, None)
        if made is not None:
            self._loop.selector.unregister(made)
            made.close()

    @staticmethod
    def _serve(made: socket.socket, answering: Answering) -> None:
        with contextlib.suppress(OSError):  # nothing more, or a tap that has gone
            for _ in range(_BURST):
                for frame in answering.answer(made.recv(_FRAME), time.monotonic()):
                    made.send(frame)


def _listen(namespace: int) -> socket.socket:
    with entered(namespace):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
        try:
            program = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*each) for each in _QUESTIONS))
            made.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", len(_QUESTIONS), ctypes.addressof(program)))
            made.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            made.bind((guests.TAP, _ALL))
        except OSError:
            made.close()
            raise
    return made
