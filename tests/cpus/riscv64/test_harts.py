"""What harts ask of each other: answered in the run loop while the others execute, and by the firmware else."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from gasang.accel.soft.hart import Hart
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.harts import ALL_HARTS, IPI, RFENCE
from gasang.cpus.riscv64.mmu import PTE_A, PTE_D, PTE_R, PTE_W, SATP_SV39
from gasang.cpus.riscv64.state import SUPERVISOR
from gasang.cpus.riscv64.trap import SSIP, STIP
from gasang.cpus.riscv64.waits import DOZE, DOZING, EXECUTING, OUTSIDE, SHORT_WAIT
from support.bare import CODE, Bare, asm, make_bare
from support.lockstep.state import PAGE, RAM_BASE

__all__ = ["make_bare"]

SFENCE = 1
BOTH, SECOND = 0b11, 0b10
ELSEWHERE, FURTHER = CODE + 4 * PAGE, CODE + 8 * PAGE
WINDOW = 0x4000_0000
SECONDS = 30.0
"""What none of these takes."""


@pytest.fixture
def pair(make_bare: Callable[..., Bare]) -> Bare:
    return make_bare(2)


def call(bare: Bare, extension: int, function: int, mask: int, base: int = 0, hart: Hart | None = None) -> int:
    """Make an environment call; why the run loop was left: LIMIT where it was answered in it."""
    hart = hart or bare.hart
    bare.put(CODE, asm("ecall"))
    hart.cpu.pc = CODE
    hart.cpu.x[10], hart.cpu.x[11], hart.cpu.x[16], hart.cpu.x[17] = mask, base, function, extension
    return bare.run(1, hart)


def asked(hart: Hart) -> int:
    """What a hart is asked, beside what whoever decodes a page asks of each."""
    return int(hart.cpu.requests) & ~exits.REQUEST_FLUSH_WRITES


@contextmanager
def executing(bare: Bare, hart: Hart, code: bytes) -> Iterator[None]:
    """Have a thread execute an endless program on a hart meanwhile."""
    bare.put(ELSEWHERE, code)
    hart.cpu.pc, hart.cpu.remaining = ELSEWHERE, 1 << 60
    reasons: list[int] = []
    thread = threading.Thread(target=lambda: reasons.append(hart.step()))
    thread.start()
    while not hart.cpu.inside:
        time.sleep(0)
    try:
        yield
    finally:
        hart.request(exits.REQUEST_STOP)
        thread.join()
    assert reasons == [exits.STOPPED]


@pytest.mark.parametrize(("mask", "base"), [(SECOND, 0), (1, 1), (0, ALL_HARTS)])
def test_an_interrupt_for_a_hart_that_executes_is_no_exit(pair: Bare, mask: int, base: int) -> None:
    one, two = pair.machine.harts
    two.cpu.inside = 1
    assert call(pair, IPI, 0, mask, base) == exits.LIMIT
    assert two.cpu.sip == SSIP
    assert one.cpu.sip == (SSIP if base == ALL_HARTS else 0)
    assert (pair.cpu.pc, pair.cpu.x[10], pair.cpu.x[11]) == (CODE + 4, 0, 0)


def test_a_hart_outside_its_run_loop_is_woken_by_the_firmware(pair: Bare) -> None:
    assert call(pair, IPI, 0, SECOND) == exits.SBI
    assert pair.machine.harts[1].cpu.sip == 0
    assert (pair.cpu.pc, pair.cpu.x[10], pair.cpu.x[17]) == (CODE, SECOND, IPI)


@pytest.mark.parametrize(("mask", "base"), [(0b100, 0), (SECOND, 1), (1, 2), (1, 63), (0, 64), (1, ALL_HARTS - 1), (1 << 63, 0)])
@pytest.mark.parametrize(("extension", "function"), [(IPI, 0), (RFENCE, SFENCE)])
def test_harts_that_are_none_are_the_firmwares_to_refuse(pair: Bare, extension: int, function: int, mask: int, base: int) -> None:
    for hart in pair.machine.harts:
        hart.cpu.inside = 1
    assert call(pair, extension, function, mask, base) == exits.SBI
    assert [(hart.cpu.sip, asked(hart)) for hart in pair.machine.harts] == [(0, 0), (0, 0)]


@pytest.mark.parametrize(("extension", "function"), [(IPI, 1), (RFENCE, 3), (RFENCE, 6), (0x10, 0), (0x48534D, 2)])
def test_other_calls_are_the_firmwares(pair: Bare, extension: int, function: int) -> None:
    pair.machine.harts[1].cpu.inside = 1
    assert call(pair, extension, function, SECOND) == exits.SBI


@pytest.mark.parametrize("field", ["multi", "watches_traps"])
def test_a_hart_that_is_alone_or_watched_asks_the_firmware(pair: Bare, field: str) -> None:
    pair.machine.harts[1].cpu.inside = 1
    setattr(pair.cpu, field, int(field != "multi"))
    assert call(pair, IPI, 0, SECOND) == exits.SBI


def test_a_fence_for_a_hart_that_does_not_execute_comes_before_its_next_instruction(pair: Bare) -> None:
    one, two = pair.machine.harts
    root = pair.new_table()
    slot = pair.map(root, 3, WINDOW, RAM_BASE + 0x10000, PTE_R | PTE_W | PTE_A | PTE_D)
    pair.map(root, 3, ELSEWHERE, ELSEWHERE, PTE_R | PTE_A | 8)
    pair.set_word(RAM_BASE + 0x10000, 1)
    pair.set_word(RAM_BASE + 0x11000, 2)
    pair.put(ELSEWHERE, asm("ld", rd=5, rs1=6), asm("ld", rd=7, rs1=6))
    two.cpu.x[6], two.cpu.pc, two.cpu.privilege, two.cpu.satp = WINDOW, ELSEWHERE, SUPERVISOR, SATP_SV39 << 60 | root >> 12
    pair.machine.processor.functions["enter_context"](two.address)
    assert pair.run(1, two) == exits.LIMIT
    pair.set_word(slot, (RAM_BASE + 0x11000) >> 12 << 10 | PTE_R | PTE_W | PTE_A | PTE_D | 1)
    assert call(pair, RFENCE, SFENCE, SECOND) == exits.LIMIT
    assert asked(two) == exits.REQUEST_FLUSH_TLB
    assert pair.run(1, two) == exits.LIMIT
    assert (two.cpu.x[5], two.cpu.x[7]) == (1, 2)
    assert one.cpu.x[10] == 0


def test_a_hart_that_does_not_answer_is_the_firmwares(pair: Bare) -> None:
    two = pair.machine.harts[1]
    two.cpu.inside = 1
    assert call(pair, RFENCE, SFENCE, SECOND) == exits.SBI
    assert (pair.cpu.pc, asked(two)) == (CODE, exits.REQUEST_FLUSH_TLB)


@pytest.mark.parametrize(("state", "reason"), [(exits.MMIO_IDLE, exits.LIMIT), (exits.MMIO_ASKED, exits.SBI), (exits.MMIO_DONE, exits.SBI)])
def test_a_hart_in_the_middle_of_an_instruction_is_waited_for(pair: Bare, state: int, reason: int) -> None:
    """It would finish that, and go on to its next poll, with what it knows."""
    pair.machine.harts[1].cpu.mmio_state = state
    assert call(pair, RFENCE, SFENCE, SECOND) == reason


def test_a_fence_is_over_when_it_is_done_and_not_when_it_is_begun(pair: Bare) -> None:
    two, over = pair.machine.harts[1], threading.Event()
    two.cpu.inside = two.cpu.serving = 1

    def take_requests_back() -> None:
        while not over.is_set():
            two.cpu.requests = 0

    thread = threading.Thread(target=take_requests_back)
    thread.start()
    try:
        assert {call(pair, RFENCE, SFENCE, SECOND) for _ in range(50)} == {exits.SBI}
        two.cpu.serving = 0
        end = time.monotonic() + SECONDS
        while call(pair, RFENCE, SFENCE, SECOND) != exits.LIMIT:
            assert time.monotonic() < end
    finally:
        over.set()
        thread.join()


def test_a_hart_that_executes_serves_fences_and_stays_in_its_run_loop(pair: Bare) -> None:
    two = pair.machine.harts[1]
    answered = 0
    with executing(pair, two, asm("jal")):
        end = time.monotonic() + SECONDS
        while answered < 20 and time.monotonic() < end:  # on a busy host many are not answered in time
            if call(pair, RFENCE, SFENCE, BOTH) == exits.LIMIT:
                answered += 1
                assert two.cpu.requests & exits.REQUEST_FLUSH_TLB == 0
        assert two.cpu.inside == EXECUTING
    assert answered == 20


def test_two_harts_that_fence_each_other_both_go_on(pair: Bare) -> None:
    loop = asm("addi", rd=10, imm=BOTH) + asm("addi", rd=11) + asm("ecall") + asm("addi", rd=5, rs1=5, imm=-1) + asm("bne", rs1=5, imm=-16)
    for hart in pair.machine.harts:
        hart.cpu.x[16], hart.cpu.x[17], hart.cpu.x[5], hart.cpu.pc = SFENCE, RFENCE, 3000, CODE
        hart.cpu.remaining, hart.cpu.futex = 1 << 60, 0
    pair.put(CODE, loop, asm("wfi"), asm("jal", imm=-4))  # a wait may end for what the other asks
    late = []

    def live(hart: Hart) -> None:
        while (reason := hart.step()) != exits.WAIT:
            assert reason == exits.SBI
            late.append(hart.number)  # it is asked again

    threads = [threading.Thread(target=live, args=(hart,), daemon=True) for hart in pair.machine.harts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    assert [int(hart.cpu.x[5]) for hart in pair.machine.harts] == [0, 0]
    assert len(late) < 3000


@contextmanager
def waiting(bare: Bare, hart: Hart, state: int) -> Iterator[list[int]]:
    """Have a thread execute a wait for SSIP and one instruction more; once the hart is in `state`, until it has left its run loop."""
    bare.put(ELSEWHERE, asm("wfi"), asm("addi", rd=6, imm=1))
    hart.cpu.pc, hart.cpu.sie = ELSEWHERE, SSIP
    reasons: list[int] = []
    thread = threading.Thread(target=lambda: reasons.append(bare.run(2, hart)))
    thread.start()
    while hart.cpu.inside != state:
        time.sleep(0)
    yield reasons
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_a_patient_wait_ends_with_an_interrupt_inside_the_run_loop(pair: Bare) -> None:
    pair.cpu.patience = 1 << 40
    with waiting(pair, pair.hart, EXECUTING) as reasons:
        pair.hart.interrupt(SSIP, True)
    assert reasons == [exits.LIMIT]
    assert pair.cpu.x[6] == 1


def test_a_hart_that_dozes_is_woken_from_outside(pair: Bare) -> None:
    with waiting(pair, pair.hart, DOZING) as reasons:
        pair.hart.interrupt(SSIP, True)
    assert reasons == [exits.LIMIT]
    assert (pair.cpu.x[6], pair.cpu.inside) == (1, OUTSIDE)


def test_a_hart_that_dozes_is_woken_by_another_from_its_run_loop(pair: Bare) -> None:
    two = pair.machine.harts[1]
    with waiting(pair, two, DOZING) as reasons:
        assert call(pair, IPI, 0, SECOND) in (exits.LIMIT, exits.SBI)  # it may have left its run loop again by then
    assert reasons == [exits.LIMIT]
    assert two.cpu.x[6] == 1


def test_a_hart_that_dozes_stops_when_asked(pair: Bare) -> None:
    with waiting(pair, pair.hart, DOZING) as reasons:
        pair.hart.request(exits.REQUEST_STOP)
    assert reasons == [exits.STOPPED]
    assert pair.cpu.x[6] == 0


def test_a_hart_that_dozes_serves_a_fence_when_it_wakes(pair: Bare) -> None:
    two = pair.machine.harts[1]
    with waiting(pair, two, DOZING):
        assert call(pair, RFENCE, SFENCE, SECOND) == exits.LIMIT
        assert (two.cpu.inside, asked(two)) == (DOZING, exits.REQUEST_FLUSH_TLB)
        two.interrupt(SSIP, True)
    assert asked(two) == 0


def test_a_hart_dozes_until_its_timer(pair: Bare) -> None:
    time_of = pair.machine.processor.functions["time_of"]
    pair.put(CODE, asm("wfi"))
    pair.cpu.sie, pair.cpu.stimecmp = STIP, time_of(pair.hart.address) + 50_000
    assert pair.run(1) == exits.LIMIT
    assert time_of(pair.hart.address) >= pair.cpu.stimecmp
    assert pair.cpu.sip & STIP


def test_a_wait_that_lasts_is_the_threads(pair: Bare) -> None:
    time_of = pair.machine.processor.functions["time_of"]
    pair.put(CODE, asm("wfi"))
    pair.cpu.sie = SSIP
    began = time_of(pair.hart.address)
    assert pair.run(1) == exits.WAIT
    assert time_of(pair.hart.address) - began >= DOZE


@pytest.mark.parametrize("field", ["futex", "watches_traps"])
def test_a_hart_that_cannot_doze_or_is_watched_leaves_its_run_loop(field: str, pair: Bare) -> None:
    time_of = pair.machine.processor.functions["time_of"]
    pair.put(CODE, asm("wfi"))
    setattr(pair.cpu, field, int(field != "futex"))
    began = time_of(pair.hart.address)
    assert pair.run(1) == exits.WAIT
    assert time_of(pair.hart.address) - began < DOZE


def test_patience_ends(pair: Bare) -> None:
    pair.put(CODE, asm("wfi"))
    time_of = pair.machine.processor.functions["time_of"]
    pair.cpu.sie, pair.cpu.patience, pair.cpu.futex = SSIP, 20_000, 0
    began = time_of(pair.hart.address)
    assert pair.run(1) == exits.WAIT
    assert time_of(pair.hart.address) - began >= 20_000
    pair.cpu.pc, pair.cpu.patience = CODE, 0
    assert pair.run(1) == exits.WAIT


def test_patience_follows_how_long_waits_are(pair: Bare) -> None:
    """A doze that is over before it begins is the shortest; one until the timer is as long as that takes."""
    time_of = pair.machine.processor.functions["time_of"]
    pair.cpu.eager = SHORT_WAIT
    pair.put(CODE, asm("wfi"))
    pair.cpu.sie, pair.cpu.stimecmp = STIP, time_of(pair.hart.address) + 10 * SHORT_WAIT
    assert pair.run(1) == exits.LIMIT
    assert pair.cpu.patience == 0
    for _ in range(1000):  # a host that is busy wakes late
        pair.cpu.pc, pair.cpu.stimecmp = CODE, time_of(pair.hart.address) + SHORT_WAIT // 4
        assert pair.run(1) == exits.LIMIT
        if pair.cpu.patience:
            break
    assert pair.cpu.patience == SHORT_WAIT


def test_a_hart_alone_or_short_of_processors_does_not_wait_awake(make_bare: Callable[..., Bare], monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_bare(1).cpu.eager == 0
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert make_bare(2).cpu.eager == 0


def test_doubt_is_about_the_page_that_was_decoded(pair: Bare) -> None:
    """Another hart that does not answer in time may have written to that page, and to no other."""
    pair.put(CODE, asm("jalr", rs1=5))
    pair.put(FURTHER, asm("fence.i"))
    pair.cpu.pc = FURTHER
    assert pair.run(1) == exits.LIMIT  # decoded while nobody else executes
    pair.cpu.pc, pair.cpu.x[5] = CODE, FURTHER
    pair.machine.harts[1].cpu.inside = 1
    assert pair.run(1) == exits.LIMIT
    pages = [(address - RAM_BASE) >> 12 for address in (CODE, FURTHER)]
    assert (pair.cpu.dirty_count, pair.cpu.dirty[0]) == (1, pages[0])
    blocks = (ctypes.c_uint32 * (pages[1] + 1)).from_address(pair.cpu.code_map)
    assert [bool(blocks[page]) for page in pages] == [True, True]
    assert pair.run(1) == exits.LIMIT
    assert [bool(blocks[page]) for page in pages] == [False, True]
    assert pair.cpu.dirty_count == 0


def test_an_answer_is_to_what_was_served(pair: Bare) -> None:
    """A hart that leaves its run loop for something else just when it is asked has not done yet what it is asked."""
    two = pair.machine.harts[1]
    ticket = two.ask_answer(exits.REQUEST_FLUSH_TLB)
    two.answer()
    assert two.answers < ticket
    two.answer_requests()
    assert two.answers == ticket
    assert two.cpu.requests == 0
