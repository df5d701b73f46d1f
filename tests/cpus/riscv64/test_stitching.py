"""Stitched code and the interpreter: the same registers, memory, traps and counts, whatever is executed and whatever becomes of it."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable

import pytest

from gasang.accel.soft.stitched import SIZE
from gasang.cpus.instruction_set import Instruction
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.block import RECORDS
from gasang.cpus.riscv64.execute import QUANTUM
from gasang.cpus.riscv64.isa import rv64
from gasang.cpus.riscv64.regions import QUANTUM as REGION_QUANTUM
from gasang.cpus.riscv64.state import STRETCHES
from gasang.cpus.riscv64.stitcher import Stitcher
from gasang.cpus.riscv64.stitching import ENOUGH
from gasang.native.target import machine
from support.bare import CODE, HANDLER, Bare, asm
from support.lockstep.state import RAM_BASE
from support.regions import Briefly, Compiling, everything, prepare

pytestmark = pytest.mark.skipif(machine() != "x86_64", reason="this host's processor has no stencils")

LONG = 3_000_000
ENDLESS = 2009
"""The seed of a program that overwrites its own end."""
DATA = CODE + 0x10000
DATA_SIZE = 0x4000
LOOPED = 10_000
"""Instructions of a loop by which it is stitched where it is hot already."""
NEVER = 1 << 40
"""Samples are counted, and nothing is so hot that it is compiled."""
SYSTEMS = {extension.name for extension in rv64.extensions if extension.system}
ALL = [instruction for instruction in rv64 if instruction.extension not in SYSTEMS]


@pytest.fixture
def both(make_bare: Callable[..., Bare]) -> tuple[Bare, Bare]:
    """A machine that interprets and one that stitches."""
    return make_bare(), stitching(make_bare())


def stitching(bare: Bare) -> Bare:
    """Have a machine's code stitched as soon as it is met: it is as hot as that."""
    for hart in bare.machine.harts:
        hart.have_stitched()
        hart.cpu.hot_after = NEVER
        for stretch in range((CODE - RAM_BASE) // 4096 * STRETCHES, (CODE - RAM_BASE) // 4096 * STRETCHES + 4 * STRETCHES):
            bare.machine.processor.functions["set_heat"](hart.address, stretch, ENOUGH - 1)
        assert hart.stitched is not None
    return bare


def stretches(bare: Bare) -> int:
    """Made so far."""
    assert bare.hart.stitched is not None
    return bare.hart.stitched.stretches


def same(both: tuple[Bare, Bare], count: int) -> int:
    """Run both; why they ended."""
    plain, stitched = both
    reason = plain.run(count)
    assert stitched.run(count) == reason
    assert everything(stitched) == everything(plain)
    return reason


@pytest.mark.parametrize("seed", [*range(300, 340), ENDLESS])
def test_random_programs(both: tuple[Bare, Bare], seed: int) -> None:
    for bare in both:
        prepare(bare, seed)
    rng = random.Random(seed)
    reason = exits.LIMIT
    while reason == exits.LIMIT and both[0].hart.instructions < LONG:
        reason = same(both, rng.choice((7, 900, 9000, 20_000, 100_000)))
    assert reason == (exits.LIMIT if seed == ENDLESS else exits.SBI)
    assert stretches(both[1]) > 0


def test_random_programs_on_two_harts_in_turn(make_bare: Callable[..., Bare]) -> None:
    plain, stitched = make_bare(2), stitching(make_bare(2))
    for bare in (plain, stitched):
        prepare(bare, 7)
    assert same((plain, stitched), 2_000_000) in (exits.SBI, exits.LIMIT)
    assert stretches(stitched) > 0


def one(rng: random.Random, instruction: Instruction) -> bytes:
    """The instruction with any operands; a jump or branch stays near."""
    while True:
        word = instruction.match | rng.getrandbits(8 * instruction.length) & ~instruction.mask
        decoded = rv64.decode(word)
        if decoded is not None and decoded.instruction is instruction:
            return word.to_bytes(instruction.length, "little")


def begin(bare: Bare, seed: int, code: bytes) -> None:
    """Registers that lead to data, the data, and the code in a loop that sets them anew."""
    rng = random.Random(seed)
    bare.machine.processor.functions["forget_all_blocks"](bare.hart.address)
    for number in range(1, 32):
        bare.cpu.x[number] = DATA + rng.randrange(0x800, DATA_SIZE - 0x800, rng.choice((1, 8, 8, 8)))
        bare.cpu.f[number] = rng.getrandbits(64) if rng.randrange(2) else 0xFFFFFFFF00000000 | rng.getrandbits(32)
    bare.machine.ram.write(DATA, rng.randbytes(DATA_SIZE))
    back = -len(code) - 4
    bare.put(CODE + 0x800, asm("addi", rd=5, rs1=5, imm=8), code, asm("jal", imm=back))
    bare.put(HANDLER, asm("csrrs", rd=6, csr=0x141), asm("addi", rd=6, rs1=6, imm=2), asm("csrrw", rs1=6, csr=0x141), asm("sret"))
    bare.cpu.pc = CODE + 0x800
    bare.machine.processor.functions["wipe_tlb"](bare.hart.address)


@pytest.mark.parametrize("instruction", ALL, ids=lambda instruction: instruction.name)
def test_every_instruction(both: tuple[Bare, Bare], instruction: Instruction) -> None:
    rng = random.Random(instruction.name)
    for _ in range(6):
        code, seed = one(rng, instruction), rng.getrandbits(32)
        for bare in both:
            begin(bare, seed, code)
        for _ in range(3):
            same(both, rng.choice((LOOPED, LOOPED + 1, 2 * LOOPED - 1)))


def test_execution_ends_at_just_the_instruction_asked_for(both: tuple[Bare, Bare]) -> None:
    for bare in both:
        bare.put(CODE, asm("c.addi", rd=8, imm=1), asm("c.addi", rd=9, imm=1), asm("c.j", imm=-4))
    for count in (LOOPED, 4, 1, 3, 7, 2, 899, 900, 901, 1):
        assert same(both, count) == exits.LIMIT
    assert stretches(both[1]) > 0


def loop(bare: Bare) -> None:
    """x8 counts; the loop is stitched."""
    bare.put(CODE, asm("c.addi", rd=8, imm=1), asm("c.addi", rd=9, imm=1), asm("c.addi", rd=10, imm=1), asm("sh", rs1=5, rs2=6, imm=0),
             asm("jal", imm=-10))  # fmt: skip
    bare.cpu.x[5], bare.cpu.x[6] = DATA, int.from_bytes(asm("c.addi", rd=11, imm=1), "little")


@pytest.mark.parametrize("changed", range(0, 14, 2))
def test_a_store_to_its_own_page_is_noticed_at_once(both: tuple[Bare, Bare], changed: int) -> None:
    for bare in both:
        loop(bare)
    same(both, LOOPED)
    for bare in both:
        bare.put(HANDLER, asm("jal"))
        bare.cpu.x[5] = CODE + changed
    assert stretches(both[1]) > 0
    for count in (1, 2, 3, 5, 900, LOOPED):
        same(both, count)


@pytest.mark.parametrize("changed", [0, 2, 8, 16, 22])
def test_a_store_from_elsewhere_on_its_page_is_noticed_too(both: tuple[Bare, Bare], changed: int) -> None:
    adds = [asm("c.addi", rd=8 + number, imm=1) for number in range(8)]
    for bare in both:
        bare.put(CODE, *adds, asm("addi", rd=16, rs1=16, imm=1), asm("addi", rd=17, rs1=17, imm=1), asm("jal", imm=-24))
        bare.put(CODE + 0x100, asm("sh", rs1=5, rs2=6, imm=0), asm("jal", imm=-0x104))
        bare.cpu.x[5], bare.cpu.x[6] = CODE + changed, int.from_bytes(asm("c.addi", rd=20, imm=1), "little")
    same(both, LOOPED)
    assert stretches(both[1]) > 0
    for bare in both:
        bare.put(HANDLER, asm("jal"))
        bare.cpu.pc = CODE + 0x100
    for count in (1, 2, 5, 900, LOOPED):
        same(both, count)


def test_what_another_changes_is_noticed_behind_a_fence(both: tuple[Bare, Bare]) -> None:
    for bare in both:
        bare.put(CODE, asm("c.addi", rd=8, imm=1), asm("c.addi", rd=9, imm=1), asm("fence.i"), asm("jal", imm=-8))
    same(both, LOOPED)
    for bare in both:
        bare.put(CODE, asm("c.addi", rd=10, imm=1))
    same(both, LOOPED)
    assert both[1].cpu.x[10] > 0


def test_a_jump_that_is_watched_is_noted_though_it_was_stitched(make_bare: Callable[..., Bare]) -> None:
    bare = stitching(make_bare())
    bare.put(CODE, asm("auipc", rd=12), asm("addi", rd=8, rs1=8, imm=1), asm("jalr", rs1=12))
    assert bare.run(LOOPED) == exits.LIMIT
    assert stretches(bare) > 0
    functions, noting = bare.machine.processor.functions, bare.machine.processor.noting
    assert functions["watch_near"](bare.hart.address, CODE, 1, ctypes.addressof(noting), len(noting) // 2, 1) == 1
    assert bare.run(LOOPED) == exits.LIMIT
    assert {(int(jump.pc), int(jump.target)) for jump in bare.cpu.jumps if jump.pc} == {(CODE + 8, CODE)}


def test_a_region_within_a_stretch_is_not_passed_over(make_bare: Callable[..., Bare]) -> None:
    bare = stitching(make_bare())
    loop(bare)
    assert bare.run(LOOPED) == exits.LIMIT
    before = stretches(bare)
    assert before > 0
    processor = bare.machine.processor
    trapping = processor.dispatch[2 * rv64.numbers[rv64.by_name["ebreak"]]]
    bare.put(HANDLER, asm("jal"))
    place = (ctypes.c_uint64 * 1)(RECORDS + CODE % 4096 // 2 + 1)
    assert processor.functions["begin_region"](bare.hart.address, place, 1, trapping) == 1
    assert bare.run(10) == exits.LIMIT
    assert bare.trap()[1] == CODE + 2


def test_with_no_room_left_all_is_made_anew(both: tuple[Bare, Bare]) -> None:
    for bare in both:
        loop(bare)
    same(both, LOOPED)
    code = both[1].hart.stitched
    assert code is not None
    for _ in range(4):
        Stitcher.ctype.from_address(code.address).used = SIZE  # a poll finds no room for more
        same(both, LOOPED)
        assert 0 < code.size < 1 << 16
    assert stretches(both[1]) >= 4


def test_before_a_fork_it_ends(both: tuple[Bare, Bare]) -> None:
    for bare in both:
        loop(bare)
    same(both, LOOPED)
    made = stretches(both[1])
    assert made > 0
    for bare in both:
        bare.hart.before_fork()
    code = both[1].hart.stitched
    assert code is not None
    code.release()  # whoever comes there executes zeroes
    same(both, LOOPED)
    assert stretches(both[1]) == made


def test_a_hart_that_gives_its_decoded_code_back_gives_this_back_too(both: tuple[Bare, Bare]) -> None:
    for bare in both:
        loop(bare)
    same(both, LOOPED)
    code = both[1].hart.stitched
    assert code is not None
    both[1].machine.processor.functions["forget_all_blocks"](both[1].hart.address)
    code.release()
    assert code.size == 0
    same(both, LOOPED)
    assert code.size > 0


def test_a_page_that_does_not_know_its_next_instruction_goes_on(both: tuple[Bare, Bare]) -> None:
    for bare in both:
        bare.put(CODE + 0xFF8, asm("addi", rd=8, rs1=8, imm=1), asm("addi", rd=9, rs1=9, imm=1), asm("jal", imm=-8))
        bare.cpu.pc = CODE + 0xFF8
    same(both, LOOPED)
    assert stretches(both[1]) > 0


def test_floating_point_while_it_is_off(both: tuple[Bare, Bare]) -> None:
    for bare in both:
        bare.put(CODE, asm("fld", fd=1, rs1=5), asm("fsgnj.d", fd=2, fs1=1, fs2=1), asm("addi", rd=8, rs1=8, imm=1), asm("jal", imm=-12))
        bare.put(HANDLER, asm("jal"))
        bare.cpu.x[5] = DATA
    same(both, LOOPED)
    assert stretches(both[1]) > 0
    for bare in both:
        bare.cpu.fs = 0
    same(both, 100)
    assert both[1].trap()[0] == 2


def test_code_that_is_hardly_hot_is_not_stitched(make_bare: Callable[..., Bare]) -> None:
    bare = make_bare()
    bare.hart.have_stitched()
    bare.hart.cpu.hot_after = NEVER
    loop(bare)
    assert bare.run((ENOUGH - 1) * 900) == exits.LIMIT
    assert stretches(bare) == 0
    assert bare.run(3 * 900) == exits.LIMIT
    assert stretches(bare) > 0


@pytest.mark.parametrize(("heat", "does"), [(ENOUGH - 6, False), (ENOUGH - 4, True), (3 * ENOUGH - 1, True), (2 * ENOUGH, False)])
def test_what_is_met_behind_a_region_counts_as_often_as_its_quantum_is_long(make_bare: Callable[..., Bare], heat: int, does: bool) -> None:
    bare = stitching(make_bare())
    loop(bare)
    bare.run(5)
    assert stretches(bare) == 0
    bare.machine.processor.functions["set_heat"](bare.hart.address, (CODE - RAM_BASE) // 4096 * STRETCHES, heat)
    bare.cpu.quantum = REGION_QUANTUM  # five samples
    bare.run(QUANTUM)
    assert (stretches(bare) > 0) == does


def test_what_a_regions_poll_meets_is_not_stitched(make_bare: Callable[..., Bare]) -> None:
    bare = make_bare()
    bare.hart.have_stitched()
    compiling = Compiling(bare, 2, service=Briefly)
    body = [asm("addi", rd=8 + number, rs1=8 + number, imm=1) for number in range(13)]
    bare.put(CODE, *body, asm("jal", imm=-4 * len(body)))
    assert compiling.run(LOOPED) == exits.LIMIT
    bare.cpu.hot_after = NEVER  # or the count would begin anew each time
    before = int(bare.cpu.compiled)
    assert compiling.run(LOOPED * 100) == exits.LIMIT
    assert bare.cpu.compiled - before > LOOPED * 90
    assert stretches(bare) == 0
