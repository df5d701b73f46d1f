"""Pages of code as harts have decoded them: what requests say of them, and where regions can be placed."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from gasang.accel.soft.jit.messages import PLACES, Page
from gasang.accel.soft.jit.pack import stamp_of
from gasang.cpus.riscv64.state import PAGE_SIZE, STRETCHES

if TYPE_CHECKING:
    from gasang.accel.soft.hart import Hart
    from gasang.cpus.riscv64.library import Processor

NEAR = 64
"""Pages to each side that are looked at for code."""
MOST_NEAR = 12
"""Of them."""
MOST_CONTENTS = 2048


class _Found(ctypes.Structure):
    """What `describe_page` fills."""

    _fields_: ClassVar = [("executed", ctypes.c_uint8 * PLACES), ("heats", ctypes.c_uint64 * STRETCHES)]


class DecodedPages:
    """The pages of one machine. A block is a decoded page of a hart's, known by its number (`code_place`)."""

    def __init__(self, processor: Processor) -> None:
        self._functions = processor.functions
        self._contents: dict[int, bytes] = {}
        """Of pages lately asked about, by stamp: requests share them."""
        self._looked_at: dict[int, tuple[int, bytes]] = {}
        """Stamp and content of pages as they were found last, by their host address: to compare is less than to digest."""

    def find(self, hart: Hart, page: int) -> int:
        """The block of a virtual page, as `code_place` numbers it; 0 where there is none."""
        return int(self._functions["code_place"](hart.address, page & (1 << 64) - 1))

    def near(self, hart: Hart, page: int) -> dict[int, Page]:
        """The page and code near it that the hart has executed lately, by distance."""
        pairs = (ctypes.c_int64 * (2 * MOST_NEAR))()
        near = self._functions["code_near"]
        count = near(hart.address, page & (1 << 64) - 1, NEAR, MOST_NEAR, ctypes.addressof(pairs))
        return {pairs[2 * index]: self.page(hart, pairs[2 * index + 1]) for index in range(count)}

    def page(self, hart: Hart, number: int) -> Page:
        """What a request says of a block."""
        found = _Found()
        host = self._functions["describe_page"](hart.address, number, ctypes.addressof(found))
        stamp, content = self._look_at(host)
        return Page(content, bytes(found.executed), stamp, tuple(found.heats))

    def _look_at(self, host: int) -> tuple[int, bytes]:
        """Stamp and content of the page at a host address."""
        known = self._looked_at.get(host)
        present = ctypes.string_at(host, PAGE_SIZE)
        if known is None or known[1] != present:
            if len(self._contents) > MOST_CONTENTS or len(self._looked_at) > MOST_CONTENTS:
                self._contents.clear()
                self._looked_at.clear()
            stamp = stamp_of(present)
            known = self._looked_at[host] = stamp, self._contents.setdefault(stamp, present)
        return known

    def stamp(self, hart: Hart, number: int) -> int:
        """A block's stamp, or what it would be."""
        known = int(self._functions["block_stamp"](hart.address, number))
        return known or self._look_at(self._functions["block_host"](hart.address, number))[0]

    def content(self, hart: Hart, number: int) -> bytes:
        """What a block's page holds now."""
        return ctypes.string_at(self._functions["block_host"](hart.address, number), PAGE_SIZE)

    def stamped(self, hart: Hart, stamps: Mapping[int, int], page: int) -> dict[int, int]:
        """The blocks of a region's pages, stamped, by distance, if all have the content of its `stamps`, page 0 at `page`; else nothing."""
        numbers: dict[int, int] = {}
        for delta, stamp in stamps.items():
            number = self.find(hart, page + delta * PAGE_SIZE)
            if not number or self.stamp(hart, number) != stamp:
                return {}
            numbers[delta] = number
        for delta, number in numbers.items():
            self._functions["stamp_block"](hart.address, number, stamps[delta])
        return numbers
