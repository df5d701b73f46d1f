"""The switch: ports come and go, frames pass between them on a thread of compiled code, and it tells how many did."""

from __future__ import annotations

import ctypes
import mmap
import os
import secrets
import socket
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from gasang.core.errors import OutOfSpaceError, StateError
from gasang.network.switch.library import load
from gasang.network.switch.ports import Allowed
from gasang.network.switch.vxlan import Vxlan

AGING: Final = 300.0
"""Seconds (IEEE 802.1Q, 8.8.3)."""
MOST_LEARNED: Final = 512
_RING: Final = 1 << 22
_BURST_SECONDS: Final = 0.005
_LEAST_BURST: Final = 131_072
"""Two frames of joined segments pass at once."""
_MIRROR_BUFFER: Final = 8 << 20
_COUNTS: Final = ("frames_in", "bytes_in", "frames_out", "bytes_out", "refused", "lost", "full")


@dataclass(frozen=True, slots=True)
class Counts:
    """Of a port. `refused`: malformed, or not its own to send; `lost`: as was asked for; `full`: the other end had no room."""

    frames_in: int
    bytes_in: int
    frames_out: int
    bytes_out: int
    refused: int
    lost: int
    full: int


@dataclass(slots=True)
class _Job:
    """Something that the switch's thread is to do, and what became of it."""

    action: Callable[[], None]
    ended: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    failure: OSError | None = None


class Switch:
    """A thread of its own. `gone` is called in it with the number of a port whose other end has gone, which is free then."""

    def __init__(self, *, aging: float = AGING, gone: Callable[[int], None] = lambda _number: None) -> None:
        """Raises UnsupportedError where it cannot be compiled."""
        from gasang.native import ctype_of
        from gasang.network.switch import state

        self._functions = load().functions
        self._most = state.PORTS
        self._state: Any = ctype_of(state.Switch)()
        self._memory = mmap.mmap(-1, 3 * state.BUFFER)
        first = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._state.buffer, self._state.other, self._state.third = (first + number * state.BUFFER for number in range(3))
        self._control = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._state.control = self._control
        self._state.aging, self._state.most_learned = int(aging * 1e9), MOST_LEARNED
        self._state.seed = secrets.randbits(63) | 1
        for port in self._state.ports:
            port.descriptor = -1
        for at in range(state.MIRRORS):
            self._state.mirrors[at] = -1
        self._rings: dict[int, mmap.mmap] = {}
        self._tunnels: dict[int, Any] = {}
        self._todo: list[_Job] = []
        self._lock = threading.Lock()
        self._open = True
        self._gone = gone
        self._thread = threading.Thread(target=self._run, name="switch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it; the ports' descriptors and the mirror are closed. Twice is once."""
        with suppress(StateError):
            self._change(self._end)
            self._thread.join()
            os.close(self._control)

    def add(
        self,
        descriptor: int,
        allowed: Allowed = Allowed(),  # noqa: B008  it is frozen
        vxlan: Vxlan | None = None,
        *,
        added: Callable[[int], None] = lambda number: None,
    ) -> int:
        """A port; its number. The descriptor is the switch's now; with `vxlan` it is a socket of UDP (vxlan.listening).

        `added` is called with the number in the switch's thread, so before `gone` could be, however soon the port goes.

        Raises OutOfSpaceError when all are taken, StateError for a switch that has ended; then the descriptor is the caller's.
        """
        made: list[int] = []

        def work() -> None:
            made.append(self._add(descriptor, allowed, vxlan))
            if made[0] >= 0:
                added(made[0])

        self._change(work)
        if made[0] < 0:
            raise OutOfSpaceError("switch", f"all of its {self._most} ports are taken", "take one out")
        return made[0]

    def remove(self, number: int) -> None:
        """Take a port out, and close its descriptor; one that has gone already is no failure."""
        with suppress(StateError):  # with the switch all of them go
            self._change(lambda: self._remove(number))

    def counts(self, number: int) -> Counts:
        """What has passed a port."""
        return Counts(*(int(getattr(self._state.ports[number], name)) for name in _COUNTS))

    def stations(self) -> dict[tuple[int, bytes], int]:
        """Who was heard where: (VLAN, hardware address) → port."""
        found = [(int(each.key), int(each.port)) for each in self._state.stations if each.key]
        return {(key >> 48, (key & 0xFFFFFFFFFFFF).to_bytes(6, "big")): port for key, port in found}

    def mirror(self) -> tuple[socket.socket, int]:
        """A socket that gets every frame that is let in, its header in front, until it is closed, and its number. Who is slow misses some.

        Raises OutOfSpaceError where as many are looked at already as can be, StateError for a switch that has ended.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MIRROR_BUFFER)
        made: list[int] = []
        try:
            self._change(lambda: made.append(self._show(ours)))
        finally:
            if made in ([], [-1]):
                ours.close()
                theirs.close()
        if made[0] < 0:
            raise OutOfSpaceError("switch", f"{len(self._state.mirrors)} captures look at it already", "end one")
        return theirs, made[0]

    def missed(self, number: int) -> int:
        """How many frames a mirror was too slow for."""
        return int(self._state.mirror_lost[number])

    # in the thread

    def _change(self, action: Callable[[], None]) -> None:
        """Have that done in the thread. Raises StateError where it was not, as the switch had ended; OSError."""
        job = _Job(action)
        with self._lock:
            if not self._open:
                raise StateError("switch", "it has ended", "start another one")
            self._todo.append(job)
            os.eventfd_write(self._control, 1)
        job.ended.wait()
        if job.failure is not None:
            raise job.failure
        if not job.done:
            raise StateError("switch", "it has ended", "start another one")

    def _run(self) -> None:
        while self._open:
            reason = self._functions["run"](self._state)
            if reason == 1:
                for number in [at for at, port in enumerate(self._state.ports) if port.closed and port.descriptor >= 0]:
                    self._remove(number)
                    self._gone(number)
                continue
            os.eventfd_read(self._control)
            self._work()
        self._work()  # what came while it ended is told so

    def _work(self) -> None:
        """Do what is to be done; after the end nothing is, and nobody waits."""
        with self._lock:
            todo, self._todo = self._todo, []
        for job in todo:
            if self._open:
                try:
                    job.action()
                    job.done = True
                except OSError as error:
                    job.failure = error
            job.ended.set()

    def _end(self) -> None:
        for number in range(self._most):
            self._remove(number)
        self._state.mirroring = 0
        self._show(None)
        with self._lock:  # from here on nothing is added to what is to be done
            self._open = False

    def _show(self, mirror: socket.socket | None) -> int:
        """Close the mirrors that nobody looks at any more, and have one more; its number, or -1."""
        state = self._state
        for at in range(len(state.mirrors)):
            if state.mirrors[at] >= 0 and not state.mirroring >> at & 1:
                os.close(state.mirrors[at])
                state.mirrors[at] = -1
        free = next((at for at in range(len(state.mirrors)) if state.mirrors[at] < 0), -1)
        if mirror is None or free < 0:
            return -1
        state.mirrors[free], state.mirror_lost[free] = mirror.detach(), 0
        state.mirroring |= 1 << free
        return free

    def _add(self, descriptor: int, allowed: Allowed, vxlan: Vxlan | None) -> int:
        number = next((at for at in range(self._most) if self._state.ports[at].descriptor < 0), -1)
        if number < 0:
            return number
        port = self._state.ports[number]
        ctypes.memset(ctypes.addressof(port), 0, ctypes.sizeof(port))
        os.set_blocking(descriptor, False)
        port.software = int(vxlan is not None or _is_program(descriptor))
        port.isolated = int(allowed.isolated) | int(allowed.outward) << 1
        port.vlan, port.trunk = allowed.vlan, int(bool(allowed.trunk))
        for vlan in allowed.trunk:
            port.allowed[vlan >> 6] |= 1 << (vlan & 63)
        port.guarded = int(bool(allowed.mac))
        port.address, port.ipv4 = int.from_bytes(allowed.mac, "big"), int.from_bytes(allowed.ipv4, "big")
        port.ipv6_high, port.ipv6_low = int.from_bytes(allowed.ipv6[:8], "big"), int.from_bytes(allowed.ipv6[8:], "big")
        port.loss, port.latency = allowed.loss, int(allowed.latency * 1e9)
        _fill(port.arriving, allowed.rate_in)
        _fill(port.leaving, allowed.rate_out)
        if allowed.rate_out or allowed.latency:
            ring = self._rings[number] = mmap.mmap(-1, _RING)
            port.ring, port.ring_size = ctypes.addressof(ctypes.c_char.from_buffer(ring)), _RING
        if vxlan is not None:
            tunnel = self._tunnels[number] = vxlan.tunnel(_family(descriptor), int(self._state.aging))
            port.tunnel = ctypes.addressof(tunnel)
        port.descriptor = descriptor
        self._count()
        return number

    def _remove(self, number: int) -> None:
        port = self._state.ports[number]
        if port.descriptor >= 0:
            os.close(port.descriptor)
            port.descriptor = -1
            port.ring_head = port.ring_tail = 0
            self._functions["leave"](self._state, number)
            self._rings.pop(number, None)
            self._tunnels.pop(number, None)
            self._count()

    def _count(self) -> None:
        self._state.count = max((at + 1 for at, port in enumerate(self._state.ports) if port.descriptor >= 0), default=0)


def _fill(bucket: Any, rate: int) -> None:
    """Rate in bits a second."""
    if rate:
        bucket.cost = max(1, 8_000_000_000 * 65536 // rate)
        bucket.burst = int(max(_BURST_SECONDS, _LEAST_BURST * 8 / rate) * 1e9)


def _family(descriptor: int) -> int:
    with socket.socket(fileno=os.dup(descriptor)) as other:
        return other.family


def _is_program(descriptor: int) -> bool:
    """Whether at the other end is a program, whose messages of four bytes say what it takes: a unix socket."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return False
    return _family(descriptor) == socket.AF_UNIX
