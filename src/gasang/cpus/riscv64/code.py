"""Decoded code: per-page blocks of records, found through the code TLB, kept true to memory.

A page's block has one record for every two bytes; `record address >> 3` plus a bias is the pc. A record not yet decoded has the
handler `decode_here`, so
a block needs no list of what is decoded. Two records behind the last lead to the next page.

Rules that keep records true (ORDER: code coherence):

1. Before a page's first record is decoded its CODE_PAGE flag is set and this hart's write translations of it are dropped: its own
   stores to it are noticed.
2. A noticed store forgets the block, or, if it is the one being executed, just the records that the store touched.
3. Another hart that holds records of the page learns of it through its dirty ring, at its next fence.i: earlier the specification
   promises nothing.
4. Other harts' write translations made before the flag was set are dropped at their next poll; the page is decoded when they have
   answered. If one does not in time, it may have written to the page unnoticed, which the next fence.i then forgets.
5. A block whose content compiled regions know (its stamp is not 0) is forgotten as a whole: a region may begin anywhere in it, and those of
   other pages that lead into it compare the stamp.
"""

from __future__ import annotations

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.block import RECORDS, Block
from gasang.cpus.riscv64.mmu import CODE_PAGE, drop_write_entries
from gasang.cpus.riscv64.state import CODE_TLB_ENTRIES, DIRTY_RING, NO_TAG, PAGE_MASK, Cpu, Shared
from gasang.cpus.riscv64.stitching import forget_stitched, unstitch
from gasang.cpus.riscv64.waits import EXECUTING
from gasang.native import (
    atomic_add,
    atomic_and,
    atomic_load,
    atomic_or,
    atomic_store,
    boolean,
    cast,
    compare_exchange,
    native,
    ptr,
    ref,
    sizeof,
    u8,
    u32,
    u64,
)

REACHES_BACK = 3
"""Records before a store's that it may concern: of a four-byte instruction begun before, and of one fused with that (fusion.py)."""
AGES = 8
"""As often as this the code that is executed is seen to be, while as many blocks are made as there are."""
PATIENCE = 10_000
"""Looks at the other harts before giving up waiting for their answer."""


@native(inline=True)
def block_at(cpu: ptr[Cpu], number: u64) -> ptr[Block]:
    """A block of the pool."""
    return cast(ptr[Block], cpu.blocks + number * sizeof(Block))


@native
def clear_block(cpu: ptr[Cpu], block: ptr[Block]) -> None:
    """Mark every record as not decoded."""
    fresh = cpu.dispatch[0]
    for index in range(u64(RECORDS)):
        block.records[index].handler = fresh
    block.records[RECORDS].handler = cpu.dispatch[1]
    block.records[RECORDS + 1].handler = cpu.dispatch[1]
    block.stamp = 0
    block.stitched = 0
    block.looked = 0


@native
def code_place(cpu: ptr[Cpu], address: u64) -> u64:
    """The number of the block that holds the decoded records of a virtual page, plus 1; 0 if the code TLB knows none."""
    entry = ref(cpu.code_tlb[(address >> 12) & (CODE_TLB_ENTRIES - 1)])
    if entry.tag == NO_TAG or entry.tag != (address & PAGE_MASK) | cpu.context:
        return 0
    return u64(cpu.code_map[cast(ptr[Block], entry.base).page])


@native
def code_near(cpu: ptr[Cpu], address: u64, reach: u64, most: u64, found: ptr[u64]) -> u64:
    """Virtual pages around `address`, the nearest first, that `code_place` knows, `most` at most; how many.

    To `found` go pairs of a distance in pages (two's complement) and a block's number. There are none if the page itself is not known.
    """
    count: u64 = 0
    for step in range(2 * reach + 1):
        delta = u64(0) - (step >> 1) if step & 1 == 0 else (step + 1) >> 1
        number = code_place(cpu, address + (delta << 12))
        if number != 0:
            found[2 * count] = delta
            found[2 * count + 1] = number
            count += 1
        if count == most or count == 0:
            break
    return count


@native
def wipe_code_tlb(cpu: ptr[Cpu]) -> None:
    """Forget where blocks are."""
    for index in range(u64(CODE_TLB_ENTRIES)):
        cpu.code_tlb[index].tag = NO_TAG


@native(inline=False)
def forget_all_blocks(cpu: ptr[Cpu]) -> None:
    """Empty the pool. The caller must not go on executing records."""
    for number in range(cpu.blocks_used):
        block = block_at(cpu, number)
        if cpu.code_map[block.page] == u32(number + 1):
            cpu.code_map[block.page] = 0
    cpu.blocks_used = 0
    cpu.free_block = 0
    forget_stitched(cpu)
    wipe_code_tlb(cpu)


@native(inline=False)
def forget_block(cpu: ptr[Cpu], page: u64) -> None:
    """Give a page's block back."""
    number = u64(cpu.code_map[page])
    if number == 0:
        return
    block = block_at(cpu, number - 1)
    base = u64(block)
    cpu.code_map[page] = 0
    block.next_free = cpu.free_block
    cpu.free_block = number
    for index in range(u64(CODE_TLB_ENTRIES)):
        if cpu.code_tlb[index].base == base:
            cpu.code_tlb[index].tag = NO_TAG


@native(inline=True)
def grow_older(cpu: ptr[Cpu]) -> None:
    """A block is made: after so many the age advances. The code TLB is told of blocks anew then, those that are still executed."""
    cpu.blocks_made = cpu.blocks_made + 1
    if cpu.blocks_made * AGES >= cpu.block_count:
        cpu.blocks_made = 0
        cpu.code_age = cpu.code_age + 1
        wipe_code_tlb(cpu)


@native(inline=False)
def forget_old_blocks(cpu: ptr[Cpu]) -> None:
    """Give back the blocks that were not executed for longest, one of AGES at least; all are in use."""
    wipe_code_tlb(cpu)
    oldest = cpu.code_age
    for number in range(cpu.blocks_used):
        age = block_at(cpu, number).age
        if age < oldest:
            oldest = age
    freed: u64 = 0
    while freed * AGES <= cpu.block_count and oldest <= cpu.code_age:
        for number in range(cpu.blocks_used):
            block = block_at(cpu, number)
            if block.age == oldest and cpu.code_map[block.page] == u32(number + 1):
                cpu.code_map[block.page] = 0
                block.next_free = cpu.free_block
                cpu.free_block = number + 1
                freed += 1
        oldest += 1


@native(inline=False)
def make_block(cpu: ptr[Cpu], page: u64) -> ptr[Block]:
    """A fresh block for a page, the page marked as code (rule 1). The caller must not go on executing records."""
    grow_older(cpu)
    if cpu.free_block == 0 and cpu.blocks_used == cpu.block_count:
        forget_old_blocks(cpu)
    number: u64 = 0
    if cpu.free_block != 0:
        number = cpu.free_block
        cpu.free_block = block_at(cpu, number - 1).next_free
    else:
        cpu.blocks_used = cpu.blocks_used + 1
        number = cpu.blocks_used
    block = block_at(cpu, number - 1)
    block.page = page
    block.host = cpu.shared.ram + (page << 12)
    clear_block(cpu, block)
    cpu.code_map[page] = u32(number)
    flags = cpu.shared.page_flags + page
    if atomic_or(flags, CODE_PAGE) & CODE_PAGE == 0 or cpu.multi != 0:
        drop_write_entries(cpu, block.host)
        if cpu.multi != 0:
            ask_others_to_drop(cpu, page)
    return block


@native
def ask_others_to_drop(cpu: ptr[Cpu], page: u64) -> None:
    """Rule 4: other harts drop their write translations, before anything of the page is decoded.

    They answer within a poll, some microseconds. One that does not (its host thread is not running) leaves this hart in doubt about the
    page until its next fence.i.
    """
    shared = cpu.shared
    epoch = atomic_add(ref(shared.code_epoch), 1) + 1
    for index in range(shared.hart_count):
        if shared.harts[index] != u64(cpu):
            other = cast(ptr[Cpu], shared.harts[index])
            atomic_or(ref(other.requests), exits.REQUEST_FLUSH_WRITES)
    tries: u64 = 0
    while tries < PATIENCE and not confirmed(cpu, epoch):
        drop_if_asked(cpu)
        tries += 1
    if tries == PATIENCE:
        lock(shared)
        note_dirty(cpu, page)
        unlock(shared)


@native
def lock(shared: ptr[Shared]) -> None:
    """Take the spin lock; holders run a few dozen instructions."""
    while compare_exchange(ref(shared.lock), 0, 1) != 0:
        pass


@native
def unlock(shared: ptr[Shared]) -> None:
    """Give the spin lock back."""
    atomic_store(ref(shared.lock), 0)


@native(inline=False)
def tell_others(cpu: ptr[Cpu], page: u64) -> None:
    """Rule 3: every other hart's dirty ring learns of a store to a code page."""
    shared = cpu.shared
    lock(shared)
    for index in range(shared.hart_count):
        if shared.harts[index] != u64(cpu):
            note_dirty(cast(ptr[Cpu], shared.harts[index]), page)
    unlock(shared)


@native
def note_dirty(cpu: ptr[Cpu], page: u64) -> None:
    """Add a page to a hart's dirty ring; a full ring means "everything". The lock is held."""
    count = cpu.dirty_count
    if count > 0 and count <= DIRTY_RING and cpu.dirty[count - 1] == page:
        return
    if count < DIRTY_RING:
        cpu.dirty[count] = page
    if count <= DIRTY_RING:
        cpu.dirty_count = count + 1


@native(inline=False)
def stored_to_code(cpu: ptr[Cpu], page: u64, offset: u64, size: u64) -> None:
    """Rule 2, after a store to a page that is code."""
    number = u64(cpu.code_map[page])
    if number != 0 and u64(block_at(cpu, number - 1)) == cpu.code_base:
        block = block_at(cpu, number - 1)
        if block.stamp != 0:
            clear_block(cpu, block)  # rule 5
            return
        unstitch(cpu, block)
        first = offset >> 1
        first -= first if first < REACHES_BACK else u64(REACHES_BACK)
        last = (offset + size - 1) >> 1
        index = first
        while index <= last and index < RECORDS:
            block.records[index].handler = cpu.dispatch[0]
            index += 1
    else:
        forget_block(cpu, page)
        atomic_and(cpu.shared.page_flags + page, u8(0xFF) ^ CODE_PAGE)
    if cpu.multi != 0:
        tell_others(cpu, page)


@native
def drop_if_asked(cpu: ptr[Cpu]) -> None:
    """Rule 4, the answer: drop this hart's write translations if another hart has asked for it."""
    if atomic_load(ref(cpu.requests)) & exits.REQUEST_FLUSH_WRITES != 0:
        atomic_and(ref(cpu.requests), ~u64(exits.REQUEST_FLUSH_WRITES))
        epoch = atomic_load(ref(cpu.shared.code_epoch))
        drop_write_entries(cpu, 0)
        atomic_store(ref(cpu.seen_epoch), epoch)


@native
def confirmed(cpu: ptr[Cpu], epoch: u64) -> boolean:
    """Whether no other hart can write unnoticed to a page that became code by then: each has answered, or does not execute."""
    shared = cpu.shared
    for index in range(shared.hart_count):
        if shared.harts[index] != u64(cpu):
            other = cast(ptr[Cpu], shared.harts[index])
            if atomic_load(ref(other.seen_epoch)) < epoch and atomic_load(ref(other.inside)) == u64(EXECUTING):
                return False
    return True


@native(inline=False)
def fence_instruction(cpu: ptr[Cpu]) -> None:
    """fence.i: forget what others have written since, or may have. Execution goes on at a pc."""
    if cpu.multi == 0 and atomic_load(ref(cpu.dirty_count)) == 0:
        return
    shared = cpu.shared
    lock(shared)
    count = cpu.dirty_count
    everything = count > DIRTY_RING
    if not everything:
        for position in range(count):
            forget_block(cpu, cpu.dirty[position])
    cpu.dirty_count = 0
    unlock(shared)
    if everything:
        forget_all_blocks(cpu)


@native
def page_changed(cpu: ptr[Cpu], page: u64) -> None:
    """A device or the loader changed a RAM page: every hart's next fence.i forgets its records."""
    if atomic_load(cpu.shared.page_flags + page) & CODE_PAGE != 0:
        tell_others(cpu, page)
        lock(cpu.shared)
        note_dirty(cpu, page)
        unlock(cpu.shared)
