"""Which code is hot: found by looking where the hart is at each poll, so that code which is not hot pays nothing.

Samples are counted by stretches of 128 bytes of RAM, so that code which is forgotten and decoded anew, or lies in several address spaces,
keeps its count. There is room for all that a boot executes: in a table of a thousand places the stretches of Debian's boot drove each other
out, and nothing of it became hot.
"""

from __future__ import annotations

from gasang.cpus.record import Record
from gasang.cpus.riscv64.block import Block
from gasang.cpus.riscv64.code import block_at
from gasang.cpus.riscv64.state import HOT_SHIFT, STRETCH_SHIFT, STRETCHES, Cpu, HotPlace
from gasang.native import boolean, cast, native, popcount, ptr, ref, u64

MIX = 0x9E3779B97F4A7C15
FADES = 4
"""A place loses one, and 1 of 2**FADES samples, for each of another stretch."""
FOURS = 0x5555555555555555
"""Bits of powers of four."""
OFTEN = 64
"""Times as hot as is hot: some tenths of a second. To wait for a doubling is too long then."""


@native(inline=True)
def hot_place(cpu: ptr[Cpu], stretch: u64) -> ptr[HotPlace]:
    """Where samples of a stretch are counted."""
    return ref(cpu.hot[(stretch * u64(MIX)) >> HOT_SHIFT])


@native(inline=False)
def is_hot(cpu: ptr[Cpu], record: ptr[Record], samples: u64) -> boolean:
    """Count a poll at `record` as so many samples; whether its stretch of code has become hot now.

    It is told at `hot_after` samples, and again as `is_told` says. A place that two stretches share goes to the one met more often.

    Where compiled regions are known already, a page is told at its first sample too, not more often than `look_rest` allows.
    """
    block = cast(ptr[Block], cpu.code_base)
    if cpu.looks != 0:
        if cpu.look_rest != 0:
            cpu.look_rest = cpu.look_rest - 1
        elif block.looked == 0:
            block.looked = 1
            return True
    stretch = block.page * STRETCHES + ((u64(record) - cpu.code_base) >> STRETCH_SHIFT)
    place = hot_place(cpu, stretch)
    if place.stretch != stretch:
        if place.count > 0:
            place.count = place.count - 1 - (place.count >> FADES)
            return False
        place.stretch = stretch
    if samples > cpu.hot_after:  # or it would be told about at none of the times that it has become hot
        samples = cpu.hot_after
    before = place.count // cpu.hot_after
    place.count = place.count + samples
    times = place.count // cpu.hot_after
    return times != before and is_told(times)


@native(inline=True)
def is_told(times: u64) -> boolean:
    """Whether code `times` as hot as is hot is told about: at powers of four, and each OFTEN times, when it may soon be compiled."""
    return (popcount(times) == 1 and times & FOURS != 0) or times % OFTEN == 0


@native
def stretch_of(cpu: ptr[Cpu], number: u64, offset: u64) -> u64:
    """The stretch of code at an offset of a block's page; `number` as `code_place` gives it."""
    return block_at(cpu, number - 1).page * STRETCHES + (offset >> (STRETCH_SHIFT - 3))


@native
def heat_of(cpu: ptr[Cpu], stretch: u64) -> u64:
    """How many samples of a stretch are counted."""
    place = hot_place(cpu, stretch)
    return place.count if place.stretch == stretch else u64(0)


@native(inline=True)
def heat_here(cpu: ptr[Cpu], record: ptr[Record]) -> u64:
    """How many samples are counted of the stretch that a record of the page being executed is in."""
    return heat_of(cpu, cast(ptr[Block], cpu.code_base).page * STRETCHES + ((u64(record) - cpu.code_base) >> STRETCH_SHIFT))


@native
def heats_of(cpu: ptr[Cpu], number: u64, found: ptr[u64]) -> None:
    """The samples of each stretch of a block's page; `number` as `code_place` gives it."""
    for index in range(u64(STRETCHES)):
        found[index] = heat_of(cpu, block_at(cpu, number - 1).page * STRETCHES + index)


@native
def set_heat(cpu: ptr[Cpu], stretch: u64, count: u64) -> None:
    """Go on counting from `count`."""
    place = hot_place(cpu, stretch)
    place.stretch = stretch
    place.count = count
