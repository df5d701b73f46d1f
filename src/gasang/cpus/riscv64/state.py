"""The state of one hart and what harts share, as native code sees them.

`Cpu` is one hart: registers, CSRs, the soft TLB, the code TLB and the link to the machine. It is written by its own vCPU thread
alone, but for the words named "shared", which other threads change atomically. `Shared` is one per machine.
"""

from __future__ import annotations

from gasang.native import array, i64, length, ptr, struct, u8, u32, u64

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
PAGE_MASK = 0xFFFFFFFFFFFFF000
OFFSET_MASK = 0xFFF

TLB_ENTRIES = 16384
CODE_TLB_ENTRIES = 2048
NO_TAG = 0xFFFFFFFFFFFFFFFF
"""Matches no access: a tag's lowest four bits are zero."""

USER, SUPERVISOR = 0, 1

RESERVATION_SLOTS = 4096
"""Size of the table that counts LR reservations by hashed line."""

EXTENT_MASK = 0xFFFFFFFFFFE00000
EXTENT_SHIFT = 21
EXTENTS = 64
"""Of each kind of access."""
WIDEST = 8
"""Bytes of the widest access."""
SPANS = (8, 16, 64, 128)
"""Bytes that a stretch may have that is looked at as one: each has a limit of its own in a window."""
LIMITS, LONGEST = len(SPANS), SPANS[-1]

MAX_HARTS = 64
HOT_SHIFT = 49
"""Of a mixed word: what is left numbers HOT_PLACES."""
HOT_PLACES = 1 << 64 - HOT_SHIFT
STRETCH_SHIFT = 10
JUMPS = 256
"""A stretch of code is 64 records: 128 bytes."""
STRETCHES = 32
"""Of a page."""
DIRTY_RING = 256
FUSIONS_SHIFT = 54
"""Of a mixed word: what is left numbers FUSIONS."""
FUSIONS = 1 << 64 - FUSIONS_SHIFT
LINE_ROOM = 1024
"""Bytes that wait for a serial line: see line.py."""


@struct
class TlbEntry:
    """A translation of one 4 KiB page: an access hits where its tag equals `address & (PAGE_MASK | size - 1) | context`."""

    read_tag: u64
    write_tag: u64
    addend: u64  # host address = guest virtual address + addend
    wide: u64  # not 0: all of the 2 MiB around it is translated alike


@struct
class CodeTlbEntry:
    """Where a page's decoded records lie."""

    tag: u64
    base: u64  # host address of the page's first record
    bias: u64  # pc = (record address >> 3) + bias
    unused: u64


@struct
class Extent:
    """Guest memory on successive pages that one addend leads to: `size` bytes from `first`, all within the 2 MiB of the tag."""

    tag: u64  # address & EXTENT_MASK | context
    first: u64
    size: u64
    addend: u64


@struct
class Window:
    """An extent that a place's accesses were in: stretches of up to SPANS[i] bytes are in it where address - first < limits[i]."""

    first: u64
    limits: array[u64] = length(4)  # the extent's size less SPANS[i] - 1; 0: closed
    addend: u64
    patience: i64  # accesses beyond it that the TLB may serve before it is moved
    met: u64  # of the accesses while it is tried, those on the page of the one before


@struct
class Windows:
    """The windows of one privilege."""

    context: u64  # for which they are valid; NO_TAG after a flush
    count: u64
    opened: array[u64] = length(256)  # numbers of those that are not closed, `count` of them
    window: array[Window] = length(256)


@struct
class HotPlace:
    """How often polls have found the hart in a stretch of code."""

    stretch: u64  # number of its RAM page * STRETCHES + its number on the page
    count: u64


@struct
class Fusion:
    """Two handlers, and one that does what both do; or that one, 0, and the first of the two."""

    first: u64  # 0: a free place
    second: u64
    handler: u64
    records: u64  # from the first instruction's record to the second's


@struct
class JumpSeen:
    """An indirect jump that was noted."""

    pc: u64
    target: u64


@struct
class Shared:
    """What the harts of a machine share."""

    ram: u64  # host address of guest RAM
    ram_base: u64  # guest-physical address of RAM
    ram_size: u64
    page_flags: ptr[u8]  # one byte a RAM page, see CODE_PAGE; changed atomically
    reservation_counts: ptr[u32]  # live LR reservations by hashed line; changed under `lock`
    hart_count: u64
    clock_sequence: u64  # shared; odd while the clock's other words are being changed
    clock_ticks: u64  # host ticks at the anchor
    clock_time: u64  # guest time (10 MHz) at the anchor
    clock_scale: u64  # guest time units a host tick, times 2**32
    harts: array[u64] = length(64)  # addresses of the Cpu structs
    # --- the serial line's shortcut: see line.py
    line_at: u64  # guest-physical address of its registers
    line_status: u64  # what its line status register says, 0 if it must be asked
    line_open: u64  # whether bytes to be sent may wait in `line`
    line_count: u64  # that wait; changed under `lock`
    line: array[u8] = length(1024)
    # --- written by all: apart from what each store reads
    code_epoch: u64  # shared; advances when a page first becomes code somewhere
    lock: u64  # spin lock of reservations and dirty rings
    reservations: u64  # live ones of all harts; changed under `lock`


@struct
class Cpu:
    """One hart."""

    x: array[u64] = length(33)  # x[32] takes the writes to x0
    f: array[u64] = length(32)  # binary32 values NaN-boxed
    pc: u64  # valid while no record is being executed
    code_base: u64  # first record of the page being executed
    code_bias: u64
    context: u64  # translation context and privilege, placed in bits 4 to 11
    multi: u64  # 1 if the machine has several harts
    fs: u64  # sstatus.FS
    frm: u64
    fflags: u64  # valid while the hart's thread is outside the run loop; inside, the host's flags are the truth
    privilege: u64
    # --- supervisor CSRs
    status: u64  # sstatus without FS and SD
    sie: u64
    sip: u64  # shared: SSIP 1, STIP 5, SEIP 9
    stvec: u64
    sscratch: u64
    sepc: u64
    scause: u64
    stval: u64
    satp: u64
    scounteren: u64
    senvcfg: u64
    stimecmp: u64
    # --- execution
    cause: u64  # of the exception being raised
    tval: u64
    trap_retired: u64  # instructions retired at the last exception delivered
    trap_repeats: u64  # how often in a row it has repeated: see trap.deliver_exception
    exit: u64  # why control returns to the caller: see exits.py
    budget: u64  # instructions left until the next poll, valid outside handlers
    quantum: u64  # what budget was after the last poll
    remaining: u64  # instructions the caller still allows after this quantum
    retired: i64  # instructions retired before this quantum
    requests: u64  # shared: see exits.py
    serving: u64  # shared: 1 while requests that were taken back are being done
    patience: u64  # guest time that the hart waits awake before it dozes
    eager: u64  # what patience is after a short wait
    futex: u64  # the number of futex(2), 0 where the hart cannot doze
    nap: array[u64] = length(2)  # the time given to futex(2): seconds, nanoseconds
    hart: u64
    watches_traps: u64  # 1 if the run loop returns after each trap
    line_polls: u64  # before the hart leaves its run loop for bytes that it has left in Shared.line; 0 if it has left none
    # --- MMIO handshake
    mmio_address: u64
    mmio_value: u64
    mmio_size: u64
    mmio_state: u64
    bounce: u64  # a value gathered from two pages
    # --- LR/SC
    reservation: u64  # host address, 0 for none
    reserved_value: u64
    reservation_live: u64  # shared, under Shared.lock
    # --- soft TLB
    tlb_slots: u64  # contexts handed out since the last wipe
    superpages: array[u64] = length(2)  # [address >> 63], bit (address >> 30) % 64: a superpage was entered there
    sum_count: u64
    sum_log: array[u64] = length(16)  # TLB indices filled by S-mode in U pages
    slot_satp: array[u64] = length(128)
    # --- decoded code
    code_map: ptr[u32]  # block number + 1 of each RAM page, 0 for none
    blocks: u64  # host address of the pool
    block_count: u64
    blocks_used: u64
    free_block: u64  # number + 1 of the first free block, 0 for none
    code_age: u64  # advances with every so many blocks made: see code.grow_older
    blocks_made: u64  # since it did
    decode_tables: u64
    dispatch: ptr[u64]  # handler addresses: [instruction number * 2 + far]
    fusions: ptr[Fusion]  # see fusion.py
    stitcher: u64  # address of the Stitcher (stitcher.py), 0 for none
    inside: u64  # shared: 1 while the hart executes (see waits.py); else it drops what it is asked to before it goes on
    has_interrupted: u64  # whether SSIP is set already of the harts that the firmware is asked to set it of
    seen_epoch: u64  # shared: the code epoch whose write entries are gone
    dirty_count: u64  # shared, under Shared.lock
    dirty: array[u64] = length(256)  # RAM pages written by others while decoded here
    shared: ptr[Shared]
    span_word: u64  # the instruction that lies on two pages, last decoded
    # --- compiled regions
    helpers: ptr[u64]  # addresses of what regions call: see regions.HELPERS
    refilled: u64  # what a refill found: a host address; of an access beyond its window, whether it was done
    windows: array[Windows] = length(2)  # [privilege]
    extents: array[Extent] = length(128)  # [EXTENTS * access + (address >> EXTENT_SHIFT) % EXTENTS]
    hot_after: u64  # samples of a place that make it hot, 0 for no samples
    looks: u64  # whether code that is met for the first time is looked at: compiled regions are known
    look_rest: u64  # polls before the next of these looks
    polls_region: u64  # whether a region was left for the poll that comes next
    compiled: u64  # instructions executed in regions; inside one, with what is left of its budget
    check: u64  # address of the Check that compares regions with the interpreter (check_state.py), 0 for none
    jumps: array[JumpSeen] = length(256)  # see jumps.py
    code_tlb: array[CodeTlbEntry] = length(2048)
    tlb: array[TlbEntry] = length(16384)
    hot: array[HotPlace] = length(32768)
