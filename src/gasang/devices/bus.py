"""The physical address bus: which device answers at which address.

Rules:

* Regions never overlap; an access lies within one region or it is a `BusError`, which the processor turns into the guest's
  access fault.
* `lock` is the machine's one device lock. The bus holds it around every access, so device code is single-threaded; whoever
  enters a device from another thread (a backend with input, a timer) takes it too.
* RAM is not on this bus: the accelerator answers for it before it comes here.
"""

from __future__ import annotations

import threading
from bisect import bisect_right, insort
from dataclasses import dataclass

from gasang.core.protocols import MmioDevice
from gasang.devices.lock import Lock

ADDRESS_SPACE = 1 << 64
_MASKS = tuple((1 << (8 * width)) - 1 for width in range(9))


class BusError(Exception):
    """No device answers at `address`: the guest takes an access fault."""

    def __init__(self, address: int, width: int, *, is_write: bool) -> None:
        super().__init__(f"{'write to' if is_write else 'read of'} {address:#x} ({width} bytes): no device answers there")
        self.address = address
        self.width = width
        self.is_write = is_write


@dataclass(frozen=True, order=True, slots=True)
class Region:
    """One device's window: bytes `base` to `end`, the latter excluded. Ordered by `base`."""

    base: int
    end: int
    name: str
    device: MmioDevice


class Bus:
    """A table of regions and the lock that guards what is in them."""

    def __init__(self, lock: Lock | None = None) -> None:
        self.lock: Lock = lock or threading.RLock()
        self._regions: list[Region] = []
        self._bases: list[int] = []
        self._last: Region | None = None
        """Where the last access went: the next one most often goes there too."""

    @property
    def regions(self) -> tuple[Region, ...]:
        """The address map, lowest address first."""
        return tuple(self._regions)

    def attach(self, name: str, base: int, device: MmioDevice) -> Region:
        """Put `device` at `base`; raise ValueError where the window is empty, too high or already taken."""
        region = Region(base, base + device.size, name, device)
        if base < 0 or device.size <= 0 or region.end > ADDRESS_SPACE:
            raise ValueError(f"{name}: {base:#x}+{device.size:#x} is no window of a 64-bit address space")
        for other in self._regions:
            if region.base < other.end and other.base < region.end:
                raise ValueError(f"{name}: {base:#x}+{device.size:#x} overlaps {other.name} at {other.base:#x}")
        index = bisect_right(self._bases, base)
        self._regions.insert(index, region)
        insort(self._bases, base)
        return region

    def read(self, address: int, width: int) -> int:
        """What the guest loads from `address`: an unsigned number of `width` (1, 2, 4, 8) bytes. Raise BusError where nothing answers."""
        region = self._last
        if region is None or address < region.base or address + width > region.end:
            region = self.region(address, width)
            if region is None:
                raise BusError(address, width, is_write=False)
        with self.lock:
            return region.device.read(address - region.base, width) & _MASKS[width]

    def write(self, address: int, width: int, value: int) -> None:
        """Take the guest's store of `width` (1, 2, 4, 8) bytes to `address`. Raise BusError where nothing answers."""
        region = self._last
        if region is None or address < region.base or address + width > region.end:
            region = self.region(address, width)
            if region is None:
                raise BusError(address, width, is_write=True)
        with self.lock:
            region.device.write(address - region.base, width, value & _MASKS[width])

    def region(self, address: int, width: int) -> Region | None:
        """The region that all of an access lies in."""
        index = bisect_right(self._bases, address) - 1
        if index >= 0 and address + width <= self._regions[index].end:
            self._last = self._regions[index]
            return self._last
        return None

    def reset(self) -> None:
        """Return every device to its power-on state."""
        with self.lock:
            for region in self._regions:
                region.device.reset()
