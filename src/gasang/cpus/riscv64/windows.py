"""What compiled regions know of guest memory beside the TLB: for each place that accesses it the extent that it was last in.

An access whose address is in its place's window is the host's own load or store, at a distance that does not depend on the TLB.
Beyond the window the TLB is asked, in place. Where it does not know the page, or has been asked often, a function finds the extent, opens
the window there and does the access; what that cannot do (a device, a fault, a page of code, a reservation watched, an access on two
pages) is the interpreter's. Where pages lie in no order and no extent is worth a window, it is tried for a while whether accesses stay on a
page: then the window is over one page, and follows them to any other that the TLB knows. Else it is nowhere, and only the TLB is asked.

An extent is made of what the TLB knows: a superpage, or neighbours with one addend. For stores it has only pages that may be stored to
now and are no code. What ends a translation closes the windows of its page, or all: then a region does so when it is begun. Within a region
nothing is flushed.
"""

from __future__ import annotations

from gasang.cpus.riscv64.mmu import CODE_PAGE, LOAD, STORE, close_window, fill_tlb, tlb_index
from gasang.cpus.riscv64.reservation import begin_store, contended, end_store
from gasang.cpus.riscv64.state import (
    EXTENT_MASK,
    EXTENT_SHIFT,
    EXTENTS,
    LIMITS,
    NO_TAG,
    OFFSET_MASK,
    PAGE_MASK,
    PAGE_SIZE,
    SPANS,
    TLB_ENTRIES,
    Cpu,
    Extent,
    Window,
)
from gasang.native import Fault, attempt, boolean, cast, load_unaligned, native, ptr, ref, store_unaligned, tail_call, u8, u16, u32, u64

WINDOWS = 256
EXTENT_SIZE = 1 << EXTENT_SHIFT
LARGE = 1 << 18
"""Bytes of an extent that a window is moved to wherever its place has been before."""
PATIENCE = 16
"""Accesses beyond a window that the TLB serves before the window is moved."""
LONG_PATIENCE = 8192
"""Accesses beyond a window over one page before a wider one is tried again."""
TRIAL = 256
"""Accesses beyond a window of which is counted how many are on the page of the one before."""
WORTH = 224
"""Those of them with which a window over one page is worth having: of others the host does not foresee whether they are in it."""
NOWHERE, TRIED = 1, 2
"""All limits of a window that is not worth having, which only the TLB is asked for from then on; and of one that is tried."""
LESS_FIRST, LESS_SECOND, LESS_THIRD, LESS_FOURTH = (span - 1 for span in SPANS)
"""What each limit of a window is less than its size."""
NEIGHBOURS = 16
"""Pages to each side that are asked whether they belong to an extent with another addend than the last near it."""


@native(inline=True)
def set_limits(window: ptr[Window], size: u64) -> None:
    """Put a window over `size` bytes, which are at least LONGEST."""
    window.limits[0] = size - LESS_FIRST
    window.limits[1] = size - LESS_SECOND
    window.limits[2] = size - LESS_THIRD
    window.limits[3] = size - LESS_FOURTH


@native(inline=True)
def set_all(window: ptr[Window], limit: u64) -> None:
    """Give a window one limit for stretches of any length."""
    for index in range(u64(LIMITS)):
        window.limits[index] = limit


@native(convention="preserve_most", inline=False)
def close_windows(cpu: ptr[Cpu], unused: u64, unused_too: u64) -> u64:
    """A region begins in another context than that of its privilege's windows."""
    windows = ref(cpu.windows[cpu.privilege])
    if windows.context == NO_TAG:
        for index in range(u64(2 * EXTENTS)):
            cpu.extents[index].tag = NO_TAG
    for position in range(windows.count):
        close_window(ref(windows.window[windows.opened[position]]))
    windows.count = 0
    windows.context = cpu.context
    return 0


@native(may_fault=True)
def enter_page(cpu: ptr[Cpu], address: u64, access: u64) -> None:
    """Have the TLB know a page of RAM for `access`, or fault, with a cause or without one."""
    entry = ref(cpu.tlb[tlb_index(address)])
    tag = (address & PAGE_MASK) | cpu.context
    if (entry.write_tag if access == STORE else entry.read_tag) == tag:
        return
    if fill_tlb(cpu, address, access) == 0:
        raise Fault
    if access == STORE and entry.write_tag != tag:
        raise Fault


@native
def is_like(cpu: ptr[Cpu], address: u64, access: u64, addend: u64) -> boolean:
    """Whether the TLB knows a page for `access`, with this addend."""
    entry = ref(cpu.tlb[(address >> 12) & (TLB_ENTRIES - 1)])
    tag = (address & PAGE_MASK) | cpu.context
    return entry.addend == addend and (entry.write_tag if access == STORE else entry.read_tag) == tag


@native
def is_plain(cpu: ptr[Cpu], address: u64, access: u64, addend: u64) -> boolean:
    """Whether a page of a superpage is RAM, and no code if it is to be stored to."""
    offset = address + addend - cpu.shared.ram
    return offset < cpu.shared.ram_size and (access == LOAD or cpu.shared.page_flags[offset >> 12] & CODE_PAGE == 0)


@native
def belongs(cpu: ptr[Cpu], address: u64, access: u64, addend: u64, wide: u64) -> boolean:
    """Whether a page continues an extent."""
    return is_plain(cpu, address, access, addend) if wide != 0 else is_like(cpu, address, access, addend)


@native(inline=False)
def measure(cpu: ptr[Cpu], extent: ptr[Extent], address: u64, access: u64) -> None:
    """Make `extent` that around an address whose page the TLB knows for `access`. What it was before is not measured again."""
    entry = ref(cpu.tlb[tlb_index(address)])
    addend = entry.addend
    page = address & PAGE_MASK
    same = extent.tag == (address & EXTENT_MASK) | cpu.context and extent.addend == addend
    most: u64 = EXTENT_SIZE // PAGE_SIZE if same else NEIGHBOURS
    start = address & EXTENT_MASK
    if access == LOAD and entry.wide != 0 and is_plain(cpu, start, LOAD, addend) and is_plain(cpu, start + EXTENT_SIZE - 1, LOAD, addend):
        extent.tag = start | cpu.context
        extent.first = start
        extent.size = EXTENT_SIZE
        extent.addend = addend
        return
    below: u64 = (page & ~u64(EXTENT_MASK)) >> 12
    above: u64 = EXTENT_SIZE // PAGE_SIZE - 1 - below
    if below > most:
        below = most
    if above > most:
        above = most
    lowest = page - below * PAGE_SIZE
    highest = page + above * PAGE_SIZE
    first = page
    while first != lowest and belongs(cpu, first - PAGE_SIZE, access, addend, entry.wide):
        first -= PAGE_SIZE
        if same and first - extent.first < extent.size:
            first = extent.first
            lowest = first
    last = page
    while last != highest and belongs(cpu, last + PAGE_SIZE, access, addend, entry.wide):
        last += PAGE_SIZE
        if same and last - extent.first < extent.size:
            last = extent.first + extent.size - PAGE_SIZE
            highest = last
    extent.tag = (address & EXTENT_MASK) | cpu.context
    extent.first = first
    extent.size = last - first + PAGE_SIZE
    extent.addend = addend


@native
def extent_of(cpu: ptr[Cpu], address: u64, access: u64) -> ptr[Extent]:
    """The extent that an address may be in."""
    return ref(cpu.extents[access * EXTENTS + ((address >> EXTENT_SHIFT) & (EXTENTS - 1))])


@native
def holds(cpu: ptr[Cpu], extent: ptr[Extent], address: u64, size: u64) -> boolean:
    """Whether an extent is valid, and has `size` bytes at an address."""
    return extent.tag == (address & EXTENT_MASK) | cpu.context and address - extent.first <= extent.size - size


@native(may_fault=True)
def find_place(cpu: ptr[Cpu], address: u64, size: u64, access: u64) -> None:
    """cpu.refilled = the host address of `size` bytes, in an extent known from now on; a Fault where the interpreter must see to it."""
    extent = extent_of(cpu, address, access)
    if not holds(cpu, extent, address, size):
        if (address & OFFSET_MASK) + size > PAGE_SIZE:
            raise Fault
        enter_page(cpu, address, access)
        measure(cpu, extent, address, access)
    cpu.refilled = address + extent.addend


@native(convention="preserve_most", inline=False)
def place_of(cpu: ptr[Cpu], address: u64, size: u64, access: u64) -> u64:
    """The host address of `size` bytes, whose page the TLB knows from now on; 0 where the interpreter must see to it.

    Two pages are where an extent is known: to have the second known, too, would mark it accessed, or dirty, before it is.
    """
    if (address & OFFSET_MASK) + size <= PAGE_SIZE:
        return address + cpu.tlb[tlb_index(address)].addend if attempt(enter_page, cpu, address, access) else u64(0)
    extent = extent_of(cpu, address, access)
    return address + extent.addend if holds(cpu, extent, address, size) else u64(0)


@native(inline=True)
def open_window(cpu: ptr[Cpu], extent: ptr[Extent], number: u64, address: u64) -> None:
    """Put a window over the extent around an address; or, where it was asked often beyond one and would not be over much now, a page."""
    windows = ref(cpu.windows[cpu.privilege])
    window = ref(windows.window[number >> 1])
    window.addend = extent.addend
    if window.limits[0] == 0:
        windows.opened[windows.count] = number >> 1
        windows.count = windows.count + 1
    elif window.patience < 0 and extent.size < LARGE:
        window.first = address & PAGE_MASK
        if window.limits[0] != TRIED:
            set_all(window, TRIED)
            window.met = 0
            window.patience = TRIAL
        elif window.met < WORTH:
            set_all(window, NOWHERE)
            window.patience = TRIAL
        else:
            set_limits(window, PAGE_SIZE)
            window.patience = LONG_PATIENCE
        return
    window.first = extent.first
    set_limits(window, extent.size)
    window.patience = PATIENCE


@native(inline=True)
def load_sized(host: u64, size: u64) -> u64:
    """The `size` bytes at a host address, as an unsigned number."""
    if size == 8:
        return load_unaligned(cast(ptr[u64], host))
    if size == 4:
        return u64(load_unaligned(cast(ptr[u32], host)))
    if size == 2:
        return u64(load_unaligned(cast(ptr[u16], host)))
    return u64(load_unaligned(cast(ptr[u8], host)))


@native(inline=True)
def store_sized(host: u64, size: u64, value: u64) -> None:
    """Store the low `size` bytes of `value` at a host address."""
    if size == 8:
        store_unaligned(cast(ptr[u64], host), value)
    elif size == 4:
        store_unaligned(cast(ptr[u32], host), u32(value))
    elif size == 2:
        store_unaligned(cast(ptr[u16], host), u16(value))
    else:
        store_unaligned(cast(ptr[u8], host), u8(value))


@native(convention="preserve_most", inline=False)
def store_watched(cpu: ptr[Cpu], host: u64, size: u64, value: u64) -> u64:
    """Store the low `size` bytes of `value` at a host address whose line another hart may have reserved."""
    begin_store(cpu, host)
    store_sized(host, size, value)
    end_store(cpu)
    return 1


@native(inline=True)
def serves(cpu: ptr[Cpu], address: u64, size: u64, number: u64, tag: u64) -> boolean:
    """Whether the TLB, which has this tag, is enough for an access beyond a window: a part of a stretch on two pages, mostly."""
    patient = cpu.windows[cpu.privilege].window[number >> 1].patience >= 0
    return patient and tag == (address & PAGE_MASK) | cpu.context and (address & OFFSET_MASK) + size <= PAGE_SIZE


@native(convention="preserve_most", inline=False)
def load_far(cpu: ptr[Cpu], address: u64, size: u64, number: u64) -> u64:
    """`load_beyond` where the extent is not known."""
    if not attempt(find_place, cpu, address, size, u64(LOAD)):
        cpu.refilled = 0
        return 0
    host = cpu.refilled
    access = number & 1
    extent = extent_of(cpu, address, access)
    if not holds(cpu, extent, address, size) and is_like(cpu, address, access, host - address):
        measure(cpu, extent, address, access)
    if holds(cpu, extent, address, size):  # a window for stores is not moved by a load of what is not to be stored to
        open_window(cpu, extent, number, address)
    return load_sized(host, size)


@native(convention="preserve_most", inline=False)
def load_beyond(cpu: ptr[Cpu], address: u64, size: u64, number: u64) -> u64:
    """The `size` bytes at `address`, as an unsigned number; cpu.refilled is 0 if the interpreter must load them.

    `number` is twice that of the window, plus 1 if it is for stores.
    """
    entry = ref(cpu.tlb[tlb_index(address)])
    if serves(cpu, address, size, number, entry.read_tag):
        cpu.refilled = 1
        return load_sized(address + entry.addend, size)
    extent = extent_of(cpu, address, number & 1)
    if not holds(cpu, extent, address, size):
        return tail_call(load_far, cpu, address, size, number)
    open_window(cpu, extent, number, address)
    cpu.refilled = 1
    return load_sized(address + extent.addend, size)


@native(convention="preserve_most", inline=False)
def store_far(cpu: ptr[Cpu], address: u64, size: u64, number: u64, value: u64) -> u64:
    """`store_beyond` where the extent is not known, or somebody watches."""
    if not attempt(find_place, cpu, address, size, u64(STORE)) or contended(cpu, cpu.refilled) != 0:
        return 0
    open_window(cpu, extent_of(cpu, address, STORE), number, address)
    store_sized(cpu.refilled, size, value)
    return 1


@native(convention="preserve_most", inline=False)
def store_beyond(cpu: ptr[Cpu], address: u64, size: u64, number: u64, value: u64) -> u64:
    """Store the low `size` bytes of `value`; 0 if the interpreter must."""
    entry = ref(cpu.tlb[tlb_index(address)])
    if cpu.multi == 0 and serves(cpu, address, size, number, entry.write_tag):
        store_sized(address + entry.addend, size, value)
        return 1
    extent = extent_of(cpu, address, STORE)
    if not holds(cpu, extent, address, size) or cpu.multi != 0:
        return tail_call(store_far, cpu, address, size, number, value)
    open_window(cpu, extent, number, address)
    store_sized(address + extent.addend, size, value)
    return 1
