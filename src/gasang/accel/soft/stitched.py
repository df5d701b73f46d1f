"""A hart's stitched code: its memory, and what it is made with (cpus/riscv64/stitcher.py)."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

from gasang.core.errors import GasangError
from gasang.cpus.riscv64.stitcher import Stitcher
from gasang.host.code import GrowingCode
from gasang.native.types import instance

if TYPE_CHECKING:
    from gasang.cpus.riscv64.library import Processor

SIZE: Final = 32 << 20
"""Bytes of code at most, which cost what is touched: when they are full all is forgotten, and what is hot then made anew."""


class StitchedCode:
    """The memory of a hart's stitched code; `address` is that of its Stitcher. Raises GasangError where the host has no such memory."""

    def __init__(self, processor: Processor, *, alone: bool) -> None:
        stencils = processor.stencils
        self._code = GrowingCode(SIZE, "gasang-stitched")
        self._stitcher = made = instance(Stitcher)
        made.writable, made.executable, made.size = self._code.writable, self._code.executable, SIZE
        made.stencils, made.holes, made.code = stencils.addresses
        made.table = stencils.table(alone=alone)
        made.miss = processor.miss
        self.address = ctypes.addressof(made)

    @property
    def stretches(self) -> int:
        """Made so far."""
        return int(self._stitcher.stretches)

    @property
    def steps(self) -> int:
        """Instructions of them."""
        return int(self._stitcher.steps)

    @property
    def size(self) -> int:
        """Bytes in use."""
        return int(self._stitcher.used)

    def release(self) -> None:
        """Give memory back: what was stitched is forgotten."""
        self._code.release()

    def close(self) -> None:
        """Give it back: nobody executes it, or will."""
        self._code.close()


def stitched_code(processor: Processor, *, alone: bool) -> StitchedCode | None:
    """A hart's; None where the host's processor has no stencils, or the host no memory for it: then it is interpreted."""
    if not processor.stencils.exist:
        return None
    try:
        return StitchedCode(processor, alone=alone)
    except GasangError:
        return None
