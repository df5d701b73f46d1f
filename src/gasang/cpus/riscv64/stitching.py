"""Stitched code: stretches of a page's instructions as machine code, copied together from their stencils (stencils.py).

Which stretches is found by looking where a hart is at its polls (hot.py): what was met there ENOUGH times is stitched when it is met
again, with what its branches lead to; code that is executed seldom costs nothing.

A stretch is a handler. It stands in the record where it begins, asks first whether the budget is as large as its instructions may need,
and else leaves them to the interpreter: so polls are where they would be without it. It goes on at another record of its page, with the
handler that stands there by then, or enters another page as the interpreter does. An instruction that faults, or must go the slow way, is
executed anew by the interpreter, from its record, as if nothing had been tried.

ORDER: stitched code. It is true as long as the records that it was made of, and is found only by the record where it begins. Whoever
changes a record of a page has nothing of the page stitched any more (`unstitch`) before; decoding one that was not decoded changes none
that was. A store to its own page leaves it, since pages of code are stored to the slow way alone.
"""

from __future__ import annotations

from gasang.cpus.record import Record
from gasang.cpus.riscv64.block import RECORDS, Block
from gasang.cpus.riscv64.fusion import alone
from gasang.cpus.riscv64.returns import is_return
from gasang.cpus.riscv64.state import Cpu
from gasang.cpus.riscv64.stitcher import (
    BEGIN,
    BRANCHES,
    BRANCHES_FAR,
    COUNT,
    GO_ON,
    IMM,
    INDIRECT,
    JUMPS,
    JUMPS_FAR,
    LEAVE,
    MINUS_COUNT,
    NEXT,
    NO_STENCIL,
    PLACE,
    RD,
    RS1,
    RS2,
    RS3,
    SHORT,
    TAKEN,
    TARGET,
    Stitcher,
    Way,
    stencil_place,
)
from gasang.native import boolean, cast, i64, native, ptr, ref, sizeof, store_unaligned, u32, u64

ENOUGH = 8
"""Samples of 128 bytes of code after each of which what is there is stitched, as far as it is not. What is executed less often has to
come from the host's memory each time, and its machine code takes twice the room of its records."""
SHORTEST, LONGEST = 2, 48
"""Instructions of a stretch."""
WAITING = 8
"""Stretches that are made at once: one, and those where its branches lead."""
ROOM = 16 * 1024
"""Bytes that a stretch takes at most: LONGEST instructions with MOST_BYTES, and their ways out."""
BACK = 24
"""Instructions before the one that was met, at most, with which a stretch begins."""
FURTHEST = 2
"""Records from one instruction to the next, at most."""
REGISTER_BYTES = 8
WORD = 8
ALIGNMENT = 16
PLAIN_BEFORE = 8
"""Bytes before a stretch, where the handler stands that its first record had."""


@native(inline=True)
def is_stitched(s: ptr[Stitcher], handler: u64) -> boolean:
    """Whether a handler is a stretch."""
    return handler - s.executable < s.size


@native(inline=False)
def unstitch(cpu: ptr[Cpu], block: ptr[Block]) -> None:
    """Have nothing of a page stitched."""
    if block.stitched == 0:
        return
    block.stitched = 0
    s = cast(ptr[Stitcher], cpu.stitcher)
    for index in range(u64(RECORDS)):
        record = ref(block.records[index])
        if is_stitched(s, record.handler):
            record.handler = cast(ptr[u64], s.writable + (record.handler - s.executable) - PLAIN_BEFORE)[0]


@native(inline=False)
def start_over(cpu: ptr[Cpu]) -> None:
    """Have nothing stitched any more. No stretch is being executed."""
    for number in range(cpu.blocks_used):
        unstitch(cpu, cast(ptr[Block], cpu.blocks + number * sizeof(Block)))
    forget_stitched(cpu)


@native
def end_stitching(cpu: ptr[Cpu]) -> None:
    """Have nothing stitched any more, and nothing again. The hart stands still."""
    if cpu.stitcher != 0:
        start_over(cpu)
        cpu.stitcher = 0


@native
def forget_stitched(cpu: ptr[Cpu]) -> None:
    """No record is left that leads to stitched code."""
    if cpu.stitcher != 0:
        s = cast(ptr[Stitcher], cpu.stitcher)
        s.used = 0
        s.tail = 0


@native(inline=True)
def is_enough(heat: u64, more: u64) -> boolean:
    """Whether code is to be stitched that has so many samples now, and had fewer before: now and then, as what cannot be is met again."""
    return heat % ENOUGH < more and heat >= ENOUGH


@native(inline=True)
def is_full(cpu: ptr[Cpu]) -> boolean:
    """Whether there is no room for more stretches."""
    s = cast(ptr[Stitcher], cpu.stitcher)
    return s.used + WAITING * ROOM > s.size


@native(inline=False)
def stitch(cpu: ptr[Cpu], index: u64) -> None:
    """Make the stretch that a record of the page being executed belongs to, and those where its branches lead: the hart was met there."""
    s = cast(ptr[Stitcher], cpu.stitcher)
    if s.tail != 0:
        s.tail = 0
        return
    block = cast(ptr[Block], cpu.code_base)
    s.waiting_count = 1
    s.waiting[0] = beginning(cpu, s, block, index)
    done: u64 = 0
    while done < s.waiting_count:
        begin = s.waiting[done]
        handler = block.records[begin].handler
        if handler != cpu.dispatch[0] and not is_stitched(s, handler):
            make_stretch(cpu, s, block, begin)
        done += 1


@native
def beginning(cpu: ptr[Cpu], s: ptr[Stitcher], block: ptr[Block], index: u64) -> u64:
    """Where a stretch with the instruction at `index` begins: as far back as instructions follow each other that are not stitched."""
    begin = index
    for _ in range(u64(BACK)):
        before = begin
        for step in range(u64(1), u64(FURTHEST + 1)):
            if before == begin and begin >= step and leads_on(cpu, s, block.records[begin - step].handler, step):
                before = begin - step
        if before == begin:
            break
        begin = before
    return begin


@native(inline=True)
def leads_on(cpu: ptr[Cpu], s: ptr[Stitcher], handler: u64, step: u64) -> boolean:
    """Whether a handler is of an instruction behind which the next may be executed, so many records on."""
    if handler == cpu.dispatch[0] or is_stitched(s, handler):
        return False
    number = stencil_place(s.table, alone(cpu.fusions, handler)).number
    stencil = s.stencils + number
    return number != NO_STENCIL and u64(stencil.step) == step and u64(stencil.flow) <= BRANCHES_FAR


@native
def make_stretch(cpu: ptr[Cpu], s: ptr[Stitcher], block: ptr[Block], begin: u64) -> None:
    """Make the stretch that begins at a record; none where that has too few instructions that have stencils."""
    before = s.used
    start = (before + PLAIN_BEFORE + ALIGNMENT - 1) & ~u64(ALIGNMENT - 1)
    s.used = start
    s.way_count = 0
    emit(s, BEGIN, 0, 0, 0)
    count = copy_instructions(cpu, s, block, begin)
    if count < SHORTEST:
        s.used = before
        return
    head = ref(block.records[begin])
    plain = alone(cpu.fusions, head.handler)
    set_way(s, 0, count)
    fill_holes(s, BEGIN, s.writable + start)
    for position in range(s.way_count):
        lead_back(s, ref(s.ways[position]), plain if position == 0 else u64(0))
    cast(ptr[u64], s.writable + start - PLAIN_BEFORE)[0] = plain
    head.handler = s.executable + start
    block.stitched = 1
    s.stretches = s.stretches + 1
    s.steps = s.steps + count


@native
def copy_instructions(cpu: ptr[Cpu], s: ptr[Stitcher], block: ptr[Block], begin: u64) -> u64:
    """The instructions of a stretch, up to one without a stencil, another stretch or the page's end; how many.

    An indirect jump is left to its record's handler, which may note where it leads (jumps.py), unless it is a return: those are not noted.
    """
    index = begin
    count: u64 = 0
    going = True
    while going and count < LONGEST and index < RECORDS:
        record = ref(block.records[index])
        handler = alone(cpu.fusions, record.handler)
        number = stencil_place(s.table, handler).number
        if number == NO_STENCIL:
            break
        stencil = s.stencils + number
        flow = u64(stencil.flow)
        if flow == INDIRECT and not is_return(record):
            break
        place = place_between(begin, index)
        destination = index + u64(i64(record.imm) >> 1)
        set_operands(s, record, place, count + 1)
        first = s.way_count
        emit(s, number, place, count, handler)
        count += 1
        index = destination if flow == JUMPS else index + u64(stencil.step)
        going = flow < JUMPS_FAR
        if flow == BRANCHES:
            lead_on(s, first, place_between(begin, destination), count)
            if s.waiting_count < WAITING:
                s.waiting[s.waiting_count] = destination
                s.waiting_count = s.waiting_count + 1
    if going:
        set_way(s, place_between(begin, index), count)
        emit(s, GO_ON, 0, 0, 0)
    return count


@native(inline=True)
def place_between(begin: u64, index: u64) -> i64:
    """From one record of a page to another, in bytes."""
    return i64((index - begin) * sizeof(Record))


@native(inline=True)
def set_operands(s: ptr[Stitcher], record: ptr[Record], place: i64, count: u64) -> None:
    """What the holes of an instruction are filled with; `count` with it."""
    s.values[RD] = u64(record.rd) * REGISTER_BYTES
    s.values[RS1] = u64(record.rs1) * REGISTER_BYTES
    s.values[RS2] = u64(record.rs2) * REGISTER_BYTES
    s.values[RS3] = u64(record.rs3) * REGISTER_BYTES
    s.values[IMM] = u64(i64(record.imm))
    s.values[TARGET] = s.miss
    set_way(s, place, count)


@native(inline=True)
def set_way(s: ptr[Stitcher], place: i64, count: u64) -> None:
    """What the holes of a way out are filled with."""
    s.values[PLACE] = u64(place)
    s.values[COUNT] = count
    s.values[MINUS_COUNT] = u64(0) - count


@native(inline=True)
def lead_on(s: ptr[Stitcher], first: u64, place: i64, count: u64) -> None:
    """A branch that is taken leads to a record, whatever its handler is."""
    for position in range(first, s.way_count):
        way = ref(s.ways[position])
        if way.kind == TAKEN:
            way.place = place
            way.count = count
            way.plain = 0


@native
def lead_back(s: ptr[Stitcher], way: ptr[Way], plain: u64) -> None:
    """The code that a jump out of a stretch leads to; `plain` is the first record's handler where the budget is too small."""
    store_unaligned(cast(ptr[u32], way.at), u32(s.writable + s.used - way.at - sizeof(u32)))
    set_way(s, way.place, way.count)
    s.values[TARGET] = way.plain if plain == 0 else plain
    number: u64 = GO_ON
    if plain != 0:
        number = SHORT
    elif way.plain != 0:
        number = LEAVE
    emit(s, number, 0, 0, 0)


@native
def emit(s: ptr[Stitcher], number: u64, place: i64, count: u64, plain: u64) -> None:
    """Copy a stencil to the end of the code and fill its holes; its jumps out are noted with how they lead back."""
    stencil = s.stencils + number
    source = cast(ptr[u64], u64(s.code) + u64(stencil.code))
    start = s.writable + s.used
    target = cast(ptr[u64], start)
    for index in range((u64(stencil.size) + WORD - 1) // WORD):
        store_unaligned(target + index, source[index])
    fill_holes(s, number, start)
    for position in range(u64(stencil.count)):
        hole = s.holes + u64(stencil.first) + position
        if u64(hole.kind) > NEXT:
            way = ref(s.ways[s.way_count])
            way.at = start + u64(hole.at)
            way.kind = u64(hole.kind)
            way.place = place
            way.count = count
            way.plain = plain
            s.way_count = s.way_count + 1
    s.used = s.used + u64(stencil.size)


@native
def fill_holes(s: ptr[Stitcher], number: u64, start: u64) -> None:
    """Fill the holes of a stencil's copy, but for its jumps out, with `values`."""
    stencil = s.stencils + number
    for position in range(u64(stencil.count)):
        hole = s.holes + u64(stencil.first) + position
        kind = u64(hole.kind)
        at = start + u64(hole.at)
        if kind == TARGET:
            store_unaligned(cast(ptr[u64], at), s.values[kind])
        elif kind < NEXT:
            store_unaligned(cast(ptr[u32], at), u32(s.values[kind]) + u32(hole.base))
        elif kind == NEXT:
            store_unaligned(cast(ptr[u32], at), u32(start + u64(stencil.size) - at - sizeof(u32)))
