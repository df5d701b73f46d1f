"""A hart's loads and stores. Each faults by itself; a fault leaves the machine as before the instruction.

The fast path is one look into the soft TLB: the tag compares page, context and alignment at once. Everything else (a miss, a
misaligned access,
a device, a page of code, a watched reservation) goes the slow way.
"""

from __future__ import annotations

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.code import stored_to_code
from gasang.cpus.riscv64.line import line_status, line_takes
from gasang.cpus.riscv64.mmu import CODE_PAGE, LOAD, STORE, access_fault, ask_mmio, fill_tlb, in_ram, tlb_index, translate
from gasang.cpus.riscv64.reservation import begin_store, conditional_u32, conditional_u64, contended, end_store, reserve
from gasang.cpus.riscv64.state import OFFSET_MASK, PAGE_MASK, PAGE_SIZE, USER, Cpu
from gasang.cpus.riscv64.trap import (
    ILLEGAL_INSTRUCTION,
    LOAD_ACCESS_FAULT,
    LOAD_MISALIGNED,
    STORE_ACCESS_FAULT,
    STORE_MISALIGNED,
    raise_exception,
)
from gasang.native import (
    Fault,
    attempt,
    cast,
    copy,
    fill,
    likely,
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

CACHE_BLOCK = 64
SENVCFG_CBIE = 3 << 4
SENVCFG_CBCFE = 1 << 6
SENVCFG_CBZE = 1 << 7


@native(may_fault=True, inline=False)
def load_slow(cpu: ptr[Cpu], address: u64, size: u64) -> u64:
    """The host address of a value to load: in RAM, or gathered in the hart's bounce or MMIO buffer."""
    if (address & OFFSET_MASK) + size > PAGE_SIZE:
        return load_across(cpu, address, size)
    host = fill_tlb(cpu, address, LOAD)
    if host != 0:
        return host
    physical = cpu.tval
    state = cpu.mmio_state
    cpu.mmio_state = exits.MMIO_IDLE
    if state == exits.MMIO_DONE and cpu.mmio_address == physical:
        return u64(ref(cpu.mmio_value))
    if address & (size - 1) != 0 or (state == exits.MMIO_FAULT and cpu.mmio_address == physical):
        raise_exception(cpu, LOAD_ACCESS_FAULT, address)
        raise Fault
    status = line_status(cpu, physical, size)
    if status != 0:
        cpu.mmio_value = status
        return u64(ref(cpu.mmio_value))
    ask_mmio(cpu, physical, size, 0, 0)
    raise Fault


@native(may_fault=True, inline=False)
def load_across(cpu: ptr[Cpu], address: u64, size: u64) -> u64:
    """A misaligned value on two pages, gathered. Devices do not answer such."""
    buffer = cast(ptr[u8], u64(ref(cpu.bounce)))
    first = PAGE_SIZE - (address & OFFSET_MASK)
    second = (address & PAGE_MASK) + PAGE_SIZE
    low = fill_tlb(cpu, address, LOAD)
    if low == 0:
        raise_exception(cpu, LOAD_ACCESS_FAULT, address)
        raise Fault
    high = fill_tlb(cpu, second, LOAD)
    if high == 0:
        raise_exception(cpu, LOAD_ACCESS_FAULT, second)
        raise Fault
    copy(buffer, cast(ptr[u8], low), first)
    copy(buffer + first, cast(ptr[u8], high), size - first)
    return u64(buffer)


@native(may_fault=True, inline=False)
def store_slow(cpu: ptr[Cpu], address: u64, value: u64, size: u64) -> None:
    """Store the low `size` bytes of `value`."""
    if (address & OFFSET_MASK) + size > PAGE_SIZE:
        store_across(cpu, address, value, size)
        return
    host = fill_tlb(cpu, address, STORE)
    if host != 0:
        store_bytes(cpu, host, value, size)
        return
    physical = cpu.tval
    state = cpu.mmio_state
    cpu.mmio_state = exits.MMIO_IDLE
    if state == exits.MMIO_DONE and cpu.mmio_address == physical:
        return
    if address & (size - 1) != 0 or (state == exits.MMIO_FAULT and cpu.mmio_address == physical):
        raise_exception(cpu, STORE_ACCESS_FAULT, address)
        raise Fault
    if line_takes(cpu, physical, value, size):
        return
    ask_mmio(cpu, physical, size, value, 1)
    raise Fault


@native(may_fault=True, inline=False)
def store_across(cpu: ptr[Cpu], address: u64, value: u64, size: u64) -> None:
    """A misaligned store to two pages: both are translated before either is written."""
    first = PAGE_SIZE - (address & OFFSET_MASK)
    second = (address & PAGE_MASK) + PAGE_SIZE
    low = fill_tlb(cpu, address, STORE)
    if low == 0:
        raise_exception(cpu, STORE_ACCESS_FAULT, address)
        raise Fault
    high = fill_tlb(cpu, second, STORE)
    if high == 0:
        raise_exception(cpu, STORE_ACCESS_FAULT, second)
        raise Fault
    for index in range(size):
        place = low + index if index < first else high + (index - first)
        store_bytes(cpu, place, value >> (8 * index), 1)


@native(inline=False)
def store_bytes(cpu: ptr[Cpu], host: u64, value: u64, size: u64) -> None:
    """Store to RAM the careful way: reservations end and decoded code is forgotten."""
    watched = contended(cpu, host)
    if watched != 0:
        begin_store(cpu, host)
    if size == 8:
        store_unaligned(cast(ptr[u64], host), value)
    elif size == 4:
        store_unaligned(cast(ptr[u32], host), u32(value))
    elif size == 2:
        store_unaligned(cast(ptr[u16], host), u16(value))
    else:
        store_unaligned(cast(ptr[u8], host), u8(value))
    if watched != 0:
        end_store(cpu)
    wrote(cpu, host, size)


@native(inline=True)
def wrote(cpu: ptr[Cpu], host: u64, size: u64) -> None:
    """After a store to RAM by the slow way."""
    offset = host - cpu.shared.ram
    if unlikely(cpu.shared.page_flags[offset >> 12] & CODE_PAGE != 0):
        stored_to_code(cpu, offset >> 12, offset & OFFSET_MASK, size)


@native(may_fault=True, inline=True)
def load_u8(cpu: ptr[Cpu], address: u64) -> u8:
    """The byte at `address`."""
    entry = ref(cpu.tlb[tlb_index(address)])
    if likely(entry.read_tag == (address & PAGE_MASK) | cpu.context):
        return cast(ptr[u8], address + entry.addend)[0]
    return load_unaligned(cast(ptr[u8], load_slow(cpu, address, 1)))


@native(may_fault=True, inline=True)
def load_u16(cpu: ptr[Cpu], address: u64) -> u16:
    """The 16-bit value at `address`."""
    entry = ref(cpu.tlb[tlb_index(address)])
    if likely(entry.read_tag == (address & (PAGE_MASK | 1)) | cpu.context):
        return cast(ptr[u16], address + entry.addend)[0]
    return load_unaligned(cast(ptr[u16], load_slow(cpu, address, 2)))


@native(may_fault=True, inline=True)
def load_u32(cpu: ptr[Cpu], address: u64) -> u32:
    """The 32-bit value at `address`."""
    entry = ref(cpu.tlb[tlb_index(address)])
    if likely(entry.read_tag == (address & (PAGE_MASK | 3)) | cpu.context):
        return cast(ptr[u32], address + entry.addend)[0]
    return load_unaligned(cast(ptr[u32], load_slow(cpu, address, 4)))


@native(may_fault=True, inline=True)
def load_u64(cpu: ptr[Cpu], address: u64) -> u64:
    """The 64-bit value at `address`."""
    entry = ref(cpu.tlb[tlb_index(address)])
    if likely(entry.read_tag == (address & (PAGE_MASK | 7)) | cpu.context):
        return cast(ptr[u64], address + entry.addend)[0]
    return load_unaligned(cast(ptr[u64], load_slow(cpu, address, 8)))


@native(may_fault=True, inline=True)
def store_u8(cpu: ptr[Cpu], address: u64, value: u8) -> None:
    """Store a byte at `address`."""
    entry = ref(cpu.tlb[tlb_index(address)])
    if likely(entry.write_tag == (address & PAGE_MASK) | cpu.context):
        host = address + entry.addend
        if likely(contended(cpu, host) == 0):
            cast(ptr[u8], host)[0] = value
            return
    store_slow(cpu, address, u64(value), 1)


@native(may_fault=True, inline=True)
def store_u16(cpu: ptr[Cpu], address: u64, value: u16) -> None:
    """Store a 16-bit value at `address`."""
    entry = ref(cpu.tlb[tlb_index(address)])
    if likely(entry.write_tag == (address & (PAGE_MASK | 1)) | cpu.context):
        host = address + entry.addend
        if likely(contended(cpu, host) == 0):
            cast(ptr[u16], host)[0] = value
            return
    store_slow(cpu, address, u64(value), 2)


@native(may_fault=True, inline=True)
def store_u32(cpu: ptr[Cpu], address: u64, value: u32) -> None:
    """Store a 32-bit value at `address`."""
    entry = ref(cpu.tlb[tlb_index(address)])
    if likely(entry.write_tag == (address & (PAGE_MASK | 3)) | cpu.context):
        host = address + entry.addend
        if likely(contended(cpu, host) == 0):
            cast(ptr[u32], host)[0] = value
            return
    store_slow(cpu, address, u64(value), 4)


@native(may_fault=True, inline=True)
def store_u64(cpu: ptr[Cpu], address: u64, value: u64) -> None:
    """Store a 64-bit value at `address`."""
    entry = ref(cpu.tlb[tlb_index(address)])
    if likely(entry.write_tag == (address & (PAGE_MASK | 7)) | cpu.context):
        host = address + entry.addend
        if likely(contended(cpu, host) == 0):
            cast(ptr[u64], host)[0] = value
            return
    store_slow(cpu, address, value, 8)


@native(may_fault=True, inline=False)
def atomic_place(cpu: ptr[Cpu], address: u64, size: u64, access: u64) -> u64:
    """The host address of an aligned value in RAM that LR, SC or an AMO works on (13.2, 13.4)."""
    if address & (size - 1) != 0:
        raise_exception(cpu, LOAD_MISALIGNED if access == LOAD else u64(STORE_MISALIGNED), address)
        raise Fault
    entry = ref(cpu.tlb[tlb_index(address)])
    tag = (address & PAGE_MASK) | cpu.context
    if access == LOAD and entry.read_tag == tag:
        return address + entry.addend
    if access == STORE and entry.write_tag == tag:
        return address + entry.addend
    host = fill_tlb(cpu, address, access)
    if host == 0:
        access_fault(cpu, address, access)
        raise Fault
    return host


@native(may_fault=True, inline=True)
def amo_place(cpu: ptr[Cpu], address: u64, size: u64) -> u64:
    """Where an AMO works; others' reservations of the line end, decoded code there is forgotten."""
    host = atomic_place(cpu, address, size, STORE)
    if unlikely(contended(cpu, host) != 0):
        begin_store(cpu, host)
        end_store(cpu)
    wrote(cpu, host, size)
    return host


@native(may_fault=True)
def amo_pointer_u32(cpu: ptr[Cpu], address: u64) -> ptr[u32]:
    """Where the 32-bit value at `address` lies, to be changed atomically; faults if misaligned."""
    return cast(ptr[u32], amo_place(cpu, address, 4))


@native(may_fault=True)
def amo_pointer_u64(cpu: ptr[Cpu], address: u64) -> ptr[u64]:
    """Where the 64-bit value at `address` lies, to be changed atomically; faults if misaligned."""
    return cast(ptr[u64], amo_place(cpu, address, 8))


@native(may_fault=True)
def load_reserved_u32(cpu: ptr[Cpu], address: u64) -> u32:
    """The 32-bit value at `address`, reserving its line."""
    host = atomic_place(cpu, address, 4, LOAD)
    reserve(cpu, host)
    value = cast(ptr[u32], host)[0]
    cpu.reserved_value = u64(value)
    return value


@native(may_fault=True)
def load_reserved_u64(cpu: ptr[Cpu], address: u64) -> u64:
    """The 64-bit value at `address`, reserving its line."""
    host = atomic_place(cpu, address, 8, LOAD)
    reserve(cpu, host)
    value = cast(ptr[u64], host)[0]
    cpu.reserved_value = value
    return value


@native(may_fault=True)
def store_conditional_u32(cpu: ptr[Cpu], address: u64, value: u32) -> u64:
    """Store if the reservation holds: 0, else 1."""
    host = atomic_place(cpu, address, 4, STORE)
    failed = conditional_u32(cpu, host, value)
    wrote(cpu, host, 4)
    return failed


@native(may_fault=True)
def store_conditional_u64(cpu: ptr[Cpu], address: u64, value: u64) -> u64:
    """Store if the reservation holds: 0, else 1."""
    host = atomic_place(cpu, address, 8, STORE)
    failed = conditional_u64(cpu, host, value)
    wrote(cpu, host, 8)
    return failed


@native(may_fault=True)
def zero_block(cpu: ptr[Cpu], address: u64) -> None:
    """Zero the 64-byte block that holds `address` (19.4; U-mode needs senvcfg.CBZE)."""
    if cpu.privilege == USER and cpu.senvcfg & SENVCFG_CBZE == 0:
        raise_exception(cpu, ILLEGAL_INSTRUCTION, 0)
        raise Fault
    entry = ref(cpu.tlb[tlb_index(address)])
    host = address + entry.addend
    if entry.write_tag != (address & PAGE_MASK) | cpu.context:  # kernels clear each page that they give with 64 of these
        host = fill_tlb(cpu, address, STORE)
    host = host & 0xFFFFFFFFFFFFFFC0
    if host == 0:
        raise_exception(cpu, STORE_ACCESS_FAULT, address)
        raise Fault
    watched = contended(cpu, host)
    if watched != 0:
        begin_store(cpu, host)
    fill(cast(ptr[u8], host), 0, CACHE_BLOCK)
    if watched != 0:
        end_store(cpu)
    wrote(cpu, host, CACHE_BLOCK)


@native(may_fault=True, inline=False)
def probe_read(cpu: ptr[Cpu], address: u64) -> None:
    """Fault unless `address` may be read (whoever may write may read)."""
    found = translate(cpu, address, LOAD)
    if in_ram(cpu, found & PAGE_MASK) == 0:
        raise_exception(cpu, LOAD_ACCESS_FAULT, address)
        raise Fault


@native(may_fault=True)
def probe_block(cpu: ptr[Cpu], address: u64, leave: u64) -> None:
    """Fault unless the 64-byte block that holds `address` may be accessed (19.4; U-mode needs one of the bits `leave` of senvcfg)."""
    if cpu.privilege == USER and cpu.senvcfg & leave == 0:
        raise_exception(cpu, ILLEGAL_INSTRUCTION, 0)
        raise Fault
    if not attempt(probe_read, cpu, address):
        cpu.cause = cpu.cause + (STORE_ACCESS_FAULT - LOAD_ACCESS_FAULT)  # reported as a store's fault; both kinds are two apart
        raise Fault
