"""What a check of compiled regions keeps of a hart (check.py), and what the soft TLB's slow path notes for it.

A region that is checked runs on a *shadow* of the hart. It sees copies of the pages that it loads from and stores to, so that nobody else
sees what it stores; then the interpreter executes as many instructions on the hart itself. So that the check knows which pages the
interpreter stores to, translations for stores are forgotten before: each first store to a page comes by `note_store`.
"""

from __future__ import annotations

from gasang.cpus.riscv64.state import NO_TAG, OFFSET_MASK, PAGE_MASK, TLB_ENTRIES, Cpu
from gasang.native import array, cast, length, native, ptr, struct, u64

IDLE, REGION, INTERPRETER = 0, 1, 2
"""Phases: neither; the region runs on the shadow; the interpreter repeats it."""
MOST_COPIES = 96
"""Pages that one run of a region may load from and store to: more end it, as any page that is no RAM does."""
MOST_FILLED = 1024
REGION_PAGES = 16
"""Pages of a region."""


@struct
class CheckedRegion:
    """A placed region, and what became of it."""

    address: u64  # of its code
    number: u64
    pages: u64  # how many; by index their distances from the region's page 0, and the stamps that they must have
    deltas: array[u64] = length(16)
    stamps: array[u64] = length(16)
    at: u64  # the pc where it was begun first
    entered: u64
    executed: u64  # instructions
    exits: array[u64] = length(10)  # by reason, see check_shadow.py


@struct
class CheckPlace:
    """Where a region stands in a record's place."""

    record: u64  # 0: free
    region: u64  # address of the CheckedRegion
    own: u64  # the interpreter's handler of the instruction
    delta: u64  # the distance of the record's page from the region's page 0


@struct
class CheckGate:
    """One per machine: devices wait while a check is under way, and none begins while a device writes to RAM."""

    checking: u64  # shared
    writers: u64  # shared


@struct
class PageCopy:
    """A page that a region has loaded from or stored to."""

    page: u64  # the virtual address by which it was met first
    host: u64  # host address of the page itself
    content: u64  # of the copy that the region sees
    before: u64  # of another, as it was
    stored: u64  # whether the region may have stored to it; else nothing is `before`


@struct
class Check:
    """The check of one hart."""

    cpu: ptr[Cpu]
    shadow: ptr[Cpu]
    gate: ptr[CheckGate]
    blocks: u64  # REGION_PAGES blocks whose handlers end a run
    places: ptr[CheckPlace]
    place_mask: u64
    place_count: u64
    phase: u64
    # --- one run of a region
    region: u64  # address of the CheckedRegion
    began: u64  # pc
    left: u64  # of the budget, where the run ended
    executed: u64
    polls: u64
    refused: u64  # why a helper refused, a reason of check_shadow.py; 0: none did
    missed: u64  # whether the run ended where only the pc is known
    flags: u64  # float flags: at the beginning, and after the region
    flags_after: u64
    x: array[u64] = length(33)  # registers at the beginning
    f: array[u64] = length(32)
    fs: u64
    true_blocks: array[u64] = length(16)
    slot: u64  # number of the shadow's translation context
    copies: u64
    copy: array[PageCopy] = length(96)
    # --- the interpreter's turn
    stray: u64  # a host address that it stored to on a page that the region has not met, 0 for none
    ended: u64  # exits.py: why it ended
    interpreted: u64  # instructions
    interpreted_flags: u64
    filled_count: u64  # TLB entries filled for stores since they were dropped
    filled: array[u64] = length(1024)


@native(inline=False)
def copy_of(check: ptr[Check], host: u64) -> u64:
    """The copy of the page of a host address; 0 if the region has not met it."""
    page = host & PAGE_MASK
    for index in range(check.copies):
        if check.copy[index].host == page:
            return check.copy[index].content
    return 0


@native(inline=False)
def note_store(cpu: ptr[Cpu], index: u64, host: u64) -> None:
    """The TLB's entry `index` is being filled for a store to `host`."""
    check = cast(ptr[Check], cpu.check)
    if check.filled_count < MOST_FILLED:
        check.filled[check.filled_count] = index
    check.filled_count = check.filled_count + 1
    if check.phase == INTERPRETER and copy_of(check, host) == 0:
        check.stray = host


@native(inline=False)
def note_mark(cpu: ptr[Cpu], slot: u64, pte: u64) -> None:
    """A page walk has set accessed or dirty bits at host address `slot`: no store of the guest's, so the copy gets them too."""
    check = cast(ptr[Check], cpu.check)
    content = copy_of(check, slot)
    if content != 0:
        word = cast(ptr[u64], content + (slot & OFFSET_MASK))
        word[0] = word[0] | (pte & 0xC0)


@native
def drop_filled(check: ptr[Check]) -> None:
    """Forget all translations for stores."""
    cpu = check.cpu
    if check.filled_count <= MOST_FILLED:
        for position in range(check.filled_count):
            cpu.tlb[check.filled[position]].write_tag = NO_TAG
    else:
        for index in range(u64(TLB_ENTRIES)):
            cpu.tlb[index].write_tag = NO_TAG
    check.filled_count = 0
