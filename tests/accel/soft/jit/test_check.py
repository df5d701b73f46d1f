"""`--jit check`: regions are repeated by the interpreter, and what differs is found, told and kept."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gasang.accel.soft.jit.check import REASONS, SLICE, Turn
from gasang.accel.soft.jit.difference import FOLDER, RegionDifferenceError
from gasang.accel.soft.jit.messages import Request
from gasang.accel.soft.jit.worker import answer
from gasang.accel.soft.machine import CHECK, ON
from gasang.cpus.riscv64 import check_shadow as native
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.check_state import CheckedRegion
from gasang.cpus.riscv64.mmu import PTE_A, PTE_D, PTE_R, PTE_W, PTE_X
from gasang.cpus.riscv64.state import PAGE_SIZE, SUPERVISOR
from gasang.native.types import instance
from support.bare import CODE, Bare, asm
from support.machines import bare_machine
from support.regions import DATA, AtOnce, Compiling, everything, prepare
from support.supervised import eventually

PATIENCE = 120
SV39 = 8 << 60
LEAF = PTE_R | PTE_W | PTE_A | PTE_D
STORE = asm("sd", rs1=2, rs2=10, imm=8)
LOOP = [asm("add", rd=10, rs1=10, rs2=5), STORE, asm("addi", rd=5, rs1=5, imm=1), asm("jal", rd=0, imm=-12)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where reports are kept."""
    monkeypatch.setenv("GASANG_HOME", str(tmp_path))
    return tmp_path / "data" / FOLDER


def checked(compiling: Compiling) -> tuple[int, int]:
    """(runs, instructions) of all regions."""
    regions = compiling.regions.report().regions
    return sum(region.entered for region in regions), sum(region.executed for region in regions)


@pytest.mark.parametrize("seed", [104, 106, 107])
def test_random_programs_are_checked_and_execute_as_ever(make_bare: Callable[..., Bare], seed: int) -> None:
    plain, compiled = make_bare(), make_bare()
    compiling = Compiling(compiled, hot_after=1, checked=True)
    for bare in (plain, compiled):
        prepare(bare, seed)
    rng = random.Random(seed)
    reason = exits.LIMIT
    while reason == exits.LIMIT:
        count = rng.choice((7, 900, 9000, 20_000, 100_000))
        reason = plain.run(count)
        assert compiling.run(count) == reason
        assert everything(compiled) == everything(plain)
    entered, executed = checked(compiling)
    assert entered > 150
    assert executed > 1000


def wrong(find: bytes, put: bytes) -> type[AtOnce]:
    """A compile service that takes one instruction for another."""

    class Wrong(AtOnce):
        def ask(self, heat: int, request: Request) -> list[int]:
            pages = {delta: page._replace(content=page.content.replace(find, put)) for delta, page in request.pages.items()}
            self.asked.append(request)
            self._answered(answer(request._replace(pages=pages)))
            return []

    return Wrong


NOP = asm("addi")


@pytest.mark.parametrize(
    ("find", "put", "says"),
    [
        (LOOP[0], asm("sub", rd=10, rs1=10, rs2=5), "a0 "),
        (STORE, asm("sd", rs1=2, rs2=10, imm=16), "memory at 0x80100008: "),
        (STORE, NOP, "only the interpreter stored to 0x80100008"),
        (LOOP[2], asm("fadd.d", fd=1, fs1=2, fs2=3), "ft1 "),
        (LOOP[2], asm("flw", fd=1, rs1=2, imm=0), "ft1 "),
        (LOOP[3], asm("jal", rd=0, imm=-8), "a0 "),
    ],
)
def test_a_wrong_region_is_found_out(make_bare: Callable[..., Bare], home: Path, find: bytes, put: bytes, says: str) -> None:
    bare = make_bare()
    bare.put(CODE, *LOOP)
    bare.cpu.x[2], bare.cpu.x[5], bare.cpu.f[2], bare.cpu.f[3] = DATA, 7, 0x3FF8000000000000, 0x3FF8000000000001
    compiling = Compiling(bare, checked=True, service=wrong(find, put))
    assert compiling.run(1_000_000) == exits.DIFFERENCE
    with pytest.raises(RegionDifferenceError, match=f"compiled region 0 at {CODE:#x}") as told:
        bare.machine.tell_difference(bare.hart)
    assert says in str(told.value)
    assert f"{CODE:#x}: add a0,a0,t0; " in str(told.value)
    [report] = home.iterdir()
    kept = json.loads(report.read_text())
    assert (kept["region"], kept["pc"], kept["origin"], kept["places"]) == (0, CODE, CODE, [0, 4, 8, 12])
    assert bytes.fromhex(kept["pages"]["0"]).startswith(b"".join(LOOP))
    before = {name: int(value, 16) for name, value in zip(("a0", "t0"), (kept["before"]["x"][10], kept["before"]["x"][5]), strict=True)}
    assert before["a0"] == sum(range(7, before["t0"]))  # each round before was right
    if put != NOP:
        assert bytes.fromhex(kept["memory"][f"{DATA:#x}"])[8:16] == (before["a0"]).to_bytes(8, "little")


def test_code_that_others_have_changed_since_the_last_fence_is_no_difference(make_bare: Callable[..., Bare]) -> None:
    """What was decoded is of one content, the region of another: until it fences, the hart may execute either."""
    ones, twos, back = asm("addi", rd=10, rs1=10, imm=1), asm("addi", rd=10, rs1=10, imm=2), asm("jal", rd=0, imm=-4)
    bare = make_bare()
    bare.put(CODE, ones, back)
    compiling = Compiling(bare, checked=True)
    assert compiling.run(100_000) == exits.LIMIT
    entered, _ = checked(compiling)
    bare.put(CODE, twos)
    bare.machine.processor.functions["forget_all_blocks"](bare.hart.address)
    bare.cpu.pc = CODE
    assert bare.run(10) == exits.LIMIT  # decoded anew
    bare.put(CODE, ones)
    bare.cpu.pc = CODE
    compiling.regions.look(bare.hart)
    before = int(bare.cpu.x[10])
    assert compiling.run(10_000) == exits.LIMIT
    assert checked(compiling)[0] > entered
    assert bare.cpu.x[10] == before + 10_000  # two for each round, as the interpreter has decoded it
    bare.cpu.dirty_count = 0  # had nobody changed anything, it were one
    assert compiling.run(10_000) == exits.DIFFERENCE


def test_a_page_that_has_two_names(make_bare: Callable[..., Bare]) -> None:
    """A store by one name is loaded by the other, inside the region's copy too."""
    bare = make_bare()
    compiling = Compiling(bare, checked=True)
    root = bare.new_table()
    bare.map(root, 3, 0x10000, CODE, LEAF | PTE_X)
    for name in (0x20000, 0x30000):
        bare.map(root, 3, name, DATA, LEAF)
    bare.enter(SUPERVISOR, SV39 | root >> 12)
    program = [
        asm("ld", rd=10, rs1=7, imm=0),
        asm("addi", rd=10, rs1=10, imm=1),
        asm("sd", rs1=6, rs2=10, imm=0),
        asm("ld", rd=11, rs1=7, imm=0),
        asm("add", rd=12, rs1=12, rs2=11),
        asm("jal", rd=0, imm=-20),
    ]  # fmt: skip
    bare.put(CODE, *program)
    bare.set_word(DATA, 0)
    bare.cpu.x[6], bare.cpu.x[7], bare.cpu.pc = 0x20000, 0x30000, 0x10000
    assert compiling.run(60_000) == exits.LIMIT
    assert checked(compiling)[1] > 10_000
    assert (bare.word(DATA), bare.cpu.x[12]) == (10_000, 10_000 * 10_001 // 2)


def test_atomic_instructions_are_checked_inside_regions(make_bare: Callable[..., Bare]) -> None:
    bare = make_bare()
    compiling = Compiling(bare, checked=True)
    bare.put(CODE, asm("amoadd.d", rd=10, rs1=2, rs2=7), asm("addi", rd=5, rs1=5, imm=1), asm("jal", rd=0, imm=-8))
    bare.cpu.x[2], bare.cpu.x[7] = DATA, 3
    bare.set_word(DATA, 0)
    assert compiling.run(90_000) == exits.LIMIT
    assert (bare.word(DATA), bare.cpu.x[10]) == (90_000, 89_997)
    runs, executed = checked(compiling)
    assert executed > 100 * runs  # else each run would end at the first


def test_a_machine_is_checked_while_devices_write(make_bare: Callable[..., Bare]) -> None:
    """A region adds up what a device changes all the time: no value is taken for another."""
    program = [asm("ld", rd=11, rs1=2, imm=0), asm("add", rd=10, rs1=10, rs2=11), asm("jal", rd=0, imm=-8)]
    machine = bare_machine(b"".join(program), jit=CHECK)
    try:
        place = machine.ram.base + 2 * PAGE_SIZE
        machine.harts[0].cpu.x[2] = place
        machine.start(machine.ram.base, 0)
        regions = machine.regions
        assert regions is not None
        written = 0

        def written_enough() -> bool:
            nonlocal written
            for _ in range(100):
                written += 1
                machine.ram.write(place, written.to_bytes(8, "little"))
            return regions.report().executed > 100_000 and written > 2000

        eventually(written_enough, PATIENCE)
        assert machine.failure is None
    finally:
        machine.stop()
        machine.join()
        machine.close()


def test_two_harts_are_checked_in_turn() -> None:
    """Both add to the same word, atomically: nothing is lost, and nobody starves."""
    program = [asm("amoadd.d", rd=10, rs1=2, rs2=7), asm("addi", rd=5, rs1=5, imm=1), asm("jal", rd=0, imm=-8)]
    machine = bare_machine(b"".join(program), harts=2, jit=CHECK)
    try:
        regions, place = machine.regions, machine.ram.base + 2 * PAGE_SIZE
        assert regions is not None
        machine.start(machine.ram.base, 0)
        machine.harts[1].begin(machine.ram.base, 1, 0)
        machine.pause(PATIENCE)
        for hart in machine.harts:
            hart.cpu.x[2], hart.cpu.x[7], hart.cpu.x[5], hart.cpu.pc = place, 1, 0, machine.ram.base
        machine.ram.write(place, bytes(8))
        machine.resume()
        eventually(lambda: regions.report().executed > 200_000 and all(hart.instructions > 50_000 for hart in machine.harts), PATIENCE)
        machine.pause(PATIENCE)
        added = sum(int(hart.cpu.x[5]) + int(hart.cpu.pc == machine.ram.base + 4) for hart in machine.harts)
        assert int.from_bytes(machine.ram.read(place, 8), "little") == added
        machine.resume()
        assert machine.failure is None
    finally:
        machine.stop()
        machine.join()
        machine.close()


@pytest.mark.parametrize("jit", [ON, CHECK])
def test_code_is_overwritten_by_another_hart_all_the_time(jit: str) -> None:
    """Hart 0 adds 1 or 2 to a0, as the instruction says that hart 1 writes; it fences each 64 rounds."""
    adds = [asm("addi", rd=10, rs1=10, imm=step) for step in (1, 2)]
    program = [
        adds[0],
        asm("addi", rd=5, rs1=5, imm=1),
        asm("andi", rd=6, rs1=5, imm=63),
        asm("bne", rs1=6, rs2=0, imm=-12),
        asm("fence.i"),
        asm("jal", rd=0, imm=-20),
    ]  # fmt: skip
    writer = [asm("sw", rs1=2, rs2=7, imm=0), asm("sw", rs1=2, rs2=8, imm=0), asm("jal", rd=0, imm=-8)]
    machine = bare_machine(b"".join(program), harts=2, jit=jit)
    try:
        regions, first, second = machine.regions, *machine.harts
        assert regions is not None
        machine.ram.write(machine.ram.base + PAGE_SIZE, b"".join(writer))
        second.cpu.x[2], second.cpu.x[7], second.cpu.x[8] = machine.ram.base, *(int.from_bytes(add, "little") for add in adds)
        machine.start(machine.ram.base, 0)
        eventually(lambda: regions.statistics.placed > 0, PATIENCE)
        machine.pause(PATIENCE)
        first.cpu.x[5], first.cpu.x[10], first.cpu.pc = 0, 0, machine.ram.base
        machine.resume()
        second.begin(machine.ram.base + PAGE_SIZE, 1, 0)
        begun = machine.instructions
        eventually(lambda: machine.instructions > begun + 3_000_000 and first.instructions > 1_000_000, PATIENCE)
        machine.pause(PATIENCE)
        rounds = int(first.cpu.x[5])
        assert rounds <= int(first.cpu.x[10]) <= 2 * rounds + 2
        machine.resume()
        assert machine.failure is None
    finally:
        machine.stop()
        machine.join()
        machine.close()


def test_a_fork_is_checked_by_itself(make_bare: Callable[..., Bare]) -> None:
    """What the fork executes is nothing that the parent's check sees."""
    bare = make_bare()
    compiling = Compiling(bare, checked=True)
    bare.put(CODE, *LOOP)
    bare.cpu.x[2] = DATA
    compiling.run(10_000)
    bare.machine.make_private()
    pid = os.fork()
    if pid == 0:
        compiling.regions.forget_parent()
        os._exit(int(compiling.run(5_003) != exits.LIMIT or bare.hart.instructions != 15_003))
    state = everything(bare)
    assert os.waitpid(pid, 0) == (pid, 0)
    assert everything(bare) == state
    before = checked(compiling)[1]
    assert compiling.run(10_000) == exits.LIMIT
    assert checked(compiling)[1] > before


def test_reasons_have_the_names_of_their_numbers() -> None:
    numbers = (native.ELSEWHERE, native.FAR, native.POLL, native.ON_LOAD, native.ON_STORE, native.ON_ATOMIC, native.ON_FLOAT)
    assert [REASONS[number] for number in numbers] == ["elsewhere", "far", "poll", "load", "store", "atomic", "float"]
    assert (REASONS[native.ON_SYSTEM], REASONS[native.PASSED]) == ("system", "passed")
    assert len(REASONS) <= len(instance(CheckedRegion).exits)


def test_turns_are_taken_in_order_and_who_stays_long_is_nudged() -> None:
    nudged: list[object] = []
    turn, first, second, third = Turn(nudged.append), object(), object(), object()
    order: list[object] = []
    turn.take(first)  # type: ignore[arg-type]

    def want(who: object) -> None:
        turn.take(who)  # type: ignore[arg-type]
        order.append(who)
        turn.give()

    threads = []
    for number, who in enumerate((second, third)):
        threads.append(threading.Thread(target=want, args=(who,)))
        threads[-1].start()
        eventually(lambda number=number: len(turn._asked) == number + 2, PATIENCE)
    eventually(lambda: first in nudged, PATIENCE)
    turn.give()
    for thread in threads:
        thread.join()
    assert order == [second, third]
    assert SLICE < 0.1
