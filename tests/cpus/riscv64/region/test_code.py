"""Compiled regions and the interpreter: the same registers, memory, traps and counts, whatever the program."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable
from functools import partial

import pytest

from gasang.accel.soft.jit.messages import Request
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.mmu import PTE_A, PTE_D, PTE_R, PTE_W, PTE_X
from gasang.cpus.riscv64.state import SUPERVISOR
from support.bare import CODE, Bare, asm
from support.lockstep.state import PAGE
from support.regions import DATA, SP, AtOnce, Briefly, Compiling, everything, prepare

ENOUGH = 40_000
LONG = 5_000_000
ENDLESS = 2009
"""The seed of a program that overwrites its own end."""
LEAF = PTE_R | PTE_W | PTE_X | PTE_A | PTE_D
SV39 = 8 << 60
VIRTUAL = 0x10000
CompileHot = Callable[[Bare], Compiling]


@pytest.fixture(params=[(False, AtOnce), (True, AtOnce), (False, Briefly), (True, Briefly)], ids=["on", "check", "brief", "check-brief"])
def compile_hot(request: pytest.FixtureRequest) -> CompileHot:
    """Makes a bare machine compile its hot code, and check it."""
    checked, service = request.param
    return partial(Compiling, checked=checked, service=service)


@pytest.mark.parametrize("seed", [*range(100, 112), ENDLESS])
def test_random_programs(make_bare: Callable[..., Bare], compile_hot: CompileHot, seed: int) -> None:
    plain, compiled = make_bare(), make_bare()
    compiling = compile_hot(compiled)
    for bare in (plain, compiled):
        prepare(bare, seed)
    rng = random.Random(seed)
    reason = exits.LIMIT
    while reason == exits.LIMIT and plain.hart.instructions < LONG:
        count = rng.choice((7, 900, 9000, 20_000, 100_000))
        reason = plain.run(count)
        assert compiling.run(count) == reason
        assert everything(compiled) == everything(plain)
    assert reason == (exits.LIMIT if seed == ENDLESS else exits.SBI)
    assert compiling.regions.statistics.placed > 0


def counting(times: int) -> list[bytes]:
    """x5 counts up to `times` in x6, adding x7 to x10 each time; then an environment call."""
    return [
        asm("add", rd=10, rs1=10, rs2=7),
        asm("addi", rd=5, rs1=5, imm=1),
        asm("bne", rs1=5, rs2=6, imm=-8),
        asm("ecall"),
    ]  # fmt: skip


def begun(bare: Bare, compiling: Compiling, times: int) -> None:
    """Run a counting loop until it is compiled."""
    bare.put(CODE, *counting(times))
    bare.cpu.x[6], bare.cpu.x[7] = times, 1
    assert compiling.run(ENOUGH) == exits.LIMIT
    assert compiling.regions.statistics.placed > 0


def test_execution_ends_at_just_the_instruction_asked_for(make_bare: Callable[..., Bare], compile_hot: CompileHot) -> None:
    bare = make_bare()
    compiling = compile_hot(bare)
    begun(bare, compiling, 10_000_000)
    before = bare.hart.instructions
    for count in (1, 2, 899, 901, 4096, 12_345, 100_000):
        before += count
        assert compiling.run(count) == exits.LIMIT
        assert bare.hart.instructions == before
        assert (bare.cpu.x[5], bare.cpu.pc) == ((before + 1) // 3, CODE + before % 3 * 4)


def test_a_program_that_changes_itself(make_bare: Callable[..., Bare], compile_hot: CompileHot) -> None:
    bare = make_bare()
    compiling = compile_hot(bare)
    begun(bare, compiling, 100_000)
    changed = int.from_bytes(asm("add", rd=10, rs1=10, rs2=8), "little")
    bare.put(CODE + 0x100, asm("sw", rs1=12, rs2=11, imm=0), asm("fence.i"), asm("jal", rd=0, imm=-0x108))
    bare.cpu.x[11], bare.cpu.x[12], bare.cpu.x[8] = changed, CODE, 1000
    at, sum_before = int(bare.cpu.x[5]), int(bare.cpu.x[10])
    bare.cpu.pc = CODE + 0x100
    assert compiling.run(1_000_000) == exits.SBI
    assert bare.cpu.x[10] == sum_before + 1000 * (100_000 - at)


def test_a_device_changes_the_code_and_the_guest_says_so(make_bare: Callable[..., Bare], compile_hot: CompileHot) -> None:
    bare = make_bare()
    compiling = compile_hot(bare)
    begun(bare, compiling, 100_000)
    bare.machine.ram.write(CODE, asm("add", rd=10, rs1=10, rs2=8))
    bare.put(CODE + 0x2000, asm("fence.i"), asm("jal", rd=0, imm=-0x2004))
    at, before = int(bare.cpu.x[5]), int(bare.cpu.x[10])
    bare.cpu.x[8], bare.cpu.x[5] = 1000, at
    bare.cpu.pc = CODE + 0x2000
    assert compiling.run(1_000_000) == exits.SBI
    assert bare.cpu.x[10] == before + 1000 * (100_000 - at)


def test_a_page_is_mapped_elsewhere(make_bare: Callable[..., Bare], compile_hot: CompileHot) -> None:
    bare = make_bare()
    compiling = compile_hot(bare)
    root = bare.new_table()
    slot = bare.map(root, 3, VIRTUAL, CODE, LEAF)
    bare.enter(SUPERVISOR, SV39 | root >> 12)
    bare.put(CODE, *counting(100_000))
    bare.put(CODE + PAGE, asm("sub", rd=10, rs1=10, rs2=7), *counting(100_000)[1:])
    bare.cpu.x[6], bare.cpu.x[7], bare.cpu.pc = 1_000_000, 1, VIRTUAL
    compiling.run(ENOUGH)
    assert compiling.regions.statistics.placed > 0
    at = int(bare.cpu.x[5])
    bare.set_word(slot, CODE + PAGE >> 12 << 10 | LEAF | 1)
    bare.enter(SUPERVISOR, SV39 | root >> 12)
    bare.cpu.x[10], bare.cpu.pc = 0, VIRTUAL
    compiling.run(30_000)
    assert bare.cpu.x[5] == at + 10_000
    assert bare.cpu.x[10] == (1 << 64) - 10_000


def test_a_loop_on_two_pages_notices_that_the_second_is_another(make_bare: Callable[..., Bare], compile_hot: CompileHot) -> None:
    bare = make_bare()
    compiling = compile_hot(bare)
    root = bare.new_table()
    bare.map(root, 3, VIRTUAL, CODE, LEAF)
    slot = bare.map(root, 3, VIRTUAL + PAGE, CODE + PAGE, LEAF)
    last = PAGE - 4
    bare.put(CODE + last, asm("add", rd=10, rs1=10, rs2=7))
    for page, step in ((CODE + PAGE, 1), (CODE + 2 * PAGE, 2)):
        bare.put(page, asm("addi", rd=5, rs1=5, imm=step), asm("jal", rd=0, imm=-8))
    bare.enter(SUPERVISOR, SV39 | root >> 12)
    bare.cpu.x[7], bare.cpu.pc = 1, VIRTUAL + last
    compiling.run(30_000)
    assert any(len(set(request.pages)) > 1 for request in compiling.regions.service.asked)  # type: ignore[attr-defined]
    compiling.run(30_000)
    assert (bare.cpu.x[5], bare.cpu.x[10]) == (20_000, 20_000)
    bare.set_word(slot, CODE + 2 * PAGE >> 12 << 10 | LEAF | 1)
    bare.enter(SUPERVISOR, SV39 | root >> 12)
    compiling.run(30_000)
    assert (bare.cpu.x[5], bare.cpu.x[10]) == (40_000, 30_000)


def test_a_region_finds_a_page_that_was_flushed_and_is_not_executed_now(make_bare: Callable[..., Bare]) -> None:
    """It could not begin without, and nothing else would enter that page."""
    bare = make_bare()
    compiling = Compiling(bare)
    last = PAGE - 12
    bare.put(CODE + last, asm("addi", rd=5, rs1=5, imm=1), asm("bne", rs1=9, rs2=0, imm=8), asm("jal", rd=0, imm=-8))
    bare.put(CODE + PAGE, asm("addi", rd=10, rs1=10, imm=1), asm("jal", rd=0, imm=-16))
    bare.cpu.x[9], bare.cpu.pc = 1, CODE + last
    compiling.run(30_000)
    assert any(set(request.pages) == {0, 1} for request in compiling.regions.service.asked)  # type: ignore[attr-defined]
    bare.cpu.x[9] = 0
    compiling.run(30_000)
    bare.machine.processor.functions["wipe_tlb"](bare.hart.address)
    bare.machine.processor.functions["enter_context"](bare.hart.address)
    assert place_of(bare, CODE + PAGE) == 0
    compiling.run(30_000)
    assert place_of(bare, CODE + PAGE) > 0
    assert bare.hart.instructions == 90_000


def place_of(bare: Bare, address: int) -> int:
    """The number of the block that the code TLB has for a page."""
    return int(bare.machine.processor.functions["code_place"](bare.hart.address, address))


def test_a_store_into_the_page_of_the_region_that_does_it(make_bare: Callable[..., Bare], compile_hot: CompileHot) -> None:
    plain, compiled = make_bare(), make_bare()
    compiling = compile_hot(compiled)
    program = [
        asm("sd", rs1=12, rs2=5, imm=0),
        asm("ld", rd=11, rs1=12, imm=0),
        asm("add", rd=10, rs1=10, rs2=11),
        asm("addi", rd=5, rs1=5, imm=1),
        asm("bne", rs1=5, rs2=6, imm=-16),
        asm("ecall"),
    ]  # fmt: skip
    for bare in (plain, compiled):
        bare.put(CODE, *program)
        bare.cpu.x[6], bare.cpu.x[12] = 20_000, CODE + 0x800
    assert plain.run(1_000_000) == exits.SBI
    assert compiling.run(1_000_000) == exits.SBI
    assert everything(compiled) == everything(plain)


def test_another_hart_changes_the_code(make_bare: Callable[..., Bare], compile_hot: CompileHot) -> None:
    bare = make_bare(2)
    compiling = compile_hot(bare)
    begun(bare, compiling, 1_000_000)
    other = bare.machine.harts[1]
    bare.put(CODE + 0x3000, asm("sw", rs1=12, rs2=11, imm=0), asm("ecall"))
    other.cpu.x[11], other.cpu.x[12] = int.from_bytes(asm("add", rd=10, rs1=10, rs2=8), "little"), CODE
    other.cpu.pc, other.cpu.hot_after = CODE + 0x3000, 0
    assert bare.run(10, other) == exits.SBI
    bare.put(CODE + 0x2000, asm("fence.i"), asm("jal", rd=0, imm=-0x2004))
    at, before = int(bare.cpu.x[5]), int(bare.cpu.x[10])
    bare.cpu.x[8], bare.cpu.pc = 1000, CODE + 0x2000
    assert compiling.run(3 * 20_000 + 2) == exits.LIMIT
    assert bare.cpu.x[10] == before + 1000 * (int(bare.cpu.x[5]) - at)


def test_a_jump_into_the_middle_of_an_instruction(make_bare: Callable[..., Bare], compile_hot: CompileHot) -> None:
    plain, compiled = make_bare(), make_bare()
    compiling = compile_hot(compiled)
    # The immediate of lui is c.addi x10, 1 when it is entered two bytes later.
    odd = int.from_bytes(asm("c.addi", rd=10, imm=1), "little")
    program = [
        (0x37 | 11 << 7 | odd << 16).to_bytes(4, "little"),
        asm("addi", rd=5, rs1=5, imm=1),
        asm("andi", rd=13, rs1=5, imm=2),
        asm("add", rd=13, rs1=13, rs2=12),
        asm("bge", rs1=5, rs2=6, imm=8),
        asm("jalr", rd=0, rs1=13),
        asm("ecall"),
    ]  # fmt: skip
    for bare in (plain, compiled):
        bare.put(CODE, *program)
        bare.cpu.x[6], bare.cpu.x[12] = 30_000, CODE
    assert plain.run(1_000_000) == exits.SBI
    assert compiling.run(1_000_000) == exits.SBI
    assert everything(compiled) == everything(plain)


def test_floating_point_that_is_off_traps_as_ever(make_bare: Callable[..., Bare], compile_hot: CompileHot) -> None:
    plain, compiled = make_bare(), make_bare()
    compiling = compile_hot(compiled)
    program = [asm("fadd.d", fd=1, fs1=1, fs2=2), asm("addi", rd=5, rs1=5, imm=1), asm("bne", rs1=5, rs2=6, imm=-8), asm("ecall")]
    for bare in (plain, compiled):
        bare.put(CODE, *program)
        bare.cpu.x[6], bare.cpu.f[2] = 100_000, 0x3FF8000000000000
    for bare, run in ((plain, plain.run), (compiled, compiling.run)):
        run(ENOUGH)
        bare.cpu.fs = 0
        bare.cpu.watches_traps = 1
        assert run(1000) == exits.TRAP
    assert compiling.regions.statistics.placed > 0
    assert everything(compiled) == everything(plain)


def test_a_load_that_faults_in_the_middle(make_bare: Callable[..., Bare], compile_hot: CompileHot) -> None:
    plain, compiled = make_bare(), make_bare()
    compiling = compile_hot(compiled)
    program = [
        asm("addi", rd=5, rs1=5, imm=1),
        asm("ld", rd=11, rs1=SP, imm=0),
        asm("add", rd=10, rs1=10, rs2=11),
        asm("addi", rd=SP, rs1=SP, imm=8),
        asm("jal", rd=0, imm=-16),
    ]  # fmt: skip
    for bare in (plain, compiled):
        bare.put(CODE, *program)
        bare.cpu.x[SP] = DATA
        bare.cpu.watches_traps = 1
    assert plain.run(10_000_000) == exits.TRAP
    assert compiling.run(10_000_000) == exits.TRAP
    assert everything(compiled) == everything(plain)


def both(make_bare: Callable[..., Bare], compile_hot: CompileHot, program: list[bytes], **registers: int) -> tuple[Bare, Bare, Compiling]:
    """Two machines with a program, the second of which compiles."""
    plain, compiled = make_bare(), make_bare()
    for bare in (plain, compiled):
        bare.put(CODE, *program)
        for name, value in registers.items():
            bare.cpu.x[int(name[1:])] = value
    return plain, compiled, compile_hot(compiled)


def test_a_jump_by_a_table_stays_inside_and_goes_to_what_was_never_seen(make_bare: Callable[..., Bare], compile_hot: CompileHot) -> None:
    program = [
        asm("addi", rd=5, rs1=5, imm=1),
        asm("and", rd=13, rs1=5, rs2=14),
        asm("slli", rd=13, rs1=13, imm=3),
        asm("add", rd=13, rs1=13, rs2=12),
        asm("jalr", rd=0, rs1=13),
        *(part for case in range(1, 5) for part in (asm("addi", rd=10, rs1=10, imm=case), asm("jal", rd=0, imm=4 * (9 - 2 * case)))),
        asm("bne", rs1=5, rs2=6, imm=-4 * 13),
        asm("ecall"),
    ]
    plain, compiled, compiling = both(make_bare, compile_hot, program, x6=200_000, x12=CODE + 20, x14=1)
    for _ in range(2):
        for bare, run in ((plain, plain.run), (compiled, compiling.run)):
            assert run(90_000) == exits.LIMIT
            bare.cpu.x[14] = 3
        assert everything(compiled) == everything(plain)
    asked = compiling.regions.service.asked  # type: ignore[attr-defined]
    assert any({(16, 20), (16, 28)} <= set(request.jumps) for request in asked)
    entered = [int(compiled.cpu.compiled), compiled.hart.instructions]
    assert entered[0] * 3 > entered[1] or compiling.regions.checks is not None
    assert plain.run(10_000_000) == compiling.run(10_000_000) == exits.SBI
    assert everything(compiled) == everything(plain)


@pytest.mark.parametrize("name", ["div", "remu", "divw", "remuw"])
def test_a_division_by_another_number_than_expected(make_bare: Callable[..., Bare], compile_hot: CompileHot, name: str) -> None:
    program = [
        asm("addi", rd=12, rs1=0, imm=10),
        asm("addi", rd=5, rs1=5, imm=-7),
        asm(name, rd=11, rs1=5, rs2=12),
        asm("add", rd=10, rs1=10, rs2=11),
        asm("bne", rs1=5, rs2=6, imm=-12),
        asm("ecall"),
    ]
    plain, compiled, compiling = both(make_bare, compile_hot, program, x6=1)
    for divisor in (10, 0, (1 << 64) - 1, 3):
        for bare, run in ((plain, plain.run), (compiled, compiling.run)):
            assert run(20_000) == exits.LIMIT
            bare.cpu.x[12], bare.cpu.x[5] = divisor, 1 << 63
        assert everything(compiled) == everything(plain)
    assert compiling.regions.statistics.placed > 0


def test_a_function_that_now_and_then_returns_elsewhere(make_bare: Callable[..., Bare], compile_hot: CompileHot) -> None:
    program = [
        asm("jal", rd=1, imm=20),
        asm("addi", rd=10, rs1=10, imm=1),
        asm("addi", rd=5, rs1=5, imm=1),
        asm("bne", rs1=5, rs2=6, imm=-12),
        asm("ecall"),
        asm("andi", rd=13, rs1=5, imm=1023),
        asm("bne", rs1=13, rs2=0, imm=8),
        asm("addi", rd=1, rs1=1, imm=4),
        asm("jalr", rd=0, rs1=1),
    ]
    plain, compiled, compiling = both(make_bare, compile_hot, program, x6=30_000)
    assert plain.run(10_000_000) == compiling.run(10_000_000) == exits.SBI
    assert everything(compiled) == everything(plain)
    assert compiled.cpu.x[10] == 30_000 - 30
    assert compiling.regions.statistics.placed > 0


def test_jumps_are_noted_as_long_as_they_are_watched(make_bare: Callable[..., Bare]) -> None:
    bare = make_bare()
    functions, noting = bare.machine.processor.functions, bare.machine.processor.noting
    bare.put(CODE, asm("jal", rd=1, imm=8), asm("jalr", rd=0, rs1=12), asm("jalr", rd=0, rs1=1))
    bare.cpu.x[12] = CODE
    assert bare.run(9) == exits.LIMIT

    def watch(watched: int) -> int:
        return int(functions["watch_near"](bare.hart.address, CODE, 1, ctypes.addressof(noting), len(noting) // 2, watched))

    def noted() -> set[tuple[int, int]]:
        return {(int(jump.pc), int(jump.target)) for jump in bare.cpu.jumps if jump.pc}

    assert noted() == set()
    assert [watch(1), watch(1)] == [1, 0]
    assert bare.run(9) == exits.LIMIT
    assert noted() == {(CODE + 4, CODE)}
    assert [watch(0), watch(0)] == [1, 0]
    bare.cpu.x[12] = CODE + 8
    assert bare.run(9) == exits.LIMIT
    assert noted() == {(CODE + 4, CODE)}


class Once(AtOnce):
    """Compiles what is asked for first, and nothing else."""

    def ask(self, heat: int, request: Request) -> list[int]:
        """Compile, or leave it."""
        if self.asked:
            self.asked.append(request)
            return []
        return super().ask(heat, request)


@pytest.mark.parametrize("turns", [33, 48, 64])
def test_what_lies_between_inner_loops_is_sampled(make_bare: Callable[..., Bare], turns: int) -> None:
    """However long the circle around them is, beside the distance of a region's polls."""
    bare = make_bare()
    compiling = Compiling(bare, service=Once)
    inner = [asm("addi", rd=5, rs1=5, imm=-1), *[asm("add", rd=7, rs1=7, rs2=5)] * 98, asm("bne", rs1=5, rs2=0, imm=-4 * 99)]
    outer = [asm("addi", rd=8, rs1=8, imm=1)] * 40
    bare.put(CODE, asm("addi", rd=5, rs1=0, imm=turns), *inner, asm("jal", rd=0, imm=0x400 - 4 * 101))
    bare.put(CODE + 0x400, *outer, asm("jal", rd=0, imm=-0x400 - 4 * len(outer)))
    compiling.run(100_000)
    assert compiling.regions.statistics.placed == 1
    functions = bare.machine.processor.functions
    stretches = [functions["stretch_of"](bare.hart.address, place_of(bare, CODE), 0x400 + 128 * part) for part in range(2)]
    for stretch in stretches:
        functions["set_heat"](bare.hart.address, stretch, 0)
    bare.cpu.hot_after = 1 << 40
    compiling.run(8_000_000)
    share = len(outer) / (100 * turns + 42)
    assert sum(functions["heat_of"](bare.hart.address, stretch) for stretch in stretches) > share * 8_000_000 / 900 / 3
