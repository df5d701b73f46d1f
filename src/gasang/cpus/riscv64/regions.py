"""What compiled regions need at run time: their own loads and stores, and the few functions that they call.

A region keeps the hart's registers in the host's. A load or store looks into the soft TLB in place; a miss calls a function that fills it,
and leaves everything where it is. Whatever that cannot do (a device, a fault, a page of code, a reservation watched, two pages at once)
is a Fault without a cause: the region is left before the instruction, and the interpreter executes it.
"""

from __future__ import annotations

from typing import Any

from gasang.cpus.riscv64.block import RECORDS, Block
from gasang.cpus.riscv64.clock import update_timer
from gasang.cpus.riscv64.code import block_at
from gasang.cpus.riscv64.execute import fill_record, miss
from gasang.cpus.riscv64.memory import (
    amo_pointer_u32,
    amo_pointer_u64,
    load_u8,
    load_u16,
    load_u32,
    load_u64,
    store_u8,
    store_u16,
    store_u32,
    store_u64,
    try_amo_pointer_u32,
    try_amo_pointer_u64,
)
from gasang.cpus.riscv64.mmu import CODE_PAGE, LOAD, STORE, fill_tlb, tlb_index
from gasang.cpus.riscv64.reservation import contended
from gasang.cpus.riscv64.state import CODE_TLB_ENTRIES, NO_TAG, OFFSET_MASK, PAGE_MASK, PAGE_SIZE, Cpu
from gasang.cpus.riscv64.trap import deliverable
from gasang.native import (
    Fault,
    NativeFunction,
    atomic_load,
    attempt,
    cast,
    function_type,
    i64,
    load_unaligned,
    native,
    ptr,
    ref,
    store_unaligned,
    u8,
    u16,
    u32,
    u64,
    unlikely,
)

QUANTUM = 4096
"""Instructions between polls inside a region: they take no longer than the interpreter's quantum."""

Refill = function_type([ptr[Cpu], u64, u64], u64, "preserve_most")


@native(may_fault=True)
def fill(cpu: ptr[Cpu], address: u64, access: u64) -> None:
    """`fill_tlb` as `attempt` takes it."""
    cpu.refilled = fill_tlb(cpu, address, access)


@native(convention="preserve_most", inline=False)
def refill_load(cpu: ptr[Cpu], address: u64, size: u64) -> u64:
    """The host address of `size` bytes of RAM to be loaded, 0 where the interpreter must see to it."""
    if (address & OFFSET_MASK) + size > PAGE_SIZE or not attempt(fill, cpu, address, LOAD):
        return 0
    return cpu.refilled


@native(convention="preserve_most", inline=False)
def refill_store(cpu: ptr[Cpu], address: u64, size: u64) -> u64:
    """The host address of `size` bytes of RAM to be stored to, 0 where the interpreter must see to it."""
    if (address & OFFSET_MASK) + size > PAGE_SIZE or not attempt(fill, cpu, address, STORE):
        return 0
    host = cpu.refilled
    if host == 0 or cpu.shared.page_flags[(host - cpu.shared.ram) >> 12] & CODE_PAGE != 0 or contended(cpu, host) != 0:
        return 0
    return host


@native(convention="preserve_most", inline=False)
def poll_region(cpu: ptr[Cpu], budget: u64, unused: u64) -> u64:
    """A poll before the budget is used up: the new budget, or 0 where there is something to do that takes the interpreter's poll.

    Near the caller's limit it is always 0: the last instructions allowed are interpreted, so that execution ends exactly there.
    """
    rest = cpu.remaining + budget
    if atomic_load(ref(cpu.requests)) != 0 or rest < 2 * QUANTUM:
        return 0
    update_timer(cpu)
    if deliverable(cpu, atomic_load(ref(cpu.sip))) != 0:
        return 0
    cpu.compiled = cpu.compiled + (cpu.quantum - budget)
    cpu.retired = cpu.retired + i64(cpu.quantum - budget)
    cpu.remaining = rest - QUANTUM
    cpu.quantum = QUANTUM
    return QUANTUM


@native(may_fault=True, inline=True)
def loaded_place(cpu: ptr[Cpu], address: u64, size: u64) -> u64:
    """The host address of a value to load."""
    entry = ref(cpu.tlb[tlb_index(address)])
    host = address + entry.addend
    if unlikely(entry.read_tag != (address & (PAGE_MASK | (size - 1))) | cpu.context):
        refill = cast(Refill, cpu.helpers[REFILL_LOAD])
        host = refill(cpu, address, size)
        if host == 0:
            raise Fault
    return host


@native(may_fault=True, inline=True)
def stored_place(cpu: ptr[Cpu], address: u64, size: u64) -> u64:
    """The host address of a value to be stored."""
    entry = ref(cpu.tlb[tlb_index(address)])
    host = address + entry.addend
    if unlikely(entry.write_tag != (address & (PAGE_MASK | (size - 1))) | cpu.context):
        refill = cast(Refill, cpu.helpers[REFILL_STORE])
        host = refill(cpu, address, size)
        if host == 0:
            raise Fault
    elif unlikely(contended(cpu, host) != 0):
        raise Fault
    return host


@native(may_fault=True, inline=True)
def region_load_u8(cpu: ptr[Cpu], address: u64) -> u8:
    """The byte at `address`."""
    return load_unaligned(cast(ptr[u8], loaded_place(cpu, address, 1)))


@native(may_fault=True, inline=True)
def region_load_u16(cpu: ptr[Cpu], address: u64) -> u16:
    """The 16-bit value at `address`."""
    return load_unaligned(cast(ptr[u16], loaded_place(cpu, address, 2)))


@native(may_fault=True, inline=True)
def region_load_u32(cpu: ptr[Cpu], address: u64) -> u32:
    """The 32-bit value at `address`."""
    return load_unaligned(cast(ptr[u32], loaded_place(cpu, address, 4)))


@native(may_fault=True, inline=True)
def region_load_u64(cpu: ptr[Cpu], address: u64) -> u64:
    """The 64-bit value at `address`."""
    return load_unaligned(cast(ptr[u64], loaded_place(cpu, address, 8)))


@native(may_fault=True, inline=True)
def region_store_u8(cpu: ptr[Cpu], address: u64, value: u8) -> None:
    """Store a byte at `address`."""
    store_unaligned(cast(ptr[u8], stored_place(cpu, address, 1)), value)


@native(may_fault=True, inline=True)
def region_store_u16(cpu: ptr[Cpu], address: u64, value: u16) -> None:
    """Store a 16-bit value at `address`."""
    store_unaligned(cast(ptr[u16], stored_place(cpu, address, 2)), value)


@native(may_fault=True, inline=True)
def region_store_u32(cpu: ptr[Cpu], address: u64, value: u32) -> None:
    """Store a 32-bit value at `address`."""
    store_unaligned(cast(ptr[u32], stored_place(cpu, address, 4)), value)


@native(may_fault=True, inline=True)
def region_store_u64(cpu: ptr[Cpu], address: u64, value: u64) -> None:
    """Store a 64-bit value at `address`."""
    store_unaligned(cast(ptr[u64], stored_place(cpu, address, 8)), value)


SUBSTITUTES: dict[Any, NativeFunction] = {
    load_u8: region_load_u8, load_u16: region_load_u16, load_u32: region_load_u32, load_u64: region_load_u64,
    store_u8: region_store_u8, store_u16: region_store_u16, store_u32: region_store_u32, store_u64: region_store_u64,
    amo_pointer_u32: try_amo_pointer_u32, amo_pointer_u64: try_amo_pointer_u64,
}  # fmt: skip
"""What takes the place of an access in a region."""

HELPERS: list[NativeFunction] = [refill_load, refill_store, poll_region, miss]
"""What regions call, by the indices that follow."""
REFILL_LOAD, REFILL_STORE, POLL_REGION, MISS = range(4)


@native
def code_place(cpu: ptr[Cpu], address: u64) -> u64:
    """The number of the block that holds the decoded records of a virtual page, plus 1; 0 if the code TLB knows none."""
    entry = ref(cpu.code_tlb[(address >> 12) & (CODE_TLB_ENTRIES - 1)])
    if entry.tag == NO_TAG or entry.tag != (address & PAGE_MASK) | cpu.context:
        return 0
    return u64(cpu.code_map[cast(ptr[Block], entry.base).page])


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
def begin_region(cpu: ptr[Cpu], number: u64, index: u64, handler: u64) -> u64:
    """Have a region take the place of a record, which is decoded for it if it was not; 0 if it has already, else 1."""
    block = block_at(cpu, number - 1)
    record = ref(block.records[index])
    if record.handler == handler:
        return 0
    if record.handler == cpu.dispatch[0]:  # a region's instructions lie on the page as a whole
        place = block.host + index * 2
        word = u32(cast(ptr[u16], place)[0])
        if word & 3 == 3:
            word = load_unaligned(cast(ptr[u32], place))
        fill_record(cpu, record, index, word)
    record.handler = handler
    return 1
