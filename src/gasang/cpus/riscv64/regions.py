"""What compiled regions need at run time: the few functions that they call, and those that place them.

A region keeps the hart's registers in the host's. Its loads and stores are those of windows.py; where they cannot be done the region is
left before the instruction, and the interpreter executes it.
"""

from __future__ import annotations

from typing import Any

from gasang.cpus.riscv64.block import RECORDS, Block
from gasang.cpus.riscv64.clock import update_timer
from gasang.cpus.riscv64.code import block_at
from gasang.cpus.riscv64.execute import enter_block, fill_record, miss
from gasang.cpus.riscv64.fast import FAST
from gasang.cpus.riscv64.fusion import part
from gasang.cpus.riscv64.hot import heats_of
from gasang.cpus.riscv64.memory import amo_pointer_u32, amo_pointer_u64
from gasang.cpus.riscv64.mmu import FETCH, in_ram, translate
from gasang.cpus.riscv64.state import PAGE_MASK, Cpu
from gasang.cpus.riscv64.stitching import unstitch
from gasang.cpus.riscv64.trap import deliverable
from gasang.cpus.riscv64.windows import close_windows, load_beyond, place_of, store_beyond, store_watched
from gasang.native import Fault, NativeFunction, atomic_load, attempt, cast, i64, load_unaligned, native, ptr, ref, u8, u16, u32, u64

QUANTUM = 4096
"""Instructions between polls inside a region, at most: they take no longer than the interpreter's quantum."""
SCATTER = 0x9E3779B97F4A7C15
SCATTER_SHIFT = 64 - 10
"""The bits that are left are the fewer instructions: a quarter of QUANTUM.

A loop around loops takes as many instructions each time: polls at one distance would come at the same of its places for ever, and what is
executed between the inner loops would hardly be sampled however hot it is.
"""
SAMPLED_SHIFT = 64 - 2
"""The bits that are left are all 0 at one poll in so many of a brief region."""


@native(convention="preserve_most", inline=False)
def poll_region(cpu: ptr[Cpu], budget: u64, unused: u64) -> u64:
    """A poll before the budget is used up: the new budget, or 0 where there is something to do that takes the interpreter's poll.

    Near the caller's limit it is always 0: the last instructions allowed are interpreted, so that execution ends exactly there.
    """
    rest = cpu.remaining + budget
    cpu.polls_region = 1
    if atomic_load(ref(cpu.requests)) != 0 or cpu.line_polls != 0 or rest < 2 * QUANTUM:
        return 0
    update_timer(cpu)
    if deliverable(cpu, atomic_load(ref(cpu.sip))) != 0:
        return 0
    cpu.polls_region = 0
    cpu.retired = cpu.retired + i64(cpu.quantum - budget)
    quantum = QUANTUM - (u64(cpu.retired) * SCATTER >> SCATTER_SHIFT)
    cpu.compiled = cpu.compiled + (quantum - budget)
    cpu.remaining = rest - quantum
    cpu.quantum = quantum
    return quantum


@native(convention="preserve_most", inline=False)
def poll_brief(cpu: ptr[Cpu], budget: u64, unused: u64) -> u64:
    """`poll_region` of a region that was compiled with little effort: now and then 0, so that the interpreter's poll finds what is hot."""
    if u64(cpu.retired) * SCATTER >> SAMPLED_SHIFT != 0:
        return poll_region(cpu, budget, unused)
    cpu.polls_region = 1
    return 0


@native(may_fault=True)
def enter_decoded(cpu: ptr[Cpu], start: u64) -> None:
    """Enter a page into the code TLB. Raises Fault if none of its code is decoded, or it cannot be executed."""
    physical = translate(cpu, start, FETCH) & PAGE_MASK
    if in_ram(cpu, physical) == 0:
        raise Fault
    number = u64(cpu.code_map[(physical - cpu.shared.ram_base) >> 12])
    if number == 0:
        raise Fault
    enter_block(cpu, start, block_at(cpu, number - 1))


@native(convention="preserve_most", inline=False)
def find_page(cpu: ptr[Cpu], start: u64, unused: u64) -> u64:
    """Whether the code TLB knows a page from now on: a region's other pages are known only by chance when it has been flushed."""
    return u64(1) if attempt(enter_decoded, cpu, start) else u64(0)


SUBSTITUTES: dict[Any, NativeFunction] = {point: FAST[point] for point in (amo_pointer_u32, amo_pointer_u64)}
"""What takes the place of a call in a region."""

HELPERS: list[NativeFunction] = [
    load_beyond, store_beyond, close_windows, poll_region, miss, find_page, place_of, poll_brief, store_watched,
]  # fmt: skip
"""What regions call, by the indices that follow."""
LOAD_BEYOND, STORE_BEYOND, CLOSE_WINDOWS, POLL_REGION, MISS, FIND_PAGE, PLACE_OF, POLL_BRIEF, STORE_WATCHED = range(9)


@native
def block_stamp(cpu: ptr[Cpu], number: u64) -> u64:
    """A block's stamp; `number` as `code_place` gives it."""
    return block_at(cpu, number - 1).stamp


@native
def stamp_block(cpu: ptr[Cpu], number: u64, stamp: u64) -> None:
    """Give a block the stamp of its content."""
    block_at(cpu, number - 1).stamp = stamp


@native
def block_host(cpu: ptr[Cpu], number: u64) -> u64:
    """The host address of a block's page."""
    return block_at(cpu, number - 1).host


@native
def executed_places(cpu: ptr[Cpu], number: u64, out: ptr[u8]) -> u64:
    """Note for each record of a block in `out` (2048 bytes) whether it was decoded; the page's host address."""
    block = block_at(cpu, number - 1)
    fresh = cpu.dispatch[0]
    for index in range(u64(RECORDS)):
        out[index] = 0 if block.records[index].handler == fresh else u8(1)
    return block.host


@native
def describe_page(cpu: ptr[Cpu], number: u64, found: ptr[u8]) -> u64:
    """To `found` go what `executed_places` says of a block and, behind it, what `heats_of` says; the page's host address."""
    heats_of(cpu, number, cast(ptr[u64], u64(found) + RECORDS))
    return executed_places(cpu, number, found)


@native
def decode_place(cpu: ptr[Cpu], block: ptr[Block], index: u64) -> None:
    """Decode a record where a region is to begin, if it was not: a region's instructions lie on the page as a whole."""
    record = ref(block.records[index])
    if record.handler == cpu.dispatch[0]:
        place = block.host + index * 2
        word = u32(cast(ptr[u16], place)[0])
        if word & 3 == 3:
            word = load_unaligned(cast(ptr[u32], place))
        fill_record(cpu, record, index, word)


@native
def begin_region(cpu: ptr[Cpu], places: ptr[u64], count: u64, handler: u64) -> u64:
    """Have a region take the place of so many records, which are decoded for it if they were not; of how many it had not yet.

    A place is a block's number, as `code_place` gives it, times RECORDS, and the record's index in it.
    """
    begun: u64 = 0
    for position in range(count):
        index = places[position] % RECORDS
        block = block_at(cpu, places[position] // RECORDS - 1)
        record = ref(block.records[index])
        if record.handler != handler:
            unstitch(cpu, block)
            decode_place(cpu, block, index)
            part(cpu, block, index)
            record.handler = handler
            begun += 1
    return begun
