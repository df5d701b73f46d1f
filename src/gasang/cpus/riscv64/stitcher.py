"""What code is stitched with, as native code sees it: stencils and their holes, and a hart's Stitcher."""

from __future__ import annotations

from gasang.native import array, i32, i64, length, native, ptr, struct, u8, u16, u32, u64

RD, RS1, RS2, RS3, PLACE, IMM, COUNT, MINUS_COUNT, TARGET, NEXT, FAULT, TAKEN = range(12)
"""Kinds of holes: an operand, which is added to what stands there; the address of code; from NEXT on the distance to code."""
FALLS, BRANCHES, BRANCHES_FAR, JUMPS, JUMPS_FAR, INDIRECT = range(6)
"""How execution goes on behind an instruction: with the next, or a branch's destination, on the page or off it; with a jump's destination,
on the page or off it, or in a register."""
NO_STENCIL, BEGIN, LEAVE, GO_ON, SHORT = range(5)
"""Numbers of stencils that stand for no instruction: the question for the budget; ways out to a handler that is known, to a record's, and
to that of the first record where the budget is too small."""
MIX = 0x9E3779B97F4A7C15
STENCILS_SHIFT = 53
"""Of a mixed word: what is left numbers STENCIL_PLACES."""
STENCIL_PLACES = 1 << 64 - STENCILS_SHIFT
MOST_JUMPS, MOST_BYTES = 4, 256
"""Of a stencil: jumps out, of which there is room for 256 in a stretch of 48 instructions, and code."""


@struct
class Hole:
    """A place in a stencil's code."""

    at: u16
    kind: u8
    unused: u8
    base: i32


@struct
class Stencil:
    """The code of an instruction."""

    code: u32  # where it begins
    size: u16
    step: u8  # records to the next instruction
    flow: u8
    first: u32  # number of its first hole
    count: u32


@struct
class StencilOf:
    """Which stencil is of a handler."""

    handler: u64  # 0: a free place
    number: u64


@struct
class Way:
    """A jump out of a stretch, and how it leads back."""

    at: u64  # address of its distance
    kind: u64
    place: i64  # from the stretch's first record to the one where execution goes on, in bytes
    count: u64  # instructions executed by then
    plain: u64  # the handler there; 0 for whichever stands in the record


@struct
class Stitcher:
    """A hart's stitched code, and what it is made with."""

    writable: u64  # host address where code is written,
    executable: u64  # and where the same is executed
    size: u64
    used: u64
    stencils: ptr[Stencil]
    holes: ptr[Hole]
    code: ptr[u8]
    table: ptr[StencilOf]
    miss: u64  # the handler of a page that the code TLB does not know
    tail: u64  # 1 while what is interpreted is the end of a budget that was too small for a stretch
    stretches: u64  # made so far
    steps: u64  # instructions of them
    way_count: u64
    waiting_count: u64
    values: array[u64] = length(12)  # what holes are filled with, by kind
    waiting: array[u64] = length(8)  # records where stretches are to begin
    ways: array[Way] = length(256)


@native(inline=True)
def stencil_place(table: ptr[StencilOf], handler: u64) -> ptr[StencilOf]:
    """Where a handler's stencil stands, or a free place, whose number is NO_STENCIL."""
    index = (handler * u64(MIX)) >> STENCILS_SHIFT
    while table[index].handler != 0 and table[index].handler != handler:
        index = (index + 1) & (STENCIL_PLACES - 1)
    return table + index


@native
def enter_stencils(table: ptr[StencilOf], dispatch: ptr[u64], numbers: ptr[u16], count: u64) -> None:
    """Put the stencils of a dispatch table's rows into the table."""
    for row in range(count):
        if u64(numbers[row]) != NO_STENCIL:
            place = stencil_place(table, dispatch[row])
            place.handler = dispatch[row]
            place.number = u64(numbers[row])
