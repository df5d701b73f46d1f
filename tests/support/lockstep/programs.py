"""Random programs: any instruction of the set with any operands, addresses mostly in the data pages, jumps mostly within the program."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from functools import cache

from gasang.cpus.instruction_set import Instruction
from gasang.cpus.pattern import Operand
from gasang.cpus.riscv64.csr import NAMES, SATP, SENVCFG, SIE, SIP, STIMECMP, TIME
from gasang.cpus.riscv64.isa import rv64
from support.lockstep.state import PAGE
from support.lockstep.worlds import CODE_PAGES, DATA_SIZE, WRITABLE_PAGES, World

ALIGNED = (18, 19)
"""Registers that hold addresses aligned to 64 bytes and are not written: for atomic instructions, which trap here where misaligned."""
POINTERS = (2, 8, 9, 10, 15)
"""Registers that mostly hold addresses in the data pages; among them the stack pointer and some that compressed instructions reach."""
CODE_POINTERS = (1, 11)
"""Registers that mostly hold addresses in the program."""
RESERVED = frozenset((*ALIGNED, *POINTERS, *CODE_POINTERS))
PROGRAM_SIZE = CODE_PAGES * PAGE

LEFT_OUT = ("wfi",)
"""Instructions that random programs do not hold: waiting ends with time, which differs."""
WFI = 0x10500073
WRITE_LEFT_OUT = (SATP, SIE, SIP, STIMECMP)
READ_LEFT_OUT = (TIME, SIP, SENVCFG)
CSRS = [number for number in NAMES if number not in WRITE_LEFT_OUT and number not in READ_LEFT_OUT]
READABLE = [number for number in NAMES if number not in READ_LEFT_OUT]
"""CSRs whose reading gives the same value on both machines."""

EDGES = (0, 1, 7, 8, 15, 16, 31, 32, 52, 62, 63)
CORNERS = tuple({sign * (1 << bit) + offset & (1 << 64) - 1 for bit in EDGES for sign in (1, -1) for offset in (-1, 0, 1)})

FLOAT64 = (
    0x0000000000000000, 0x0000000000000001, 0x000FFFFFFFFFFFFF, 0x0010000000000000, 0x0010000000000001, 0x3CA0000000000000,
    0x3FE0000000000000,
    0x3FEFFFFFFFFFFFFF, 0x3FF0000000000000, 0x3FF0000000000001, 0x3FF8000000000000, 0x4000000000000000, 0x41DFFFFFFFC00000,
    0x41E0000000000000,
    0x41EFFFFFFFE00000, 0x41F0000000000000, 0x43DFFFFFFFFFFFFF, 0x43E0000000000000, 0x43EFFFFFFFFFFFFF, 0x43F0000000000000,
    0x7FDFFFFFFFFFFFFF,
    0x7FEFFFFFFFFFFFFF, 0x7FF0000000000000, 0x7FF0000000000001, 0x7FF7FFFFFFFFFFFF, 0x7FF8000000000000, 0x7FFFFFFFFFFFFFFF,
    0x36A0000000000000,
    0x3690000000000000, 0x380FFFFFE0000000, 0x380FFFFFF0000000, 0x3810000000000000, 0x47EFFFFFE0000000, 0x47EFFFFFF0000000,
    0x4340000000000001,
)  # fmt: skip
FLOAT32 = (
    0x00000000, 0x00000001, 0x007FFFFF, 0x00800000, 0x00800001, 0x33800000, 0x3F000000, 0x3F7FFFFF, 0x3F800000, 0x3F800001,
    0x3FC00000, 0x40000000,
    0x4EFFFFFF, 0x4F000000, 0x4F7FFFFF, 0x4F800000, 0x5EFFFFFF, 0x5F000000, 0x5F7FFFFF, 0x5F800000, 0x7EFFFFFF, 0x7F7FFFFF,
    0x7F800000, 0x7F800001,
    0x7FBFFFFF, 0x7FC00000, 0x7FFFFFFF, 0x4B000001, 0x3EFFFFFF,
)  # fmt: skip
BOX32 = 0xFFFFFFFF_00000000


def integer(random: random.Random) -> int:
    """A value for an integer register."""
    kind = random.randrange(4)
    if kind == 0:
        return random.choice(CORNERS)
    if kind == 1:
        return random.getrandbits(64) >> random.randrange(64)
    if kind == 2:
        return -(random.getrandbits(64) >> random.randrange(64)) & (1 << 64) - 1
    return random.getrandbits(64)


def floating(random: random.Random) -> int:
    """A value for a floating-point register: corners and numbers of nearby exponents of both precisions, seldom badly boxed."""
    kind = random.randrange(8)
    sign = random.getrandbits(1)
    if kind < 2:
        return sign << 63 | random.choice(FLOAT64)
    if kind < 4:
        return BOX32 | sign << 31 | random.choice(FLOAT32)
    if kind == 4:
        return sign << 63 | random.randrange(1013, 1035) << 52 | random.getrandbits(52) & -(1 << random.randrange(52))
    if kind == 5:
        return BOX32 | sign << 31 | random.randrange(117, 139) << 23 | random.getrandbits(23) & -(1 << random.randrange(23))
    if kind == 6:
        return BOX32 | random.getrandbits(32)
    return random.getrandbits(64)


POOL = 4096


class Registers:
    """Draws register files from a pool of values, which is faster than making each value anew."""

    def __init__(self, random: random.Random, world: World) -> None:
        self._random = random
        self._world = world
        self._integers = [integer(random) for _ in range(POOL)]
        self._floats = [floating(random) for _ in range(POOL)]

    def draw(self) -> tuple[bytes, bytes]:
        """32 integer registers, pointers among them, and 32 floating-point registers."""
        rng, world = self._random, self._world
        x = rng.choices(self._integers, k=32)
        x[0] = 0
        for index in POINTERS:
            page = rng.choice(WRITABLE_PAGES) if rng.random() < 0.9 else rng.randrange(DATA_SIZE // PAGE + 1)
            offset = rng.randrange(PAGE) if rng.random() < 0.8 else rng.randrange(-16, 16)
            x[index] = world.data + page * PAGE + offset & ~(7 if rng.random() < 0.6 else 0)
        for index in ALIGNED:
            page = rng.choice(WRITABLE_PAGES) if rng.random() < 0.9 else rng.randrange(DATA_SIZE // PAGE)
            x[index] = world.data + page * PAGE + rng.randrange(64) * 64
        for index in CODE_POINTERS:
            x[index] = world.code + (rng.randrange(PROGRAM_SIZE) & ~1)
        return struct.pack("<32Q", *x), struct.pack("<32Q", *rng.choices(self._floats, k=32))


Maker = Callable[[random.Random], int]


def _register(random: random.Random) -> int:
    """Any integer register, seldom a pointer."""
    while True:
        index = random.randrange(32)
        if index not in RESERVED:
            return index
        if index not in ALIGNED and random.random() < 0.05:
            return index


def _mostly(share: float, often: Sequence[int], seldom: Sequence[int]) -> Maker:
    """One of `often` with this probability, else one of `seldom`."""
    return lambda random: random.choice(often if random.random() < share else seldom)


def _target(random: random.Random) -> int:
    """How far a jump goes: a little, mostly ahead; seldom to another page."""
    kind = random.random()
    if kind < 0.05:
        return random.randrange(-6000, 6000) & ~1
    return random.randrange(4, 120) & ~1 if kind < 0.85 else random.randrange(-60, 0) & ~1


def _field(operand: Operand) -> Maker:
    """Any value, corners more often."""
    width, low = operand.width, min((segment.to for segment in operand.segments), default=0)
    corners = (0, 1 << low, (1 << width) - 1, 1 << width - 1)

    def make(random: random.Random) -> int:
        value = random.getrandbits(width) if random.random() < 0.8 else random.choice(corners)
        value = value >> low << low
        return value - (1 << width) if operand.signed and value >> width - 1 else value

    return make


def _base_register(instruction: Instruction) -> Maker:
    """rs1 of an instruction that accesses memory, or jumps there."""
    if instruction.extension in ATOMIC:
        return lambda random: random.choice(ALIGNED)
    short = instruction.pattern.operands["rs1"].add
    if (instruction.base is not None and instruction.base.name == "jalr") or instruction.name == "jalr":
        return _mostly(0.9, CODE_POINTERS, range(32))
    return _mostly(0.97, tuple(index for index in POINTERS if index >= short), range(8, 16) if short else range(32))


def _maker(instruction: Instruction, name: str) -> Maker:
    """How an operand of an instruction is chosen."""
    operand = instruction.pattern.operands[name]
    if name == "rs1" and ("(" in instruction.syntax or instruction.name in ("c.jr", "c.jalr")):
        return _base_register(instruction)
    if name == "rd" and not operand.add:
        return _register
    if name == "imm" and "target" in instruction.syntax:
        return _target
    return {"rm": _mostly(0.98, RM, (5, 6)), "csr": _mostly(0.95, CSRS, ILLEGAL_CSRS)}.get(name) or _field(operand)


ILLEGAL_CSRS = (
    0x000,
    0x004,
    0x101,
    0x110,
    0x145,
    0x181,
    0x200,
    0x300,
    0x305,
    0x341,
    0x7A0,
    0x800,
    0xC03,
    0xC1F,
    0xC80,
    0xF11,
    0xF14,
    0x9C0,
    0x5C0,
)


@cache
def choices() -> tuple[tuple[Instruction, dict[str, Maker]], ...]:
    """Every instruction of the set with the makers of its operands."""
    return tuple(
        (instruction, {name: _maker(instruction, name) for name in instruction.pattern.operands})
        for instruction in rv64
        if instruction.name not in LEFT_OUT
    )


def word_of(random: random.Random, instruction: Instruction, makers: dict[str, Maker]) -> int:
    """One random encoding of an instruction."""
    while True:
        word = instruction.match
        for name, operand in instruction.pattern.operands.items():
            value = makers[name](random)
            raw = value - operand.add & (1 << operand.width) - 1
            for segment in operand.segments:
                word |= (raw >> segment.to & (1 << segment.width) - 1) << segment.low
        if instruction.pattern.matches(word) and comparable(word):
            return word


def comparable(word: int) -> bool:
    """Whether both machines are to do the same: not where the time, interrupts or another address space come in."""
    if word & 0x7F != 0x73 or word >> 12 & 3 == 0:
        return word != WFI
    number = word >> 20
    writes = word >> 12 & 3 == 1 or word >> 15 & 31 != 0
    return number not in READ_LEFT_OUT and not (writes and number in WRITE_LEFT_OUT)


RM = (0, 1, 2, 3, 4, 7, 7, 7)
ATOMIC = ("A", "Zalrsc")
SYSTEM_SHARE = 0.02
ILLEGAL_SHARE = 0.004
SYSTEM = ("Zicsr", "S")
TRAPS = ("c.ebreak",)


@cache
def _weighted() -> tuple[tuple[tuple[Instruction, dict[str, Maker]], ...], tuple[tuple[Instruction, dict[str, Maker]], ...]]:
    system = tuple(choice for choice in choices() if choice[0].extension in SYSTEM or choice[0].name in TRAPS)
    return tuple(choice for choice in choices() if choice not in system), system


def program(random: random.Random, size: int = PROGRAM_SIZE) -> tuple[bytes, list[int]]:
    """Code, and the offsets at which its instructions begin."""
    plain, system = _weighted()
    code, starts = bytearray(), []
    while len(code) < size:
        starts.append(len(code))
        kind = random.random()
        if kind < ILLEGAL_SHARE:
            code += random.getrandbits(32).to_bytes(4, "little")[: random.choice((2, 4))]
            continue
        instruction, makers = random.choice(system if kind < ILLEGAL_SHARE + SYSTEM_SHARE else plain)
        code += word_of(random, instruction, makers).to_bytes(instruction.length, "little")
    return bytes(code[:size]), starts


def drill(random: random.Random, instruction: Instruction, count: int = 256) -> tuple[bytes, list[int]]:
    """Code of one instruction with ever other operands."""
    makers = dict(choices())[instruction]
    words = [word_of(random, instruction, makers).to_bytes(instruction.length, "little") for _ in range(count)]
    code = b"".join(words)
    return code.ljust(PROGRAM_SIZE, b"\0"), list(range(0, len(code), instruction.length))
