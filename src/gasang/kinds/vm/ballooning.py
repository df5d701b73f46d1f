"""How large a guest's balloon is to be: what the person asked for, and more while the host is short of memory.

Whoever has a thread calls `Ballooning.tick` every second or so (`Keeper` is one). It asks the guest for its statistics and decides by
those it has; they are a tick old.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from gasang.devices.virtio.balloon import VirtioBalloon
from gasang.host.pressure import HostMemory, host_memory

PRESSED_SHARE: Final = 10
"""The host is short of memory with less than a tenth of it to be had, …"""
PRESSED_STALLS: Final = 10.0
"""… or if somebody waited for memory a tenth of the time."""
EASY_SHARE: Final = 4
EASY_STALLS: Final = 1.0
"""It has plenty with a quarter to be had and nobody waiting; between the two the balloon stays as it is."""
STEP: Final = 8
"""An eighth of the guest's memory at a time comes back to it."""
RESERVE: Final = 64 << 20
PERIOD: Final = 1.0


class GuestMemoryUse(NamedTuple):
    """Bytes: the guest's memory, what its balloon holds, what its programs could still have (None: it did not tell)."""

    size: int
    balloon: int
    available: int | None


def wanted(host: HostMemory, guest: GuestMemoryUse, asked: int) -> int:
    """The size the balloon should have: never less than the person `asked` for, unless the guest itself runs out of memory."""
    reserve = max(RESERVE, guest.size // STEP)
    if guest.available is not None and guest.available < reserve // 2:
        return max(0, guest.balloon - (reserve - guest.available))
    if host.available * PRESSED_SHARE < host.total or host.stalled >= PRESSED_STALLS:
        spare = 0 if guest.available is None else max(0, guest.available - reserve)
        return max(asked, min(guest.size, guest.balloon + spare // 2))
    if host.available * EASY_SHARE > host.total and host.stalled < EASY_STALLS:
        return max(asked, guest.balloon - guest.size // STEP)
    return max(asked, guest.balloon)


class Ballooning:
    """The balloon of one machine of `size` bytes."""

    def __init__(self, balloon: VirtioBalloon, size: int, read: Callable[[], HostMemory | None] = host_memory) -> None:
        self.balloon = balloon
        self._size = size
        self._read = read
        self._asked = 0
        self.follows_host = True
        """Whether memory goes back to a host that is short of it."""

    def leave(self, memory: int) -> None:
        """The guest is to make do with `memory` bytes of what it was started with; all of it and more is all of it."""
        self._asked = max(0, self._size - memory)
        self.balloon.set_target(self._asked)

    def tick(self) -> None:
        """Adapt to the host and the guest as they are."""
        host = self._read() if self.follows_host else None
        if host is not None and self.balloon.is_running:
            use = GuestMemoryUse(self._size, self.balloon.actual, self.balloon.statistics.get("available"))
            self.balloon.set_target(wanted(host, use, self._asked))
        self.balloon.ask()


class Keeper:
    """A thread that ticks every `period` seconds, among a machine's workers: it stands still while the machine does."""

    def __init__(self, ballooning: Ballooning, period: float = PERIOD) -> None:
        self.ballooning = ballooning
        self._period = period
        self._held = self._busy = self._closing = False
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="balloon", daemon=True)
        self._thread.start()

    def hold(self) -> None:
        """Return once no tick is under way; none is until `release`. Never with the bus lock held."""
        with self._changed:
            self._held = True
            self._changed.wait_for(lambda: not self._busy)

    def release(self) -> None:
        """Go on."""
        with self._changed:
            self._held = False

    def renew(self) -> None:
        """In a process forked while this was held: go on here too."""
        self._held = False
        self._begin()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while self._waits():
            try:
                self.ballooning.tick()
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _waits(self) -> bool:
        """Whether there is a tick to do; it is waited for."""
        with self._changed:
            while not self._changed.wait_for(lambda: self._closing, self._period):
                if not self._held:
                    self._busy = True
                    return True
            return False
