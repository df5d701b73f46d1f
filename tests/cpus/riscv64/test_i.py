"""RV64I against arithmetic on Python's integers and bytes."""

from __future__ import annotations

import random

import pytest

from gasang.cpus.instruction_set import Result
from gasang.cpus.riscv64.i import rv64i
from gasang.native import Fault
from support.hart import MASK, RAM_BASE, RAM_SIZE, Model, TestHart, check, compiled, described, low, signed

COMPUTING: dict[str, Model] = {
    "lui": lambda o: o.imm,
    "auipc": lambda o: o.pc + o.imm,
    "addi": lambda o: o.a + o.imm,
    "slti": lambda o: int(signed(o.a) < signed(o.imm)),
    "sltiu": lambda o: int(o.a < o.imm),
    "xori": lambda o: o.a ^ o.imm,
    "ori": lambda o: o.a | o.imm,
    "andi": lambda o: o.a & o.imm,
    "slli": lambda o: o.a * 2**o.imm,
    "srli": lambda o: o.a // 2**o.imm,
    "srai": lambda o: signed(o.a) // 2**o.imm,
    "add": lambda o: o.a + o.b,
    "sub": lambda o: o.a - o.b,
    "sll": lambda o: o.a * 2 ** (o.b % 64),
    "slt": lambda o: int(signed(o.a) < signed(o.b)),
    "sltu": lambda o: int(o.a < o.b),
    "xor": lambda o: o.a ^ o.b,
    "srl": lambda o: o.a // 2 ** (o.b % 64),
    "sra": lambda o: signed(o.a) // 2 ** (o.b % 64),
    "or": lambda o: o.a | o.b,
    "and": lambda o: o.a & o.b,
    "addiw": lambda o: signed(o.a + o.imm, 32),
    "slliw": lambda o: signed(o.a * 2**o.imm, 32),
    "srliw": lambda o: signed(low(o.a) // 2**o.imm, 32),
    "sraiw": lambda o: signed(o.a, 32) // 2**o.imm,
    "addw": lambda o: signed(o.a + o.b, 32),
    "subw": lambda o: signed(o.a - o.b, 32),
    "sllw": lambda o: signed(o.a * 2 ** (o.b % 32), 32),
    "srlw": lambda o: signed(low(o.a) // 2 ** (o.b % 32), 32),
    "sraw": lambda o: signed(o.a, 32) // 2 ** (o.b % 32),
}

BRANCHES: dict[str, Model] = {
    "beq": lambda o: o.a == o.b,
    "bne": lambda o: o.a != o.b,
    "blt": lambda o: signed(o.a) < signed(o.b),
    "bge": lambda o: signed(o.a) >= signed(o.b),
    "bltu": lambda o: o.a < o.b,
    "bgeu": lambda o: o.a >= o.b,
}

JUMPS: dict[str, Model] = {
    "jal": lambda o: (o.next_pc, o.pc + o.imm),
    "jalr": lambda o: (o.next_pc, (o.a + o.imm) // 2 * 2),
}

LOADS = {"lb": (1, True), "lh": (2, True), "lw": (4, True), "ld": (8, True), "lbu": (1, False), "lhu": (2, False), "lwu": (4, False)}
"""Bytes, and whether the value is sign-extended."""

STORES = {"sb": 1, "sh": 2, "sw": 4, "sd": 8}


def test_every_instruction_has_a_model() -> None:
    assert {*COMPUTING, *BRANCHES, *JUMPS, *LOADS, *STORES, "fence"} == set(described(rv64i))


@pytest.mark.parametrize("name", COMPUTING)
def test_result_is_the_models(name: str) -> None:
    check(rv64i, COMPUTING, name)


@pytest.mark.parametrize("name", BRANCHES)
def test_branch_is_taken_as_the_model_says(name: str) -> None:
    assert described(rv64i)[name].result is Result.BRANCH
    check(rv64i, BRANCHES, name)


@pytest.mark.parametrize("name", JUMPS)
def test_jump_links_and_arrives(name: str) -> None:
    check(rv64i, JUMPS, name)


def test_jalr_reads_its_base_before_it_links() -> None:
    hart = TestHart()
    hart.cpu.x[1] = 0x1000
    assert compiled(rv64i)["jalr"](hart.cpu, 1, 1, 8, 0x2004) == 0x1008
    assert hart.cpu.x[1] == 0x2004


def places(size: int) -> list[tuple[int, int]]:
    """(base, offset) of accesses: aligned or not, over a page's end, with offsets of both signs that wrap around."""
    chance = random.Random(size)
    addresses = [RAM_BASE, RAM_BASE + 4096 - size + 1, RAM_BASE + RAM_SIZE - size]
    addresses += [RAM_BASE + chance.randrange(RAM_SIZE - size) for _ in range(40)]
    return [(address - offset & MASK, offset & MASK) for address in addresses for offset in (0, -2048, 2047, 1)]


def filled(hart: TestHart) -> bytes:
    """RAM with content, and that content."""
    content = random.Random(3).randbytes(RAM_SIZE)
    hart.bytes[:] = content
    return content


@pytest.mark.parametrize("name", LOADS)
def test_load(name: str) -> None:
    size, extends = LOADS[name]
    hart, fast, slow = TestHart(), compiled(rv64i)[name], described(rv64i)[name].function.python  # type: ignore[attr-defined]
    content = filled(hart)
    for number, (base, offset) in enumerate(places(size)):
        at = (base + offset & MASK) - RAM_BASE
        for function in (fast, slow) if number % 20 == 0 else (fast,):
            hart.cpu.x[6] = base
            function(hart.cpu, 5, 6, offset)
            assert hart.cpu.x[5] == int.from_bytes(content[at : at + size], "little", signed=extends) & MASK, (hex(base), offset)
            function(hart.cpu, 6, 6, offset)
            assert hart.cpu.x[6] == hart.cpu.x[5]
    assert bytes(hart.bytes) == content


@pytest.mark.parametrize("name", STORES)
def test_store(name: str) -> None:
    size = STORES[name]
    hart, fast, slow = TestHart(), compiled(rv64i)[name], described(rv64i)[name].function.python  # type: ignore[attr-defined]
    content = bytearray(filled(hart))
    chance = random.Random(9)
    for number, (base, offset) in enumerate(places(size)):
        at = (base + offset & MASK) - RAM_BASE
        for function in (fast, slow) if number % 20 == 0 else (fast,):
            hart.cpu.x[6], hart.cpu.x[7] = base, chance.getrandbits(64)
            function(hart.cpu, 6, 7, offset)
            content[at : at + size] = int(hart.cpu.x[7]).to_bytes(8, "little")[:size]
            assert bytes(hart.bytes) == content, (hex(base), offset)


@pytest.mark.parametrize("name", [*LOADS, *STORES])
def test_an_access_outside_ram_leaves_everything_as_it_was(name: str) -> None:
    hart = TestHart()
    content = filled(hart)
    hart.cpu.x[6], hart.cpu.x[7] = RAM_BASE + RAM_SIZE, 77
    before = hart.registers()
    registers = (6, 7) if name in STORES else (7, 6)
    with pytest.raises(Fault):
        compiled(rv64i)[name](hart.cpu, *registers, 0)
    assert hart.registers() == before
    assert bytes(hart.bytes) == content


def test_fence_changes_no_register() -> None:
    hart = TestHart()
    before = hart.registers()
    compiled(rv64i)["fence"](hart.cpu)
    described(rv64i)["fence"].function.python(hart.cpu)  # type: ignore[attr-defined]
    assert hart.registers() == before
