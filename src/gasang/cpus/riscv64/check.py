"""The check of compiled regions: each run of one is repeated by the interpreter, and both must come to the same.

    check_region ──► the region's machine code, on the shadow ──► caught ──► the interpreter, as many instructions ──► compare ──► enter

`check_region` stands in a record's place where otherwise the region would. The shadow is a second Cpu: its TLB is empty at each run and
filled from the hart's own, it sees copies of the pages of RAM, and wherever the region would go on it meets `caught`. So the code that is
checked is, byte for byte, the code that runs unchecked. Then the interpreter executes on the hart itself what the region said to have
executed: registers, float flags, pc and all pages that either has stored to must be the same, and no trap or device may have come between.

What a region cannot do it leaves to the interpreter, devices among it: they are touched once, by the interpreter, after the check.
"""

from __future__ import annotations

from gasang.cpus.record import Record
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.block import RECORDS, SPARE, Block
from gasang.cpus.riscv64.check_shadow import reason_of, wants_atomic, word_at
from gasang.cpus.riscv64.check_state import (
    IDLE,
    INTERPRETER,
    REGION,
    REGION_PAGES,
    Check,
    CheckedRegion,
    CheckGate,
    CheckPlace,
    drop_filled,
)
from gasang.cpus.riscv64.code import block_at
from gasang.cpus.riscv64.execute import Handler, enter, pc_of
from gasang.cpus.riscv64.fusion import alone, part
from gasang.cpus.riscv64.regions import decode_place
from gasang.cpus.riscv64.state import CODE_TLB_ENTRIES, DIRTY_RING, NO_TAG, PAGE_MASK, PAGE_SIZE, TLB_ENTRIES, Cpu
from gasang.native import (
    address_of,
    atomic_add,
    atomic_load,
    atomic_store,
    boolean,
    cast,
    copy,
    float_flags,
    i64,
    native,
    ptr,
    ref,
    set_float_control,
    sizeof,
    tail_call,
    u8,
    u32,
    u64,
)

MOST_AGAIN = 4
"""Runs that are repeated with a page for an atomic instruction at hand: it takes only what the TLB knows."""
CONTEXT_SLOTS = 128
REGISTER_BYTES = 65 * 8


@native
def place_of(check: ptr[Check], record: u64) -> ptr[CheckPlace]:
    """What is kept of a record, or the free place for it."""
    index = ((record >> 4) * 0x9E3779B97F4A7C15) >> 20
    place = ref(check.places[index & check.place_mask])
    while place.record != 0 and place.record != record:
        index += 1
        place = ref(check.places[index & check.place_mask])
    return place


@native
def shadow_block(check: ptr[Check], index: u64) -> ptr[Block]:
    """The block that stands for the page `index` of a region."""
    return cast(ptr[Block], check.blocks + index * sizeof(Block))


@native
def empty_shadow(shadow: ptr[Cpu]) -> None:
    """No window and no entry of the TLBs is of use any more."""
    shadow.windows[0].context = NO_TAG
    shadow.windows[1].context = NO_TAG
    for index in range(u64(TLB_ENTRIES)):
        shadow.tlb[index].read_tag = NO_TAG
        shadow.tlb[index].write_tag = NO_TAG
    for index in range(u64(CODE_TLB_ENTRIES)):
        shadow.code_tlb[index].tag = NO_TAG


@native
def next_context(check: ptr[Check]) -> None:
    """Empty the shadow's TLBs, by another number in the tags."""
    shadow = check.shadow
    check.slot = check.slot + 1
    if check.slot == CONTEXT_SLOTS:
        check.slot = 0
        empty_shadow(shadow)
    shadow.context = (check.slot << 5) | (check.cpu.context & 16)


@native(inline=False)
def attach(check: ptr[Check], region: ptr[CheckedRegion], origin: u64, own: u64) -> u64:
    """Have the shadow find the region's pages where the hart has them with just the content they must have. `own` is the page it begins on.

    Its index + 1; 0 if it has another content.
    """
    cpu = check.cpu
    shadow = check.shadow
    found: u64 = 0
    for index in range(region.pages):
        start = origin + region.deltas[index] * PAGE_SIZE
        entry = ref(cpu.code_tlb[(start >> 12) & (CODE_TLB_ENTRIES - 1)])
        base: u64 = 0
        if region.deltas[index] == own:
            base = cpu.code_base
        elif entry.tag == start | cpu.context:
            base = entry.base
        if base != 0 and cast(ptr[Block], base).stamp == region.stamps[index]:
            block = shadow_block(check, index)
            block.stamp = region.stamps[index]
            check.true_blocks[index] = base
            known = ref(shadow.code_tlb[(start >> 12) & (CODE_TLB_ENTRIES - 1)])
            known.tag = start | shadow.context
            known.base = u64(block)
            known.bias = start - (u64(block) >> 3)
            if region.deltas[index] == own:
                found = index + 1
    return found


@native
def begin_run(check: ptr[Check], budget: u64) -> None:
    """The shadow is as the hart."""
    cpu = check.cpu
    shadow = check.shadow
    copy(cast(ptr[u8], u64(shadow)), cast(ptr[u8], u64(cpu)), REGISTER_BYTES)
    shadow.privilege = cpu.privilege
    shadow.fs = cpu.fs
    shadow.frm = cpu.frm
    shadow.quantum = budget
    shadow.remaining = cpu.remaining
    check.executed = 0
    check.polls = 0
    check.refused = 0
    check.missed = 0


@native(inline=False)
def run_on_shadow(check: ptr[Check], region: ptr[CheckedRegion], origin: u64, index: u64, offset: u64, budget: u64) -> None:
    """Run a region's code on the shadow, once more where an atomic instruction wants a page at hand."""
    shadow = check.shadow
    base = u64(shadow_block(check, index))
    page = origin + region.deltas[index] * PAGE_SIZE
    record = cast(ptr[Record], base + (offset << 3))
    word: u64 = 0
    tries: u64 = 0
    again = True
    while again:
        begin_run(check, budget)
        for number in range(check.copies):
            copy(cast(ptr[u8], check.copy[number].content), cast(ptr[u8], check.copy[number].host), PAGE_SIZE)
        shadow.code_base = base
        shadow.code_bias = page - (base >> 3)
        set_float_control(u32(check.cpu.frm), u32(check.flags))
        handler = cast(Handler, region.address)
        handler(shadow, record, budget)
        check.flags_after = u64(float_flags()) & 31
        check.executed = check.executed + (shadow.quantum - check.left)
        word = word_at(check, region, origin, shadow.pc)
        tries += 1
        again = tries <= MOST_AGAIN and wants_atomic(check, word)
    if region.entered == 0:
        region.at = check.began
    region.entered = region.entered + 1
    region.executed = region.executed + check.executed
    reason = reason_of(check, word)
    region.exits[reason] = region.exits[reason] + 1


# ---------------------------------------------------------------------- the interpreter's turn


@native(inline=False)
def interpret(check: ptr[Check], own: u64, record: ptr[Record]) -> None:
    """Execute as many instructions on the hart. cpu.pc is then where it is, cpu.exit why it ended; budget and quantum are 0."""
    cpu = check.cpu
    watches = cpu.watches_traps
    remaining = cpu.remaining
    drop_filled(check)
    check.phase = INTERPRETER
    set_float_control(u32(cpu.frm), u32(check.flags))
    before = cpu.retired
    cpu.watches_traps = 1
    cpu.remaining = 0
    cpu.quantum = check.executed
    cpu.budget = check.executed
    handler = cast(Handler, own)
    handler(cpu, record, check.executed)
    check.interpreted_flags = u64(float_flags()) & 31
    cpu.retired = cpu.retired + i64(cpu.quantum - cpu.budget)
    cpu.quantum = 0
    cpu.budget = 0
    check.interpreted = u64(cpu.retired - before)
    check.ended = cpu.exit
    cpu.exit = exits.NONE
    cpu.watches_traps = watches
    cpu.remaining = remaining
    check.phase = IDLE


@native(inline=False)
def same(check: ptr[Check]) -> boolean:
    """Whether hart and shadow, and what they have stored, are the same."""
    cpu = check.cpu
    shadow = check.shadow
    for index in range(u64(32)):
        if cpu.x[index] != shadow.x[index] or cpu.f[index] != shadow.f[index]:
            return False
    if cpu.pc != shadow.pc or cpu.fs != shadow.fs or check.interpreted_flags != check.flags_after or check.stray != 0:
        return False
    if check.ended != exits.LIMIT or check.interpreted != check.executed:
        return False
    for number in range(check.copies):
        left = cast(ptr[u64], check.copy[number].host)
        right = cast(ptr[u64], check.copy[number].content)
        unlike: u64 = 0
        for index in range(u64(PAGE_SIZE // 8)):
            unlike = unlike | (left[index] ^ right[index])
        if unlike != 0:
            return False
    return True


@native(inline=False)
def in_doubt(cpu: ptr[Cpu], region: ptr[CheckedRegion]) -> boolean:
    """Whether a page of a region may have been changed by others since the hart's last fence.i (code.py, rules 3 and 4).

    Until the next one the hart may execute what was there or what is there (specification of Zifencei), so that both may be right.
    """
    if cpu.dirty_count > DIRTY_RING:
        return True
    for position in range(cpu.dirty_count):
        number = u64(cpu.code_map[cpu.dirty[position]])
        if number != 0:
            stamp = block_at(cpu, number - 1).stamp
            for index in range(region.pages):
                if region.stamps[index] == stamp:
                    return True
    return False


@native(inline=False)
def run_twice(check: ptr[Check], place: ptr[CheckPlace], record: ptr[Record], budget: u64) -> boolean:
    """Region and interpreter, from here; whether the region did anything. cpu.exit is DIFFERENCE if they differ."""
    cpu = check.cpu
    region = cast(ptr[CheckedRegion], place.region)
    offset = (u64(record) - cpu.code_base) >> 3
    check.began = pc_of(cpu, record)
    origin = (check.began & PAGE_MASK) - place.delta * PAGE_SIZE
    check.region = place.region
    check.copies = 0
    check.stray = 0
    check.flags = u64(float_flags()) & 31
    next_context(check)
    found = attach(check, region, origin, place.delta)
    if found == 0:
        record.handler = cpu.dispatch[0]  # its page is another now
        return False
    copy(cast(ptr[u8], u64(ref(check.x[0]))), cast(ptr[u8], u64(cpu)), REGISTER_BYTES)
    check.fs = cpu.fs
    check.phase = REGION
    run_on_shadow(check, region, origin, found - 1, offset, budget)
    check.phase = IDLE
    if check.executed == 0:
        check.interpreted = 0
        check.interpreted_flags = check.flags
        check.ended = exits.LIMIT
        cpu.pc = check.began
    else:
        cpu.retired = cpu.retired + i64(cpu.quantum - budget)
        interpret(check, place.own, record)
        if check.executed <= budget:
            cpu.budget = budget - check.executed
            cpu.quantum = cpu.budget
        else:
            cpu.remaining = cpu.remaining - (check.executed - budget)
    if not same(check) and not in_doubt(cpu, region):
        cpu.exit = exits.DIFFERENCE
    set_float_control(u32(cpu.frm), u32(check.interpreted_flags))
    return check.executed != 0


@native(convention="preserve_none", inline=False)
def check_region(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    """Stands where a region would: run it on the shadow, repeat it, compare, go on."""
    check = cast(ptr[Check], cpu.check)
    place = place_of(check, u64(record))
    gate = check.gate
    if budget == 0 or check.phase != IDLE:
        return tail_call(cast(Handler, place.own), cpu, record, budget)
    atomic_store(ref(gate.checking), 1)
    if atomic_load(ref(gate.writers)) != 0:
        atomic_store(ref(gate.checking), 0)
        return tail_call(cast(Handler, place.own), cpu, record, budget)
    moved = run_twice(check, place, record, budget)
    atomic_store(ref(gate.checking), 0)
    if cpu.exit != exits.NONE:
        return
    if moved:
        return tail_call(enter, cpu, record, cpu.budget)
    return tail_call(cast(Handler, place.own), cpu, record, budget)


# ---------------------------------------------------------------------- what Python calls


@native
def begin_checked(cpu: ptr[Cpu], number: u64, index: u64, region: u64, delta: u64) -> u64:
    """`begin_region`, checked: 0 if it is there already, or there is no room."""
    check = cast(ptr[Check], cpu.check)
    block = block_at(cpu, number - 1)
    record = ref(block.records[index])
    handler = u64(address_of(check_region))
    place = place_of(check, u64(record))
    if place.record == 0:
        if check.place_count > check.place_mask >> 1:
            return 0
        check.place_count = check.place_count + 1
        place.record = u64(record)
    elif record.handler == handler and place.region == region:
        return 0
    if record.handler != handler:
        decode_place(cpu, block, index)
        part(cpu, block, index)
        place.own = alone(cpu.fusions, record.handler)
        record.handler = handler
    place.region = region
    place.delta = delta
    return 1


@native
def prepare_shadow(check: ptr[Check], ending: u64) -> None:
    """Empty TLBs, and blocks whose every handler is `ending`."""
    shadow = check.shadow
    empty_shadow(shadow)
    for number in range(u64(REGION_PAGES)):
        block = shadow_block(check, number)
        for index in range(u64(RECORDS + SPARE)):
            block.records[index].handler = ending


@native
def begin_write(gate: ptr[CheckGate]) -> None:
    """A device is about to write to RAM: from now on no check begins, and none is under way."""
    atomic_add(ref(gate.writers), 1)
    while atomic_load(ref(gate.checking)) != 0:
        pass


@native
def end_write(gate: ptr[CheckGate]) -> None:
    """It has."""
    atomic_add(ref(gate.writers), 0xFFFFFFFFFFFFFFFF)
