"""The run loop without a loop: what happens between instructions.

Every function here and every handler takes (cpu, record, budget) and ends in a tail call to the next; `budget` is the number of
instructions left
until the next poll. The pc is implied by the record; functions that need it elsewhere put it into `cpu.pc`.

    run ──► resume ──► enter ──► handler ──► handler ──► … ──► poll (budget used up) ──► resume
                         │ miss                │ fault
                         ▼                     ▼
                      look up, decode       trap_exit ──► trap ──► enter, or back to the caller of run
"""

from __future__ import annotations

from gasang.cpus.decoder import DecodeTables, decode_into
from gasang.cpus.record import Record
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.block import RECORDS, Block
from gasang.cpus.riscv64.clock import update_timer
from gasang.cpus.riscv64.code import block_at, drop_if_asked, make_block
from gasang.cpus.riscv64.fusion import fuse
from gasang.cpus.riscv64.harts import serve
from gasang.cpus.riscv64.hot import heat_here, is_hot
from gasang.cpus.riscv64.line import line_is_due
from gasang.cpus.riscv64.mmu import FETCH, access_fault, in_ram, translate
from gasang.cpus.riscv64.state import CODE_TLB_ENTRIES, OFFSET_MASK, PAGE_MASK, Cpu
from gasang.cpus.riscv64.stitching import is_enough, is_full, start_over, stitch
from gasang.cpus.riscv64.trap import ILLEGAL_INSTRUCTION, deliver_exception, deliver_interrupt, deliverable, raise_exception
from gasang.native import (
    Fault,
    address_of,
    atomic_load,
    atomic_store,
    attempt,
    cast,
    float_flags,
    function_type,
    i64,
    likely,
    load_unaligned,
    native,
    ptr,
    ref,
    set_float_control,
    tail_call,
    u16,
    u32,
    u64,
    unlikely,
)

Handler = function_type([ptr[Cpu], ptr[Record], u64], None, "preserve_none")

QUANTUM = 900
"""Instructions between polls: interrupts are taken within 1000."""


@native(inline=True)
def pc_of(cpu: ptr[Cpu], record: ptr[Record]) -> u64:
    """The pc of a record of the page being executed."""
    return (u64(record) >> 3) + cpu.code_bias


@native
def refill(cpu: ptr[Cpu]) -> None:
    """Account for the quantum and begin another, if the caller allows more."""
    line_is_due(cpu)
    cpu.retired = cpu.retired + i64(cpu.quantum - cpu.budget)
    size: u64 = QUANTUM
    if cpu.remaining < size:
        size = cpu.remaining
    cpu.remaining = cpu.remaining - size
    cpu.quantum = size
    cpu.budget = size


@native(inline=False)
def serve_requests(cpu: ptr[Cpu]) -> None:
    """Do what other threads have asked of this hart."""
    drop_if_asked(cpu)
    asked = atomic_load(ref(cpu.requests)) & ~u64(exits.REQUEST_FLUSH_WRITES)
    serve(cpu, asked)
    if asked & exits.REQUEST_STOP != 0:
        cpu.exit = exits.STOPPED


@native(convention="preserve_none", inline=False)
def poll(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    """The budget is used up at `record`, which is executed next."""
    cpu.pc = pc_of(cpu, record)
    cpu.budget = 0
    samples = 1 + cpu.quantum // (QUANTUM + 1)  # a region's quantum that ends outside stands for as much of what is outside
    polls_region = cpu.polls_region
    cpu.polls_region = 0
    refill(cpu)
    if cpu.budget == 0:
        cpu.exit = exits.LIMIT
        return
    if unlikely(cpu.hot_after != 0 and is_hot(cpu, record, samples)):
        cpu.exit = exits.HOT
        return
    if cpu.stitcher != 0 and polls_region == 0 and is_enough(heat_here(cpu, record), samples):
        if unlikely(is_full(cpu)):
            start_over(cpu)
        stitch(cpu, (u64(record) - cpu.code_base) >> 4)
    update_timer(cpu)
    return tail_call(resume, cpu, record, cpu.budget)


@native(convention="preserve_none", inline=False)
def resume(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    """Go on at cpu.pc after serving requests and taking an interrupt. cpu.budget is `budget`."""
    if unlikely(atomic_load(ref(cpu.requests)) != 0):
        serve_requests(cpu)
    if unlikely(cpu.exit != exits.NONE):
        return
    enabled = deliverable(cpu, atomic_load(ref(cpu.sip)))
    if enabled != 0:
        deliver_interrupt(cpu, enabled)
        if unlikely(cpu.exit != exits.NONE):
            return
    return tail_call(enter, cpu, record, budget)


@native(convention="preserve_none", inline=False)
def enter(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    """Go on at cpu.pc."""
    target = cpu.pc
    entry = ref(cpu.code_tlb[(target >> 12) & (CODE_TLB_ENTRIES - 1)])
    if likely(entry.tag == (target & PAGE_MASK) | cpu.context):
        cpu.code_base = entry.base
        cpu.code_bias = entry.bias
        destination = cast(ptr[Record], entry.base + ((target & 0xFFE) << 3))
        return tail_call(cast(Handler, destination.handler), cpu, destination, budget)
    return tail_call(miss, cpu, record, budget)


@native(inline=True)
def enter_block(cpu: ptr[Cpu], address: u64, block: ptr[Block]) -> None:
    """Have the code TLB find the page of an address in a block."""
    entry = ref(cpu.code_tlb[(address >> 12) & (CODE_TLB_ENTRIES - 1)])
    entry.tag = (address & PAGE_MASK) | cpu.context
    entry.base = u64(block)
    entry.bias = (address & PAGE_MASK) - (u64(block) >> 3)
    block.age = cpu.code_age


@native(may_fault=True, inline=False)
def find_code(cpu: ptr[Cpu]) -> None:
    """Enter the page of cpu.pc into the code TLB, giving it a block if it has none."""
    target = cpu.pc
    physical = translate(cpu, target, FETCH) & PAGE_MASK
    if in_ram(cpu, physical) == 0:
        access_fault(cpu, target, FETCH)
        raise Fault
    page = (physical - cpu.shared.ram_base) >> 12
    number = u64(cpu.code_map[page])
    block = make_block(cpu, page) if number == 0 else block_at(cpu, number - 1)
    enter_block(cpu, target, block)


@native(convention="preserve_none", inline=False)
def miss(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    """The code TLB does not know cpu.pc."""
    if attempt(find_code, cpu):
        return tail_call(enter, cpu, record, budget)
    return tail_call(fetch_trap, cpu, record, budget)


@native(convention="preserve_none", inline=False)
def fetch_trap(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    """The instruction at cpu.pc cannot be fetched. A trap retires nothing but takes one of the budget: endless traps end at a poll."""
    if budget == 0:
        cpu.budget = 0
        refill(cpu)
        if cpu.budget == 0:
            cpu.exit = exits.LIMIT
            return
        update_timer(cpu)
        return tail_call(resume, cpu, record, cpu.budget)
    cpu.budget = budget
    return tail_call(trap, cpu, record, budget)


@native(convention="preserve_none", inline=False)
def trap(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    """Take the exception raised at cpu.pc. cpu.budget is `budget`, at least 1."""
    deliver_exception(cpu, cpu.cause, cpu.tval)
    cpu.retired = cpu.retired - 1
    cpu.budget = budget - 1
    if unlikely(cpu.exit != exits.NONE):
        return
    return tail_call(enter, cpu, record, cpu.budget)


@native(inline=False)
def instruction_bits(cpu: ptr[Cpu]) -> u64:
    """The instruction at cpu.pc, which is being executed."""
    block = cast(ptr[Block], cpu.code_base)
    offset = cpu.pc & OFFSET_MASK
    low = cast(ptr[u16], block.host + offset)[0]
    if low & 3 != 3:
        return u64(low)
    if offset == OFFSET_MASK - 1:
        return cpu.span_word
    return u64(load_unaligned(cast(ptr[u32], block.host + offset)))


@native(convention="preserve_none", inline=False)
def trap_exit(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    """The instruction of `record` raised an exception, or needs something from outside. `budget` is at least 1."""
    cpu.pc = pc_of(cpu, record)
    cpu.budget = budget
    if cpu.exit != exits.NONE:
        return
    if cpu.cause == ILLEGAL_INSTRUCTION:
        cpu.tval = instruction_bits(cpu)
    return tail_call(trap, cpu, record, budget)


@native(convention="preserve_none", inline=False)
def illegal(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    """Handler of words that are no instruction."""
    if budget == 0:
        return tail_call(poll, cpu, record, budget)
    raise_exception(cpu, ILLEGAL_INSTRUCTION, 0)
    return tail_call(trap_exit, cpu, record, budget)


@native(inline=True)
def fill_record(cpu: ptr[Cpu], record: ptr[Record], index: u64, word: u32) -> None:
    """Make the record `index` of its page that of an instruction word."""
    number = decode_into(cast(ptr[DecodeTables], cpu.decode_tables), word, record)
    if number == 0:
        record.handler = u64(address_of(illegal))
    else:
        destination = index + u64(i64(record.imm) >> 1)
        far: u64 = 1 if destination >= RECORDS else u64(0)
        record.handler = cpu.dispatch[u64(number) * 2 + far]


@native(convention="preserve_none", inline=False)
def decode_here(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    """Handler of records not decoded yet: decode, then execute."""
    block = cast(ptr[Block], cpu.code_base)
    index = (u64(record) - cpu.code_base) >> 4
    place = block.host + index * 2
    word = u32(cast(ptr[u16], place)[0])
    if word & 3 == 3:
        if index == RECORDS - 1:
            record.handler = u64(address_of(span))
            return tail_call(span, cpu, record, budget)
        word = load_unaligned(cast(ptr[u32], place))
    fill_record(cpu, record, index, word)
    fuse(cpu, block, index)
    return tail_call(cast(Handler, record.handler), cpu, record, budget)


@native(may_fault=True, inline=False)
def fetch_span(cpu: ptr[Cpu], pc: u64) -> None:
    """Gather the instruction that lies on this page and the next."""
    block = cast(ptr[Block], cpu.code_base)
    low = cast(ptr[u16], block.host + OFFSET_MASK - 1)[0]
    physical = translate(cpu, pc + 2, FETCH) & PAGE_MASK
    host = in_ram(cpu, physical)
    if host == 0:
        access_fault(cpu, pc + 2, FETCH)
        raise Fault
    cpu.span_word = u64(low) | (u64(cast(ptr[u16], host)[0]) << 16)


@native(convention="preserve_none", inline=False)
def span(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    """Handler of a four-byte instruction on two pages: decoded each time, since the second page may be remapped."""
    if budget == 0:
        return tail_call(poll, cpu, record, budget)
    if not attempt(fetch_span, cpu, pc_of(cpu, record)):
        return tail_call(trap_exit, cpu, record, budget)
    number = decode_into(cast(ptr[DecodeTables], cpu.decode_tables), u32(cpu.span_word), record)
    if number == 0:
        return tail_call(illegal, cpu, record, budget)
    return tail_call(cast(Handler, cpu.dispatch[u64(number) * 2 + 1]), cpu, record, budget)


@native(convention="preserve_none", inline=False)
def cross_page(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    """Handler of the records behind a page's last: execution goes on in the next page."""
    cpu.pc = pc_of(cpu, record)
    return tail_call(enter, cpu, record, budget)


@native
def run(cpu: ptr[Cpu]) -> None:
    """Execute until cpu.exit says why not. A finished device access is completed before any interrupt is looked at."""
    cpu.exit = exits.NONE
    atomic_store(ref(cpu.inside), 1)
    drop_if_asked(cpu)
    set_float_control(u32(cpu.frm), u32(cpu.fflags))
    first = cast(ptr[Record], u64(0))
    if cpu.mmio_state != exits.MMIO_IDLE:
        enter(cpu, first, cpu.budget)
    else:
        update_timer(cpu)
        resume(cpu, first, cpu.budget)
    cpu.fflags = u64(float_flags()) & 31
    set_float_control(0, 0)
    atomic_store(ref(cpu.inside), 0)


@native
def complete(cpu: ptr[Cpu]) -> None:
    """Retire the four-byte instruction at cpu.pc, done from outside (an environment call)."""
    cpu.pc = cpu.pc + 4
    cpu.budget = cpu.budget - 1
