"""What has been written to RAM since a moment: by vCPUs, as the kernel tells, and by devices, which is noted here.

The kernel tells by rings (rings.py), where it has them, or else by its log of dirty pages.

A snapshot after another one copies that much and no more. Watching costs a fault at the first store to each page.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from gasang.accel.kvm.memory import GuestRam
from gasang.host.kvm import ioctls
from gasang.host.kvm import structures as s
from gasang.host.kvm.ioctls import call

if TYPE_CHECKING:
    from gasang.devices.virtio.pump.pump import Pump

PAGE: Final = 4096
PIECE: Final = 16 * PAGE
"""Bytes that are told of together: sixteen pages, two bytes of the kernel's bitmap."""


_STRIDE: Final = 512
"""Bytes of a bitmap that are looked at together first: most of a large guest is clean."""
_CLEAN: Final = bytes(_STRIDE)
_MARKED: Final = re.compile(rb"\x01")


class Watch(Protocol):
    """How the kernel tells what vCPUs write."""

    def pages(self) -> Iterable[tuple[int, int]]:
        """(slot, page in it) of what was written since it was asked last; all vCPUs stand still. Raises RefusedError."""
        ...


class Log:
    """The kernel's log of dirty pages of a machine (its descriptor), whose slots have so many pages."""

    def __init__(self, machine: int, slots: Sequence[int]) -> None:
        self._machine = machine
        self._slots = slots

    def pages(self) -> Iterator[tuple[int, int]]:
        """First pages of the dirty groups of sixteen; the kernel forgets a slot's as it tells. Raises RefusedError."""
        for slot, count in enumerate(self._slots):
            bitmap = (ctypes.c_uint64 * (-(-count // 64)))()
            call(self._machine, ioctls.GET_DIRTY_LOG, s.DirtyLog(slot=slot, dirty_bitmap=ctypes.addressof(bitmap)))
            words = memoryview(bitmap).cast("B")
            for index in range(0, len(words), _STRIDE):
                stretch = words[index : index + _STRIDE]
                if stretch != _CLEAN[: len(stretch)]:
                    for at in range(0, len(stretch), 2):
                        if stretch[at] or stretch[at + 1]:
                            yield slot, (index + at) * 8


class DirtyPieces:
    """Numbers of pieces of RAM (PIECE bytes at a multiple of that in the host's memory) that were written while watched."""

    def __init__(self, watch: Watch, ram: GuestRam, pump: Pump | None = None) -> None:
        """`pump` writes to RAM as well, if there is one."""
        self._watch = watch
        self._ram = ram
        self._noted: set[int] = set()
        ram.on_write(self._note)
        self._pump = pump
        self._marks = (ctypes.c_uint8 * -(-ram.size // PIECE))() if pump is not None else None
        if pump is not None:
            pump.watch(ctypes.addressof(self._marks) if self._marks is not None else 0, PIECE)

    def _note(self, offset: int, length: int) -> None:
        self._noted.update(range(offset // PIECE, (offset + max(length, 1) - 1) // PIECE + 1))

    def take(self) -> set[int]:
        """What was written since it was asked last, or since the slots are watched; all stands still. Raises RefusedError."""
        noted, self._noted = self._noted, set()
        if self._marks is not None:
            noted.update(match.start() for match in _MARKED.finditer(memoryview(self._marks).cast("B")))
            ctypes.memset(self._marks, 0, ctypes.sizeof(self._marks))
        first = [part.offset // PAGE for part in self._ram.ranges]
        noted.update((first[slot] + page) // (PIECE // PAGE) for slot, page in self._watch.pages())
        return noted

    def close(self) -> None:
        """Note no more."""
        self._ram.on_write(None)
        if self._pump is not None:
            self._pump.watch(0, PIECE)


class Stores:
    """What was written, by moments: between each two that follow one another."""

    MOST: Final = 8
    """Stretches that are kept apart; who asks from before them is told that all may be other."""

    def __init__(self, pieces: DirtyPieces) -> None:
        self._pieces = pieces
        self._number = 0
        self._stretches: dict[int, set[int]] = {}

    def moment(self) -> int:
        """A name for now; vCPUs and devices stand still. Raises RefusedError."""
        self._number += 1
        self._stretches[self._number] = self._pieces.take()
        self._stretches.pop(self._number - self.MOST, None)
        return self._number

    def since(self, moment: int) -> list[tuple[int, int]] | None:
        """(offset in the host's memory, bytes) of what was written between `moment` and the newest; None where that is forgotten."""
        wanted = range(moment + 1, self._number + 1)
        if any(number not in self._stretches for number in wanted):
            return None
        return [(piece * PIECE, PIECE) for piece in sorted(set().union(*(self._stretches[number] for number in wanted)))]

    def close(self) -> None:
        """Note no more."""
        self._pieces.close()
