"""Two instructions by one handler: the same as one after the other, whatever happens between them."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator

import pytest

from gasang.cpus.instruction_set import Instruction
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.block import RECORDS
from gasang.cpus.riscv64.fused import PAIRS
from gasang.cpus.riscv64.handlers import NEAR, handler_name
from gasang.cpus.riscv64.isa import rv64
from support.bare import CODE, HANDLER, Bare, asm

MIDDLE = CODE + 0x800
"""From here no branch leaves the page."""
DATA = CODE + 0x10000
DATA_SIZE = 0x4000
ROUNDS = 12
ALL = [(first, second) for first, followers in PAIRS.items() for second in followers.split()]
Outcome = tuple[bytes, int, tuple[int, int, int], bytes, int]


@pytest.fixture(scope="module")
def bare() -> Iterator[Bare]:
    """A machine with one hart."""
    made = Bare()
    yield made
    made.close()


@pytest.fixture
def fresh() -> Iterator[Bare]:
    """A machine that nothing was executed on."""
    made = Bare()
    yield made
    made.close()


def record(bare: Bare, address: int) -> int:
    """The handler of a record on the page decoded first."""
    return ctypes.c_uint64.from_address(int(bare.cpu.blocks) + (address % 4096 << 3)).value


def is_fused(bare: Bare, address: int = CODE) -> bool:
    """Whether the record does more than its own instruction."""
    return record(bare, address) not in set(bare.machine.processor.dispatch)


def forms(name: str) -> list[Instruction]:
    """The instructions that a handler executes."""
    return [instruction for instruction in rv64 if handler_name(instruction, NEAR) == name]


def one(rng: random.Random, name: str) -> bytes:
    """An instruction of a handler, with any operands; its immediate not far."""
    while True:
        instruction = rng.choice(forms(name))
        word = instruction.match | rng.getrandbits(8 * instruction.length) & ~instruction.mask
        decoded = rv64.decode(word)
        is_near = decoded is not None and abs(decoded.slots.get("imm", 0)) < 0x400
        if decoded is not None and handler_name(decoded.instruction, NEAR) == name and (is_near or name in ("lui_4", "auipc_4")):
            return word.to_bytes(instruction.length, "little")


def begin(bare: Bare, seed: int) -> None:
    """Registers that lead to data, and the data."""
    rng = random.Random(seed)
    for number in range(1, 32):
        bare.cpu.x[number] = DATA + rng.randrange(0x800, DATA_SIZE - 0x800, rng.choice((1, 8, 8, 8)))
    bare.machine.ram.write(DATA, rng.randbytes(DATA_SIZE))
    bare.cpu.pc = MIDDLE
    bare.cpu.scause = bare.cpu.sepc = bare.cpu.stval = 0
    bare.machine.processor.functions["wipe_tlb" if rng.randrange(2) else "enter_context"](bare.hart.address)


def end(bare: Bare, before: int) -> Outcome:
    """Everything that two instructions may have changed."""
    data = bytes(bare.machine.ram.read(DATA, DATA_SIZE))
    return bare.registers(), int(bare.cpu.pc), bare.trap(), data, bare.hart.instructions - before


@pytest.mark.parametrize(("first", "second"), ALL, ids=lambda name: name)
def test_both_do_what_each_does(bare: Bare, first: str, second: str) -> None:
    rng = random.Random(f"{first} {second}")
    for _ in range(ROUNDS):
        bare.machine.processor.functions["forget_all_blocks"](bare.hart.address)
        bare.put(MIDDLE, one(rng, first), one(rng, second))
        seed = rng.getrandbits(32)
        begin(bare, seed)
        before = bare.hart.instructions
        assert bare.run(1) == exits.LIMIT
        retired = bare.hart.instructions - before
        assert bare.run(1) == exits.LIMIT
        wanted = end(bare, before)
        assert is_fused(bare, MIDDLE) == (retired == 1)  # after a trap the second is not decoded
        begin(bare, seed)
        before = bare.hart.instructions
        assert bare.run(2) == exits.LIMIT
        assert end(bare, before) == wanted


def test_the_last_of_the_budget_is_the_first_alone(fresh: Bare) -> None:
    fresh.put(CODE, asm("c.addi", rd=8, imm=1), asm("c.addi", rd=9, imm=1), asm("c.j", imm=-4))
    for count in (4, 1, 3, 7, 2, 899, 900, 901):
        fresh.cpu.pc = CODE
        before = fresh.hart.instructions
        assert fresh.run(count) == exits.LIMIT
        assert fresh.hart.instructions - before == count
        assert fresh.cpu.pc == CODE + 2 * (count % 3)
    assert is_fused(fresh)


def test_whoever_jumps_to_the_second_executes_it_alone(fresh: Bare) -> None:
    fresh.put(CODE, asm("c.addi", rd=8, imm=1), asm("c.addi", rd=9, imm=1), asm("c.j", imm=-2))
    assert fresh.run(11) == exits.LIMIT
    assert is_fused(fresh)
    assert (fresh.cpu.x[8], fresh.cpu.x[9]) == (1, 5)


@pytest.mark.parametrize("changed", [0, 2])
def test_a_store_to_either_is_noticed(fresh: Bare, changed: int) -> None:
    pair = [asm("c.addi", rd=8, imm=1), asm("c.addi", rd=9, imm=1)]
    fresh.put(CODE, *pair, asm("c.addi", rd=10, imm=1), asm("sh", rs1=5, rs2=6, imm=changed), asm("jal", imm=-10))
    fresh.cpu.x[5], fresh.cpu.x[6] = CODE, int.from_bytes(asm("c.addi", rd=11, imm=1), "little")
    assert fresh.run(3) == exits.LIMIT
    assert is_fused(fresh)
    assert fresh.run(2 + 5) == exits.LIMIT
    assert [fresh.cpu.x[number] for number in (8, 9, 10, 11)] == [2 - (changed == 0), 2 - (changed == 2), 2, 1]


def test_a_jump_that_is_watched_is_noted_though_it_was_fused(fresh: Bare) -> None:
    fresh.put(CODE, asm("auipc", rd=12), asm("jalr", rs1=12))
    assert fresh.run(5) == exits.LIMIT
    assert is_fused(fresh)
    functions, noting = fresh.machine.processor.functions, fresh.machine.processor.noting
    fresh.cpu.pc = CODE
    assert functions["watch_near"](fresh.hart.address, CODE, 1, ctypes.addressof(noting), len(noting) // 2, 1) == 1
    assert fresh.run(4) == exits.LIMIT
    assert {(int(jump.pc), int(jump.target)) for jump in fresh.cpu.jumps if jump.pc} == {(CODE + 4, CODE)}


def test_a_region_at_the_second_is_not_passed_over(fresh: Bare) -> None:
    fresh.put(CODE, asm("c.addi", rd=8, imm=1), asm("c.addi", rd=9, imm=1), asm("c.j", imm=-4))
    assert fresh.run(6) == exits.LIMIT
    assert is_fused(fresh)
    functions = fresh.machine.processor.functions
    trapping = fresh.machine.processor.dispatch[2 * rv64.numbers[rv64.by_name["ebreak"]]]
    fresh.put(HANDLER, asm("jal"))
    place = (ctypes.c_uint64 * 1)(RECORDS + CODE % 4096 // 2 + 1)
    assert functions["begin_region"](fresh.hart.address, place, 1, trapping) == 1
    fresh.cpu.pc = CODE
    assert fresh.run(2) == exits.LIMIT
    assert fresh.trap()[1] == CODE + 2
    assert (fresh.cpu.x[8], fresh.cpu.x[9]) == (3, 2)
