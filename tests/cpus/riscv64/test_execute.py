"""The run loop: exact budgets, interrupts, traps, code that changes, instructions on two pages."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest

from gasang.accel.soft.hart import Hart
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.block import RECORDS
from gasang.cpus.riscv64.csr import SATP, SSTATUS
from gasang.cpus.riscv64.mmu import PTE_R, PTE_X, SATP_SV39
from gasang.cpus.riscv64.state import SUPERVISOR, USER
from gasang.cpus.riscv64.trap import INTERRUPT, SEIP, SSIP, SSTATUS_SIE, SSTATUS_SPIE, SSTATUS_SPP, STIP
from support.bare import CODE, HANDLER, Bare, asm
from support.lockstep.state import PAGE, RAM_BASE

NEVER = (1 << 64) - 1
NOP = asm("addi")
LOOPS = [[NOP, asm("jal", imm=-4)], [asm("c.nop"), asm("c.j", imm=-2)], [asm("csrrs", csr=SSTATUS), asm("jal", imm=-4)]]


@pytest.fixture
def bare() -> Iterator[Bare]:
    """A machine with one hart."""
    machine = Bare()
    machine.put(HANDLER, asm("jal"))
    yield machine
    machine.close()


@pytest.mark.parametrize("count", [1, 2, 899, 900, 901, 1800, 12_345])
@pytest.mark.parametrize("loop", LOOPS)
def test_exactly_so_many_instructions(bare: Bare, count: int, loop: list[bytes]) -> None:
    bare.put(CODE, *loop)
    assert bare.run(count) == exits.LIMIT
    assert bare.hart.instructions == count
    assert bare.cpu.pc == CODE + (len(loop[0]) if count % 2 else 0)


def test_a_trap_takes_of_the_budget_and_retires_nothing(bare: Bare) -> None:
    bare.put(CODE, NOP, asm("ebreak"))
    bare.put(HANDLER, NOP, NOP)
    assert bare.run(3) == exits.LIMIT
    assert (bare.hart.instructions, bare.cpu.pc) == (2, HANDLER + 4)
    assert bare.trap() == (3, CODE + 4, CODE + 4)


def test_endless_traps_end_with_the_budget(bare: Bare) -> None:
    bare.cpu.stvec = 0
    bare.put(CODE, asm("ebreak"))
    assert bare.run(5000) == exits.LIMIT
    assert (bare.hart.instructions, bare.cpu.pc) == (0, 0)
    assert bare.trap() == (1, 0, 0)


def test_instret_counts_what_came_before(bare: Bare) -> None:
    bare.put(CODE, NOP, NOP, asm("csrrs", csr=0xC02, rd=5), NOP, asm("csrrs", csr=0xC02, rd=6), asm("csrrs", csr=0xC00, rd=7))
    bare.run(6)
    assert [bare.cpu.x[n] for n in (5, 6, 7)] == [2, 4, 5]


@pytest.mark.parametrize(("bit", "code"), [(SEIP, 9), (SSIP, 1), (STIP, 5)])
@pytest.mark.parametrize("vectored", [0, 1])
def test_interrupts_are_taken_within_a_thousand_instructions(bare: Bare, bit: int, code: int, vectored: int) -> None:
    bare.put(CODE, NOP, asm("jal", imm=-4))
    bare.cpu.sie, bare.cpu.status, bare.cpu.stvec = bit, SSTATUS_SIE, HANDLER | vectored
    entry = HANDLER + 4 * code * vectored
    bare.put(entry, asm("jal"))
    assert bare.run(1500) == exits.LIMIT
    assert bare.cpu.pc == CODE
    if bit == STIP:
        bare.cpu.stimecmp = 0
    else:
        bare.hart.interrupt(bit, True)
    bare.run(1000)
    assert bare.cpu.pc == entry
    assert bare.trap() == (INTERRUPT | code, bare.cpu.sepc, 0)
    assert bare.cpu.status & (SSTATUS_SIE | SSTATUS_SPIE | SSTATUS_SPP) == SSTATUS_SPIE | SSTATUS_SPP


def test_external_before_software_before_timer(bare: Bare) -> None:
    bare.put(CODE, NOP)
    for code, bit in ((9, SEIP), (1, SSIP), (5, STIP)):
        bare.cpu.pc, bare.cpu.status, bare.cpu.sie = CODE, SSTATUS_SIE, 0x222
        bare.cpu.stimecmp, bare.cpu.sip = 0, {9: 0x222, 1: 0x22, 5: 0x20}[code]
        bare.run(1)
        assert bare.cpu.scause == INTERRUPT | code, bit


def test_an_interrupt_waits_for_the_enable_and_comes_right_then(bare: Bare) -> None:
    bare.put(CODE, NOP, asm("csrrsi", csr=SSTATUS, zimm=SSTATUS_SIE), NOP)
    bare.cpu.sie = SSIP
    bare.hart.interrupt(SSIP, True)
    bare.run(2)
    assert bare.trap() == (INTERRUPT | 1, CODE + 8, 0)


def test_user_mode_takes_interrupts_whatever_sie_says(bare: Bare) -> None:
    bare.put(CODE, NOP)
    bare.cpu.sie = SSIP
    bare.hart.interrupt(SSIP, True)
    bare.enter(USER, status=0)
    bare.run(1)
    assert bare.cpu.scause == INTERRUPT | 1
    assert (bare.cpu.privilege, bare.cpu.status & SSTATUS_SPP) == (SUPERVISOR, 0)


def test_wfi_ends_the_run_unless_something_is_pending(bare: Bare) -> None:
    bare.put(CODE, asm("wfi"), NOP)
    assert bare.run(10) == exits.WAIT
    assert (bare.cpu.pc, bare.hart.instructions) == (CODE + 4, 1)
    bare.cpu.pc, bare.cpu.sie = CODE, SSIP
    bare.hart.interrupt(SSIP, True)
    assert bare.run(2) == exits.LIMIT  # pending though not enabled in sstatus: wfi goes on
    assert bare.cpu.pc == CODE + 8


@pytest.mark.parametrize("name", ["wfi", "sret", "sfence.vma"])
def test_user_mode_may_not(bare: Bare, name: str) -> None:
    bare.put(CODE, asm(name))
    bare.enter(USER)
    bare.run(1)
    assert bare.trap() == (2, CODE, int.from_bytes(asm(name), "little"))


def test_environment_calls(bare: Bare) -> None:
    bare.put(CODE, asm("ecall"))
    assert bare.run(1) == exits.SBI
    assert bare.cpu.pc == CODE
    bare.enter(USER)
    assert bare.run(1) == exits.LIMIT
    assert bare.trap() == (8, CODE, 0)


@pytest.mark.parametrize("previous", [USER, SUPERVISOR])
@pytest.mark.parametrize("enabled", [0, SSTATUS_SPIE])
def test_sret(bare: Bare, previous: int, enabled: int) -> None:
    bare.put(CODE, asm("sret"))
    bare.cpu.sepc = CODE + 0x100
    bare.cpu.status = (SSTATUS_SPP if previous else 0) | enabled
    bare.run(1)
    assert (bare.cpu.pc, bare.cpu.privilege) == (CODE + 0x100, previous)
    assert bare.cpu.status == SSTATUS_SPIE | (SSTATUS_SIE if enabled else 0)


def test_an_instruction_on_two_pages(bare: Bare) -> None:
    last = CODE + PAGE - 2
    bare.put(last, asm("addi", rd=5, rs1=5, imm=7), asm("jal", imm=-4))
    bare.cpu.pc = last
    bare.run(101)
    assert bare.cpu.x[5] == 7 * 51
    bare.put(last, asm("addi", rd=5, rs1=0, imm=9))  # from outside
    bare.put(CODE, asm("fence.i"))
    bare.cpu.pc = CODE
    bare.run(1)
    bare.cpu.pc = last
    bare.run(1)
    assert bare.cpu.x[5] == 9


def test_the_second_page_of_an_instruction_is_missing(bare: Bare) -> None:
    root = bare.new_table()
    bare.map(root, 3, 0x10000, CODE, PTE_R | PTE_X)
    bare.put(CODE + PAGE - 2, asm("addi", rd=5, rs1=5, imm=7))
    bare.enter(SUPERVISOR, SATP_SV39 << 60 | root >> 12)
    bare.cpu.pc = 0x10FFE
    bare.run(1)
    assert bare.trap() == (12, 0x10FFE, 0x11000)


def test_stores_to_code_and_fence_i(bare: Bare) -> None:
    bare.put(CODE, asm("sw", rs1=6, rs2=7), asm("fence.i"), asm("jal", rd=1, imm=0x100 - 8), asm("jal", imm=-12))
    target = CODE + 0x100
    bare.put(target, asm("addi", rd=5, rs1=5, imm=1), asm("jalr", rs1=1))
    bare.cpu.x[6], bare.cpu.x[7] = target, int.from_bytes(asm("addi", rd=5, rs1=5, imm=1), "little")
    bare.run(6 * 3)
    assert bare.cpu.x[5] == 3
    bare.cpu.x[7] = int.from_bytes(asm("addi", rd=5, rs1=5, imm=100), "little")
    bare.run(6 * 2)
    assert bare.cpu.x[5] == 203


@pytest.mark.parametrize("far", [0x10000, 0x40])
def test_stores_to_a_page_that_is_code_elsewhere(bare: Bare, far: int) -> None:
    """The store's own page, and another one, decoded before and changed a halfword at a time."""
    target = CODE + far
    bare.put(target, asm("c.addi", rd=5, imm=1), asm("c.addi", rd=5, imm=1), asm("c.jr", rs1=1))
    call = [asm("auipc", rd=1), asm("jalr", rd=1, rs1=8)]
    bare.put(CODE, *call, asm("sh", rs1=8, rs2=7, imm=2), asm("fence.i"), asm("jalr", rd=1, rs1=8))
    bare.cpu.x[8], bare.cpu.x[7] = target, int.from_bytes(asm("c.addi", rd=5, imm=16), "little")
    bare.run(2 + 3 + 3 + 3)
    assert bare.cpu.x[5] == 1 + 1 + 1 + 16


def test_satp_is_switched_under_the_running_code(bare: Bare) -> None:
    """The instruction after csrw satp is fetched through the new tables."""
    root = bare.new_table()
    bare.map(root, 3, CODE, CODE + PAGE, PTE_R | PTE_X)
    bare.put(CODE, asm("csrrw", csr=SATP, rs1=5), asm("addi", rd=6, imm=1))
    bare.put(CODE + PAGE, NOP, asm("addi", rd=6, imm=2))
    bare.cpu.x[5] = SATP_SV39 << 60 | root >> 12
    bare.run(2)
    assert bare.cpu.x[6] == 2


@pytest.mark.parametrize("address", [RAM_BASE - 2, RAM_BASE + (8 << 20), 0x1000_0000, 1 << 60, 0])
def test_fetching_where_no_memory_is(bare: Bare, address: int) -> None:
    bare.put(CODE, asm("jalr", rs1=5))
    bare.cpu.x[5] = address
    bare.run(2)
    assert bare.trap() == (1, address, address)


def test_reservations_of_two_harts() -> None:
    machine = Bare(harts=2)
    one, two = machine.machine.harts
    cell = RAM_BASE + 0x2000
    code = {
        "lr": asm("lr.d", rd=5, rs1=10),
        "sc": asm("sc.d", rd=6, rs1=10, rs2=11),
        "sd": asm("sd", rs1=10, rs2=12),
        "amo": asm("amoadd.d", rs1=10, rs2=12),
    }
    places = {name: CODE + 64 * number for number, name in enumerate(code)}
    for name, word in code.items():
        machine.put(places[name], word)
    for hart in (one, two):
        hart.cpu.x[10], hart.cpu.x[11], hart.cpu.x[12] = cell, 77 + hart.number, 5

    def do(hart: Hart, name: str) -> int:
        hart.cpu.pc = places[name]
        assert machine.run(1, hart) == exits.LIMIT
        return int(hart.cpu.x[6])

    do(one, "lr")
    assert do(one, "sc") == 0
    assert machine.word(cell) == 77
    assert do(one, "sc") == 1, "the first SC has used the reservation up"
    for interference in ("sd", "amo"):
        do(one, "lr")
        do(two, interference)
        assert do(one, "sc") == 1
    do(one, "lr")
    do(two, "lr")
    assert do(two, "sc") == 0
    assert do(one, "sc") == 1
    machine.set_word(cell, 5)
    do(one, "lr")
    do(two, "sd")  # the value that is there already: ABA
    assert do(one, "sc") == 1
    two.cpu.x[10] = cell + 64
    do(one, "lr")
    do(two, "sd")  # another line
    assert do(one, "sc") == 0
    machine.close()


@pytest.mark.parametrize("end", ["sc.d", "wfi", "reset", "store"])
def test_a_reservation_that_ends_is_counted_no_more(end: str) -> None:
    bare = Bare(harts=2)
    one, two = bare.machine.harts
    for hart in (one, two):
        bare.put(CODE, asm("lr.d", rd=5, rs1=10), asm("lr.w", rd=5, rs1=10))
        hart.cpu.x[10], hart.cpu.pc = RAM_BASE + 0x2000 + 512 * hart.number, CODE
        assert bare.run(2, hart) == exits.LIMIT
    assert sum(bare.machine.reservations) == 2
    if end == "reset":
        one.reset(CODE, 0, 0)
    else:
        who, word = {
            "sc.d": (one, asm("sc.d", rd=6, rs1=10)),
            "wfi": (one, asm("wfi")),
            "store": (two, asm("sd", rs1=11)),
        }[end]
        bare.put(CODE + 64, word)
        two.cpu.x[11] = one.cpu.x[10]
        who.cpu.sip = who.cpu.sie = SSIP  # or it would wait
        who.cpu.pc = CODE + 64
        assert bare.run(1, who) == exits.LIMIT
    assert [hart.cpu.reservation_live for hart in (one, two)] == [0, 1]
    assert sum(bare.machine.reservations) == 1
    bare.close()


def test_a_watched_hart_comes_back_at_each_trap(bare: Bare) -> None:
    bare.cpu.watches_traps = 1
    bare.put(CODE, NOP, asm("ebreak"))
    bare.put(HANDLER, NOP, asm("ebreak"))
    assert bare.run(100) == exits.TRAP
    assert (bare.hart.instructions, bare.cpu.pc) == (1, HANDLER)
    assert bare.trap() == (3, CODE + 4, CODE + 4)
    assert bare.run(100) == exits.TRAP
    assert (bare.hart.instructions, bare.cpu.pc, bare.cpu.sepc) == (2, HANDLER, HANDLER + 4)


def test_a_watched_hart_comes_back_where_nothing_can_be_fetched(bare: Bare) -> None:
    bare.cpu.watches_traps = 1
    bare.put(CODE, asm("jalr"))
    assert bare.run(100) == exits.TRAP
    assert (bare.hart.instructions, bare.cpu.pc) == (1, HANDLER)
    assert bare.trap() == (1, 0, 0)


def test_a_watched_hart_comes_back_at_an_interrupt(bare: Bare) -> None:
    bare.cpu.watches_traps = 1
    bare.put(CODE, NOP, asm("jal", imm=-4))
    bare.cpu.sie, bare.cpu.status = SSIP, SSTATUS_SIE
    assert bare.run(1500) == exits.LIMIT
    bare.hart.interrupt(SSIP, True)
    assert bare.run(1000) == exits.TRAP
    assert (bare.hart.instructions, bare.cpu.pc, bare.cpu.sepc) == (1500, HANDLER, CODE)


def test_where_there_is_no_room_the_code_goes_that_was_not_executed_for_longest(bare: Bare) -> None:
    """A loop that calls a function on a further page each time stays decoded; of the others the last are there."""
    pages, room, first = 100, 16, CODE + PAGE
    bare.cpu.block_count = room
    loop = [asm("jalr", rd=1, rs1=6), asm("add", rd=6, rs1=6, rs2=7), asm("addi", rd=5, rs1=5, imm=-1), asm("bne", rs1=5, imm=-12)]
    bare.put(CODE, *loop, asm("jal"))
    for number in range(pages):
        bare.put(first + number * PAGE, asm("addi", rd=8, rs1=8, imm=1), asm("jalr", rs1=1))
    bare.cpu.x[5], bare.cpu.x[6], bare.cpu.x[7] = pages, first, PAGE
    place = bare.machine.processor.functions["decoded_marks"]
    marks = (ctypes.c_uint64 * (RECORDS // 64))()

    def decoded() -> list[int]:
        pages = [place(bare.hart.address, number, ctypes.addressof(marks)) for number in range(room)]
        return [page - 1 - (CODE - RAM_BASE) // PAGE for page in pages if page]

    bare.run(6 * 10)
    mine = decoded().index(0)
    bare.run(6 * (pages - 10))
    assert bare.cpu.x[8] == pages
    assert bare.cpu.blocks_used == room
    assert decoded().index(0) == mine
    assert pages in decoded()
    assert min(page for page in decoded() if page) > pages - room
