"""Which code is hot: found by looking where the hart is at each poll, so that code which is not hot pays nothing."""

from __future__ import annotations

from gasang.cpus.record import Record
from gasang.cpus.riscv64.block import Block
from gasang.cpus.riscv64.state import HOT_PLACES, STRETCH_SHIFT, Cpu
from gasang.native import boolean, cast, native, popcount, ptr, ref, u64


@native(inline=False)
def is_hot(cpu: ptr[Cpu], record: ptr[Record]) -> boolean:
    """Count a poll at `record`; whether its stretch of code has become hot now.

    It is told at `hot_after` samples, and again at each doubling. A place that two stretches share goes to the one met more often.

    Where compiled regions are known already, a page is told at its first sample too, not more often than `look_rest` allows.
    """
    if cpu.looks != 0:
        if cpu.look_rest != 0:
            cpu.look_rest = cpu.look_rest - 1
        elif cast(ptr[Block], cpu.code_base).looked == 0:
            cast(ptr[Block], cpu.code_base).looked = 1
            return True
    stretch = u64(record) >> STRETCH_SHIFT
    place = ref(cpu.hot[(stretch ^ (stretch >> 10)) & (HOT_PLACES - 1)])
    if place.stretch != stretch:
        if place.count > 0:
            place.count = place.count >> 1
            return False
        place.stretch = stretch
    place.count = place.count + 1
    return place.count % cpu.hot_after == 0 and popcount(place.count // cpu.hot_after) == 1
