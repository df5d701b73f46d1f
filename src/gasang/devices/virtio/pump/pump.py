"""The compiled loop of a machine: queues are lent to it, and it waits for their notifications.

`Pump` is not locked: whoever lends and takes back holds the bus lock, one thread waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from gasang.devices.virtio.bell import Loan, Rings, Work
from gasang.host.syscalls import machine_name

COMPILER: Final = "llvmlite"
FREE: Final = -1


class Area(NamedTuple):
    """`size` bytes of guest memory at guest-physical `base`, which are at `host` in this process."""

    base: int
    size: int
    host: int


def pump_for(areas: Sequence[Area]) -> Pump | None:
    """One for a machine with that memory; None where there is no compiler, or another processor than x86-64."""
    functions = _functions()
    return None if functions is None else Pump(areas, functions)


def prepare() -> None:
    """Have the loop compiled, where there is a compiler, so that no machine's start does it."""
    _functions()


@cache
def _functions() -> dict[str, Callable[..., Any]] | None:
    if machine_name() != "x86_64" or find_spec(COMPILER) is None:
        return None
    from gasang.devices.virtio.pump.library import load  # a start without has no time for it

    return load().functions


class Pump:
    """The shared state and the functions that work on it."""

    def __init__(self, areas: Sequence[Area], functions: dict[str, Callable[..., Any]]) -> None:
        from gasang.devices.virtio.pump import state
        from gasang.native import ctype_of

        self._functions = functions
        self._layers = state.LAYERS
        self._areas = tuple(areas)
        self._state: Any = ctype_of(state.Pump)()
        self._state.memory = min(area.host for area in areas)
        self._state.piece = 1
        self._state.area_count = len(areas)
        assert len(areas) <= state.AREAS
        for place, area in zip(self._state.areas, areas, strict=False):
            place.base, place.size, place.host = area
        self.renew()

    def renew(self) -> None:
        """In a forked process, all taken back: nobody is in a lock of the parent's."""
        for queue in self._state.queues:
            queue.lock = queue.lent = 0
            queue.bell = FREE

    def poll(self, waits: int, milliseconds: int) -> list[tuple[int, int]]:
        """Wait for the epoll instance `waits` and serve: (descriptor, 0) of what is not ours to serve, as select.epoll's `poll` has it."""
        self._state.waits = waits
        count = self._functions["wait"](self._state, milliseconds)
        return [(int(descriptor), 0) for descriptor in self._state.odd[:count]]

    def watch(self, marks: int, piece: int) -> None:
        """Have a byte of those at the address `marks` (0: none) set for each `piece` bytes of memory written to. All stands still."""
        self._state.piece = piece
        self._state.dirty = marks

    def lend(self, bell: int, rings: Rings, work: Work, interrupt: int) -> Loan | None:
        """Serve what is notified by the eventfd `bell` from now on; None where that cannot be."""
        places = [self._host(address, size) for address, size in rings.places]
        queue = next((queue for queue in self._state.queues if queue.bell == FREE), None)
        if queue is None or None in places or len(work.files) > self._layers:
            return None
        queue.descriptors, queue.available, queue.used = places
        queue.kind, queue.size, queue.interrupt = work.kind, rings.size, interrupt
        queue.event_index = int(rings.event_index)
        queue.next_available, queue.next_used, queue.signalled = rings.indices
        queue.interrupted = queue.owned = queue.served = 0
        queue.sectors, queue.clusters, queue.top = work.sectors, work.clusters, work.top
        queue.writable, queue.may_own = int(work.writable), int(work.may_own)
        queue.files[:] = [*work.files, *[-1] * (self._layers - len(work.files))]
        queue.bell = bell
        self._functions["lend"](queue)
        return _Loan(queue, self._functions["take_back"])

    def _host(self, address: int, size: int) -> int | None:
        for area in self._areas:
            if area.base <= address and address + size <= area.base + area.size:
                return area.host + address - area.base
        return None


class _Loan:
    """A queue that is lent (devices.virtio.bell.Loan)."""

    def __init__(self, queue: Any, take_back: Callable[..., Any]) -> None:
        self._queue = queue
        self._take_back = take_back

    def take_back(self) -> Loan:
        """Nothing is served by the loop any more; what became of the queue can be read."""
        queue = self._queue
        self._take_back(queue)
        queue.bell = FREE
        self.indices = int(queue.next_available), int(queue.next_used), int(queue.signalled)
        self.interrupted, self.owned, self.served = bool(queue.interrupted), bool(queue.owned), int(queue.served)
        return self
