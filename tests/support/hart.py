"""A hart with some RAM, to execute one instruction at a time on, compiled or as plain Python."""

from __future__ import annotations

import ctypes
import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from gasang.cpus.instruction_set import NO_REGISTER, Extension, Instruction, Result
from gasang.cpus.riscv64.mmu import enter_context, wipe_tlb
from gasang.cpus.riscv64.state import RESERVATION_SLOTS, SUPERVISOR, Cpu, Shared
from gasang.native import NativeFunction
from gasang.native.build import build
from gasang.native.function import python_entry

MASK = (1 << 64) - 1
RAM_BASE = 0x8000_0000
RAM_SIZE = 4 * 4096

CORNERS = sorted({
    number & MASK
    for bit in (0, 7, 8, 15, 16, 31, 32, 62, 63, 64)
    for number in (1 << bit, (1 << bit) - 1, -(1 << bit), -(1 << bit) - 1)
})  # fmt: skip
"""Values where instructions change their mind."""


@dataclass(frozen=True)
class Inputs:
    """What an instruction reads, unsigned."""

    a: int = 0
    """rs1."""
    b: int = 0
    """rs2."""
    imm: int = 0
    pc: int = 0x8000_1000
    next_pc: int = 0x8000_1004


Model = Callable[[Inputs], Any]
"""What is expected: rd's value modulo 2**64; whether a branch is taken; (rd, next pc) of a jump."""


def signed(value: int, bits: int = 64) -> int:
    """The lower bits of a number as a signed integer."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def low(value: int, bits: int = 32) -> int:
    """The lower bits of a number."""
    return value & (1 << bits) - 1


class TestHart:
    """Registers, RAM at RAM_BASE and no paging."""

    __test__ = False

    def __init__(self) -> None:
        self.ram = (ctypes.c_uint8 * (RAM_SIZE + 4096))()
        start = -(-ctypes.addressof(self.ram) // 4096) * 4096
        self.bytes = (ctypes.c_uint8 * RAM_SIZE).from_address(start)
        self._page_flags = (ctypes.c_uint8 * (RAM_SIZE >> 12))()
        self._reservations = (ctypes.c_uint32 * RESERVATION_SLOTS)()
        self.shared = Shared.ctype(ram=start, ram_base=RAM_BASE, ram_size=RAM_SIZE, hart_count=1)
        self.shared.page_flags = ctypes.addressof(self._page_flags)
        self.shared.reservation_counts = ctypes.addressof(self._reservations)
        self.cpu = Cpu.ctype(privilege=SUPERVISOR, shared=ctypes.addressof(self.shared))
        self.shared.harts[0] = ctypes.addressof(self.cpu)
        wipe_tlb(self.cpu)
        enter_context(self.cpu)

    def registers(self) -> list[int]:
        """x0 to x31."""
        return list(self.cpu.x)[:32]


def described(extension: Extension) -> dict[str, Instruction]:
    """The instructions of an extension that have a function of their own."""
    return {entry.name: entry for entry in extension.described if isinstance(entry, Instruction)}


@cache
def _compiled(names: tuple[NativeFunction, ...]) -> list[Callable[..., Any]]:
    return [python_entry(function, address) for function, address in zip(names, build(list(names)).entries, strict=True)]


def compiled(extension: Extension) -> dict[str, Callable[..., Any]]:
    """The compiled functions of an extension's instructions, built together."""
    instructions = described(extension)
    functions = tuple(instruction.function for instruction in instructions.values())
    return dict(zip(instructions, _compiled(functions), strict=True))  # type: ignore[arg-type]


def inputs_for(instruction: Instruction, count: int) -> Iterator[Inputs]:
    """Corner cases against each other, and `count` random ones, with immediates that the encoding has."""
    chance = random.Random(instruction.name)
    imm = instruction.pattern.operands.get("imm")

    def immediate(bits: int) -> int:
        return imm.extract(bits) & MASK if imm else 0

    edges = [immediate(bits) for bits in (0, MASK, 1 << 31, 1 << 20, 0x7FFFFFFF)]
    seconds = CORNERS if "rs2" in instruction.wants else [0]
    for number, (a, b) in enumerate(itertools.product(CORNERS, seconds)):
        yield Inputs(a, b, edges[number % len(edges)])
    for _ in range(count):
        a, b = (chance.getrandbits(chance.choice([8, 32, 64])) * chance.choice([1, -1]) & MASK for _ in "ab")
        yield Inputs(a, b, immediate(chance.getrandbits(32)), chance.getrandbits(63) << 1, chance.getrandbits(63) << 1)


def execute(hart: TestHart, instruction: Instruction, function: Callable[..., Any], given: Inputs, registers: Mapping[str, int]) -> Any:
    """Execute once; as a Model gives it. Fails if anything but rd changes."""
    cpu = hart.cpu
    if "rs1" in instruction.wants:
        cpu.x[registers["rs1"]] = given.a
    if "rs2" in instruction.wants:
        cpu.x[registers["rs2"]] = given.b
    values = {**registers, "imm": given.imm, "pc": given.pc, "next_pc": given.next_pc}
    before = hart.registers()
    result = function(cpu, *(values[want] for want in instruction.wants))
    after = hart.registers()
    changed = {number for number in range(32) if before[number] != after[number]}
    assert changed <= {values["rd"] if "rd" in instruction.wants else NO_REGISTER}, "another register changed"
    if instruction.result is Result.BRANCH:
        return bool(result)
    written = cpu.x[values["rd"]] if "rd" in instruction.wants else None
    return (written, result) if instruction.result is Result.JUMP else written


APART = {"rd": 5, "rs1": 6, "rs2": 7}
PLACEMENTS = (APART, {"rd": 6, "rs1": 6, "rs2": 7}, {"rd": 7, "rs1": 6, "rs2": 7}, {"rd": NO_REGISTER, "rs1": 6, "rs2": 7})
"""Registers that instructions are tried with: apart, rd that of a source, rd = x0."""


def check(extension: Extension, models: Mapping[str, Model], name: str) -> None:
    """Compare an instruction with its model, compiled on many inputs and as plain Python on some."""
    instruction, model = described(extension)[name], models[name]
    hart, fast = TestHart(), compiled(extension)[name]
    slow = instruction.function.python  # type: ignore[attr-defined]
    for number, given in enumerate(inputs_for(instruction, 300)):
        expected = _wrapped(model(given))
        placement = PLACEMENTS[number % len(PLACEMENTS)]
        assert execute(hart, instruction, fast, given, placement) == expected, f"{name} {given}"
        if number % 37 == 0:
            assert execute(hart, instruction, slow, given, placement) == expected, f"{name} {given} in plain Python"
    same = Inputs(CORNERS[3], CORNERS[3], 4)
    if instruction.result is not Result.JUMP and "rs2" in instruction.wants:
        assert execute(hart, instruction, fast, same, {"rd": 6, "rs1": 6, "rs2": 6}) == _wrapped(model(same))


def _wrapped(expected: Any) -> Any:
    if isinstance(expected, tuple):
        return tuple(value & MASK for value in expected)
    return expected if isinstance(expected, bool) else expected & MASK
