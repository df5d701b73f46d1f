"""What a compiled region meets on the shadow (check.py): memory, polls, and the handlers that end its run.

Loads and stores find what they would find on the hart, by its own TLB, but in copies of the pages: nobody else sees what is stored, and
nothing has to be undone. What the hart would leave to the interpreter the shadow leaves too, and notes why.
"""

from __future__ import annotations

from gasang.cpus.record import Record
from gasang.cpus.riscv64.block import Block
from gasang.cpus.riscv64.check_state import MOST_COPIES, Check, CheckedRegion
from gasang.cpus.riscv64.execute import pc_of
from gasang.cpus.riscv64.mmu import CODE_PAGE, LOAD, STORE, fill_tlb, tlb_index
from gasang.cpus.riscv64.regions import QUANTUM
from gasang.cpus.riscv64.reservation import contended
from gasang.cpus.riscv64.state import NO_TAG, OFFSET_MASK, PAGE_MASK, PAGE_SIZE, Cpu
from gasang.cpus.riscv64.windows import load_sized, open_window, store_sized
from gasang.native import NativeFunction, attempt, boolean, cast, copy, load_unaligned, native, ptr, ref, u8, u32, u64

ELSEWHERE, FAR, POLL, ON_LOAD, ON_STORE, ON_ATOMIC, ON_FLOAT, ON_SYSTEM, PASSED = range(9)
"""Why a run of a region ended: code outside it; code on a page not among its own; the budget; before a load, store, atomic,
floating-point or system instruction that the interpreter must see to; it could not begin."""
AMO, OP_FP, SYSTEM, FENCE, LR, SC = 0x2F, 0x53, 0x73, 0x0F, 2, 3


@native(convention="preserve_none", inline=False)
def caught(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    """Where the shadow's run ends: at a record."""
    check = cast(ptr[Check], cpu.check)
    cpu.pc = pc_of(cpu, record)
    check.left = budget


@native(convention="preserve_none", inline=False)
def caught_far(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    """Where the shadow's run ends: at cpu.pc, of a page that it does not know."""
    check = cast(ptr[Check], cpu.check)
    check.left = budget
    check.missed = 1


@native(inline=False)
def met(check: ptr[Check], address: u64, host: u64, stores: boolean) -> u64:
    """Where the shadow finds `address`, which is at `host`: in a copy of the page, made when it is met first; 0 if there are too many."""
    index: u64 = 0
    while index < check.copies and check.copy[index].host != host & PAGE_MASK:
        index += 1
    if index == MOST_COPIES:
        return 0
    place = ref(check.copy[index])
    if index == check.copies:
        check.copies = index + 1
        place.host = host & PAGE_MASK
        place.page = address & PAGE_MASK
        place.stored = 0
        copy(cast(ptr[u8], place.content), cast(ptr[u8], place.host), PAGE_SIZE)
    if stores and place.stored == 0:
        place.stored = 1
        copy(cast(ptr[u8], place.before), cast(ptr[u8], place.host), PAGE_SIZE)
    entry = ref(check.shadow.tlb[tlb_index(address)])
    entry.read_tag = (address & PAGE_MASK) | check.shadow.context
    entry.write_tag = entry.read_tag if place.stored != 0 else u64(NO_TAG)
    entry.addend = place.content + (address & OFFSET_MASK) - address
    return address + entry.addend


@native(may_fault=True)
def fill(cpu: ptr[Cpu], address: u64, access: u64) -> None:
    """`fill_tlb` as `attempt` takes it."""
    cpu.refilled = fill_tlb(cpu, address, access)


@native(inline=False)
def host_of(cpu: ptr[Cpu], address: u64, access: u64) -> u64:
    """The host address of a load or store as a region on the hart itself finds it; 0 where it leaves it to the interpreter."""
    known = ref(cpu.tlb[tlb_index(address)])
    tag = known.write_tag if access == STORE else known.read_tag
    if tag == (address & PAGE_MASK) | cpu.context:
        return address + known.addend
    return cpu.refilled if attempt(fill, cpu, address, access) else u64(0)


@native(convention="preserve_most", inline=False)
def shadow_load(shadow: ptr[Cpu], address: u64, size: u64) -> u64:
    """Where the shadow finds what a region loads."""
    check = cast(ptr[Check], shadow.check)
    check.refused = ON_LOAD
    if (address & OFFSET_MASK) + size > PAGE_SIZE:
        return 0
    host = host_of(check.cpu, address, LOAD)
    found = met(check, address, host, False) if host != 0 else u64(0)
    if found != 0:
        check.refused = 0
    return found


@native(convention="preserve_most", inline=False)
def shadow_store(shadow: ptr[Cpu], address: u64, size: u64) -> u64:
    """Where the shadow finds what a region stores to."""
    check = cast(ptr[Check], shadow.check)
    cpu = check.cpu
    check.refused = ON_STORE
    if (address & OFFSET_MASK) + size > PAGE_SIZE:
        return 0
    host = host_of(cpu, address, STORE)
    if host == 0 or cpu.shared.page_flags[(host - cpu.shared.ram) >> 12] & CODE_PAGE != 0 or contended(cpu, host) != 0:
        return 0
    found = met(check, address, host, True)
    if found != 0:
        check.refused = 0
    return found


@native
def open_copy(shadow: ptr[Cpu], address: u64, number: u64) -> None:
    """Put a window over the copy of a page that the shadow's TLB knows; one for stores only where they are known to go."""
    entry = ref(shadow.tlb[tlb_index(address)])
    if number & 1 != 0 and entry.write_tag == NO_TAG:
        return
    extent = ref(shadow.extents[0])
    extent.first = address & PAGE_MASK
    extent.size = PAGE_SIZE
    extent.addend = entry.addend
    open_window(shadow, extent, number, address)


@native(convention="preserve_most", inline=False)
def shadow_load_beyond(shadow: ptr[Cpu], address: u64, size: u64, number: u64) -> u64:
    """`load_beyond` on the shadow: its windows are pages."""
    host = shadow_load(shadow, address, size)
    shadow.refilled = host
    if host == 0:
        return 0
    open_copy(shadow, address, number)
    return load_sized(host, size)


@native(convention="preserve_most", inline=False)
def shadow_store_beyond(shadow: ptr[Cpu], address: u64, size: u64, number: u64, value: u64) -> u64:
    """`store_beyond` on the shadow."""
    host = shadow_store(shadow, address, size)
    if host == 0:
        return 0
    open_copy(shadow, address, number)
    store_sized(host, size, value)
    return 1


@native(convention="preserve_most", inline=False)
def shadow_place(shadow: ptr[Cpu], address: u64, size: u64, access: u64) -> u64:
    """`place_of` on the shadow."""
    return shadow_store(shadow, address, size) if access == STORE else shadow_load(shadow, address, size)


@native(convention="preserve_most", inline=False)
def shadow_poll(shadow: ptr[Cpu], budget: u64, unused: u64) -> u64:
    """`poll_region` on the shadow: one quantum more is granted, if the hart's caller allows as much."""
    check = cast(ptr[Check], shadow.check)
    check.executed = check.executed + (shadow.quantum - budget)
    shadow.quantum = budget
    if check.polls != 0 or shadow.remaining + budget < 2 * QUANTUM:
        check.refused = POLL
        return 0
    check.polls = 1
    shadow.remaining = shadow.remaining + budget - QUANTUM
    shadow.quantum = QUANTUM
    return QUANTUM


@native(convention="preserve_most", inline=False)
def shadow_page(shadow: ptr[Cpu], start: u64, unused: u64) -> u64:
    """`find_page` on the shadow, which knows what the hart knew when it was attached."""
    return 0


@native
def word_at(check: ptr[Check], region: ptr[CheckedRegion], origin: u64, pc: u64) -> u64:
    """The instruction at a pc of the region's pages, 0 for another pc or a compressed one."""
    for index in range(region.pages):
        start = origin + region.deltas[index] * PAGE_SIZE
        if pc & PAGE_MASK == start and pc & OFFSET_MASK <= PAGE_SIZE - 4:
            block = cast(ptr[Block], check.true_blocks[index])
            return u64(load_unaligned(cast(ptr[u32], block.host + (pc & OFFSET_MASK))))
    return 0


@native
def wants_atomic(check: ptr[Check], word: u64) -> boolean:
    """Whether the run ended before an AMO whose page the shadow may store to after all, and now knows."""
    if check.refused != 0 or check.missed != 0 or word & 0x7F != AMO or (word >> 27) == LR or (word >> 27) == SC:
        return False
    address = check.shadow.x[(word >> 15) & 31]
    entry = ref(check.shadow.tlb[tlb_index(address)])
    if entry.write_tag == (address & PAGE_MASK) | check.shadow.context or address & 3 != 0:
        return False
    known = shadow_store(check.shadow, address, 4) != 0
    check.refused = 0
    return known


@native
def reason_of(check: ptr[Check], word: u64) -> u64:
    """Why the run ended."""
    opcode = word & 0x7F
    if check.executed == 0 and check.refused == 0:
        return PASSED
    if check.refused != 0:
        return check.refused
    if check.missed != 0:
        return FAR
    if opcode == AMO:
        return ON_ATOMIC
    if opcode == SYSTEM or opcode == FENCE:  # noqa: SIM109 - native code has no tuples
        return ON_SYSTEM
    if opcode & 0x73 == 0x43 or opcode == OP_FP:
        return ON_FLOAT
    return ELSEWHERE


CHECKED_HELPERS: dict[str, NativeFunction] = {
    "load_beyond": shadow_load_beyond, "store_beyond": shadow_store_beyond, "poll_region": shadow_poll, "poll_brief": shadow_poll,
    "miss": caught_far, "find_page": shadow_page, "place_of": shadow_place,
}  # fmt: skip
"""By name what takes the place of what regions call."""
