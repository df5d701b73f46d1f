"""Address translation: page walk (privileged specification, 12.3 to 12.6: Sv39, Sv48, Sv57) and the soft TLB's slow path.

A translation context is a number handed out for each satp value met; it is part of every TLB tag, so that a switch of address spaces and
a full flush are both "take another number". Only when the numbers run out are the tags wiped. What compiled regions keep of translations
(windows.py) ends with every flush and every entry that is taken back.
"""

from __future__ import annotations

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.check_state import note_mark, note_store
from gasang.cpus.riscv64.state import (
    CODE_TLB_ENTRIES,
    EXTENT_SHIFT,
    EXTENTS,
    LIMITS,
    LONGEST,
    NO_TAG,
    OFFSET_MASK,
    PAGE_MASK,
    SUPERVISOR,
    TLB_ENTRIES,
    USER,
    Cpu,
    Window,
)
from gasang.cpus.riscv64.trap import (
    INSTRUCTION_ACCESS_FAULT,
    INSTRUCTION_PAGE_FAULT,
    LOAD_ACCESS_FAULT,
    LOAD_PAGE_FAULT,
    SSTATUS_MXR,
    SSTATUS_SUM,
    STORE_ACCESS_FAULT,
    STORE_PAGE_FAULT,
    raise_exception,
)
from gasang.native import Fault, cast, compare_exchange, i64, native, ptr, ref, u64, unlikely

LOAD, STORE, FETCH = 0, 1, 2

PTE_V, PTE_R, PTE_W, PTE_X, PTE_U, PTE_G, PTE_A, PTE_D = (1 << bit for bit in range(8))
PTE_RESERVED = 0xFFC0000000000000
"""Bits 54 to 63: Svnapot and Svpbmt are not offered, so all are reserved."""

SATP_BARE, SATP_SV39, SATP_SV48, SATP_SV57 = 0, 8, 9, 10
SATP_PPN = (1 << 44) - 1
SATP_ASID = 0xFFFF << 44

CONTEXT_SLOTS = 128
SUM_LOG = 16

CODE_PAGE = 1
"""Shared.page_flags: some hart holds decoded records of the page."""


@native(inline=True)
def in_ram(cpu: ptr[Cpu], physical: u64) -> u64:
    """The host address of a guest-physical address in RAM, 0 if it is not RAM."""
    offset = physical - cpu.shared.ram_base
    return cpu.shared.ram + offset if offset < cpu.shared.ram_size else u64(0)


@native(inline=True)
def page_fault(cpu: ptr[Cpu], address: u64, access: u64) -> None:
    """Note a page fault."""
    cause: u64 = INSTRUCTION_PAGE_FAULT if access == FETCH else (STORE_PAGE_FAULT if access == STORE else u64(LOAD_PAGE_FAULT))
    raise_exception(cpu, cause, address)


@native(inline=True)
def access_fault(cpu: ptr[Cpu], address: u64, access: u64) -> None:
    """Note an access fault."""
    cause: u64 = INSTRUCTION_ACCESS_FAULT if access == FETCH else (STORE_ACCESS_FAULT if access == STORE else u64(LOAD_ACCESS_FAULT))
    raise_exception(cpu, cause, address)


@native
def leaf_allows(cpu: ptr[Cpu], pte: u64, access: u64) -> u64:
    """Whether a leaf PTE permits the access (12.3.2 step 5 to 7): 0 or 1."""
    if pte & PTE_U != 0:
        if cpu.privilege == SUPERVISOR and (access == FETCH or cpu.status & SSTATUS_SUM == 0):
            return 0
    elif cpu.privilege == USER:
        return 0
    if access == FETCH:
        return (pte >> 3) & 1
    if access == STORE:
        return (pte >> 2) & 1
    readable = (pte >> 1) & 1
    if cpu.status & SSTATUS_MXR != 0:
        readable |= (pte >> 3) & 1
    return readable


@native(may_fault=True, inline=False)
def walk(cpu: ptr[Cpu], address: u64, access: u64) -> u64:
    """The physical page of `address` in the upper bits; bit 0 says "user page", bit 1 "writable now", bit 2 "superpage".

    Accessed and dirty bits are set as Svadu has it, atomically.
    """
    mode = cpu.satp >> 60
    levels = mode - 5  # Sv39: 3, Sv48: 4, Sv57: 5
    unused: u64 = 64 - (12 + 9 * levels)
    if u64((i64(address) << i64(unused)) >> i64(unused)) != address:
        page_fault(cpu, address, access)
        raise Fault
    table = (cpu.satp & SATP_PPN) << 12
    level: u64 = levels
    while level > 0:
        level -= 1
        slot = in_ram(cpu, table + ((address >> (12 + 9 * level)) & 511) * 8)
        if slot == 0:
            access_fault(cpu, address, access)
            raise Fault
        entry = cast(ptr[u64], slot)
        pte = entry[0]
        again = True
        while again:
            again = False
            if pte & PTE_V == 0 or pte & (PTE_R | PTE_W) == PTE_W or pte & PTE_RESERVED != 0:
                page_fault(cpu, address, access)
                raise Fault
            if pte & (PTE_R | PTE_X) == 0:
                if pte & (PTE_U | PTE_A | PTE_D) != 0 or level == 0:
                    page_fault(cpu, address, access)
                    raise Fault
                table = ((pte >> 10) & SATP_PPN) << 12
            else:
                below: u64 = (1 << (9 * level)) - 1
                if leaf_allows(cpu, pte, access) == 0 or ((pte >> 10) & below) != 0:
                    page_fault(cpu, address, access)
                    raise Fault
                wanted: u64 = pte | PTE_A
                if access == STORE:
                    wanted |= PTE_D
                if wanted != pte:
                    seen = compare_exchange(entry, pte, wanted)
                    if seen != pte:
                        pte = seen
                        again = True
                    elif unlikely(cpu.check != 0):
                        note_mark(cpu, slot, wanted)
                if not again:
                    page = ((pte >> 10) & SATP_PPN) + ((address >> 12) & below)
                    marks: u64 = 1 if pte & PTE_U != 0 else u64(0)
                    if wanted & PTE_D != 0 and leaf_allows(cpu, pte, STORE) != 0:
                        marks |= 2
                    if level > 0:
                        marks |= 4
                    return (page << 12) | marks
    page_fault(cpu, address, access)
    raise Fault


@native(may_fault=True)
def translate(cpu: ptr[Cpu], address: u64, access: u64) -> u64:
    """As `walk`, also with paging off."""
    if cpu.satp >> 60 == SATP_BARE:
        return (address & PAGE_MASK) | 2
    return walk(cpu, address, access)


@native(inline=True)
def tlb_index(address: u64) -> u64:
    """The soft TLB's entry for an address."""
    return (address >> 12) & (TLB_ENTRIES - 1)


@native(may_fault=True, inline=False)
def fill_tlb(cpu: ptr[Cpu], address: u64, access: u64) -> u64:
    """Translate and remember; the host address of the byte, or 0 with cpu.tval = physical address where it is no RAM."""
    found = translate(cpu, address, access)
    physical = (found & PAGE_MASK) | (address & OFFSET_MASK)
    host = in_ram(cpu, physical)
    if host == 0:
        cpu.tval = physical
        return 0
    index = tlb_index(address)
    entry = ref(cpu.tlb[index])
    tag = (address & PAGE_MASK) | cpu.context
    entry.addend = host - address
    # A store that found its page writable says nothing of reading only for write-only pages, which do not exist.
    entry.read_tag = tag
    page = (physical - cpu.shared.ram_base) >> 12
    writable = found & 2 != 0 and cpu.shared.page_flags[page] & CODE_PAGE == 0
    if unlikely(cpu.check != 0):
        if access == STORE:
            note_store(cpu, index, host)
        writable = writable and access == STORE
    entry.write_tag = tag if writable else u64(NO_TAG)
    entry.wide = 1 if found & 4 != 0 or cpu.satp >> 60 == SATP_BARE else u64(0)
    if found & 4 != 0:
        half = address >> 63
        cpu.superpages[half] = cpu.superpages[half] | (u64(1) << ((address >> 30) & 63))
    if found & 1 != 0 and cpu.privilege == SUPERVISOR:
        if cpu.sum_count < SUM_LOG:
            cpu.sum_log[cpu.sum_count] = index
        cpu.sum_count = cpu.sum_count + 1
    return host


@native(inline=True)
def forget_windows(cpu: ptr[Cpu]) -> None:
    """Have every window and extent closed before it is used again."""
    cpu.windows[USER].context = NO_TAG
    cpu.windows[SUPERVISOR].context = NO_TAG


@native(inline=True)
def close_window(window: ptr[Window]) -> None:
    """Have nothing in a window."""
    for index in range(u64(LIMITS)):
        window.limits[index] = 0


@native
def close_windows_of(cpu: ptr[Cpu], address: u64) -> None:
    """Forget what windows and extents know of one page."""
    page = address & PAGE_MASK
    chunk = (address >> EXTENT_SHIFT) & (EXTENTS - 1)
    cpu.extents[chunk].tag = NO_TAG
    cpu.extents[EXTENTS + chunk].tag = NO_TAG
    for privilege in range(u64(2)):
        windows = ref(cpu.windows[privilege])
        position: u64 = 0
        while position < windows.count:
            window = ref(windows.window[windows.opened[position]])
            if page - (window.first & PAGE_MASK) < window.limits[LIMITS - 1] + LONGEST:
                close_window(window)
                windows.count = windows.count - 1
                windows.opened[position] = windows.opened[windows.count]
            else:
                position += 1


@native(inline=True)
def forget_superpages(cpu: ptr[Cpu]) -> None:
    """No entry is of a superpage any more."""
    cpu.superpages[0] = 0
    cpu.superpages[1] = 0


@native(inline=False)
def wipe_tlb(cpu: ptr[Cpu]) -> None:
    """Forget every translation and every context number."""
    forget_windows(cpu)
    for index in range(u64(TLB_ENTRIES)):
        cpu.tlb[index].read_tag = NO_TAG
        cpu.tlb[index].write_tag = NO_TAG
    for index in range(u64(CODE_TLB_ENTRIES)):
        cpu.code_tlb[index].tag = NO_TAG
    for slot in range(u64(CONTEXT_SLOTS)):
        cpu.slot_satp[slot] = NO_TAG
    cpu.tlb_slots = 0
    forget_superpages(cpu)
    cpu.sum_count = 0


@native(inline=False)
def enter_context(cpu: ptr[Cpu]) -> None:
    """Make `context` that of the present satp and privilege, taking a new number if this satp has none."""
    found: u64 = CONTEXT_SLOTS
    for slot in range(cpu.tlb_slots):
        if cpu.slot_satp[slot] == cpu.satp:
            found = slot
            break
    if found == CONTEXT_SLOTS:
        if cpu.tlb_slots == CONTEXT_SLOTS:
            wipe_tlb(cpu)
        found = cpu.tlb_slots
        cpu.slot_satp[found] = cpu.satp
        cpu.tlb_slots = found + 1
    cpu.context = (found << 5) | (cpu.privilege << 4)


@native
def flush_all(cpu: ptr[Cpu]) -> None:
    """Forget all translations (sfence.vma x0, x0): their contexts' numbers are never met again."""
    forget_windows(cpu)
    for slot in range(cpu.tlb_slots):
        cpu.slot_satp[slot] = NO_TAG
    forget_superpages(cpu)
    enter_context(cpu)


@native
def flush_asid(cpu: ptr[Cpu], asid: u64) -> None:
    """Forget the translations of one address space (global ones may go too)."""
    forget_windows(cpu)
    for slot in range(cpu.tlb_slots):
        if ((cpu.slot_satp[slot] & SATP_ASID) >> 44) == asid:
            cpu.slot_satp[slot] = NO_TAG
    enter_context(cpu)


@native
def flush_page(cpu: ptr[Cpu], address: u64) -> None:
    """Forget the translations of one page in every address space. A superpage near it makes this a full flush.

    Kernels flush a page at each fault of a program, and have superpages themselves: the two halves of an address space are told apart.
    """
    if cpu.superpages[address >> 63] & (u64(1) << ((address >> 30) & 63)) != 0:
        flush_all(cpu)
        return
    close_windows_of(cpu, address)
    entry = ref(cpu.tlb[tlb_index(address)])
    entry.read_tag = NO_TAG
    entry.write_tag = NO_TAG
    cpu.code_tlb[(address >> 12) & (CODE_TLB_ENTRIES - 1)].tag = NO_TAG


@native
def leave_sum(cpu: ptr[Cpu]) -> None:
    """sstatus.SUM was cleared: S-mode may no longer use what it entered of U pages."""
    forget_windows(cpu)
    if cpu.sum_count > SUM_LOG:
        flush_all(cpu)
    else:
        for position in range(cpu.sum_count):
            entry = ref(cpu.tlb[cpu.sum_log[position]])
            entry.read_tag = NO_TAG
            entry.write_tag = NO_TAG
    cpu.sum_count = 0


@native
def drop_write_entries(cpu: ptr[Cpu], host_page: u64) -> None:
    """A RAM page became code: stores to it must be noticed. `host_page` 0 drops every write translation."""
    forget_windows(cpu)
    for index in range(u64(TLB_ENTRIES)):
        entry = ref(cpu.tlb[index])
        if entry.write_tag != NO_TAG and (host_page == 0 or (entry.write_tag & PAGE_MASK) + entry.addend == host_page):
            entry.write_tag = NO_TAG


@native(inline=False)
def ask_mmio(cpu: ptr[Cpu], physical: u64, size: u64, value: u64, store: u64) -> None:
    """Leave the run loop for a device access; the instruction is executed again when it is done."""
    cpu.mmio_address = physical
    cpu.mmio_size = size
    cpu.mmio_value = value
    cpu.mmio_state = exits.MMIO_ASKED
    cpu.exit = exits.MMIO_WRITE if store != 0 else u64(exits.MMIO_READ)
