"""Random programs: any instruction of the set with any operands, addresses mostly in the data pages, jumps mostly within the program."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from functools import cache

from gasang.cpus.instruction_set import Instruction
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

LEFT_OUT = {"wfi": "waits for the time, which differs"}
"""Instructions that random programs do not hold; tested one by one instead."""
WRITE_LEFT_OUT = (SATP, SIE, SIP, STIMECMP)
READ_LEFT_OUT = (TIME, SIP, SENVCFG)
CSRS = [number for number in NAMES if number not in WRITE_LEFT_OUT and number not in READ_LEFT_OUT]
READABLE = [number for number in NAMES if number not in READ_LEFT_OUT]
"""CSRs whose reading gives the same value on both machines."""

EDGES = (0, 1, 7, 8, 15, 16, 31, 32, 52, 62, 63)
CORNERS = tuple({sign * (1 << bit) + offset & (1 << 64) - 1 for bit in EDGES for sign in (1, -1) for offset in (-1, 0, 1)})

FLOAT64 = (
    0x0000000000000000, 0x0000000000000001, 0x000FFFFFFFFFFFFF, 0x0010000000000000, 0x0010000000000001, 0x3CA0000000000000, 0x3FE0000000000000,
    0x3FEFFFFFFFFFFFFF, 0x3FF0000000000000, 0x3FF0000000000001, 0x3FF8000000000000, 0x4000000000000000, 0x41DFFFFFFFC00000, 0x41E0000000000000,
    0x41EFFFFFFFE00000, 0x41F0000000000000, 0x43DFFFFFFFFFFFFF, 0x43E0000000000000, 0x43EFFFFFFFFFFFFF, 0x43F0000000000000, 0x7FDFFFFFFFFFFFFF,
    0x7FEFFFFFFFFFFFFF, 0x7FF0000000000000, 0x7FF0000000000001, 0x7FF7FFFFFFFFFFFF, 0x7FF8000000000000, 0x7FFFFFFFFFFFFFFF, 0x36A0000000000000,
    0x3690000000000000, 0x380FFFFFE0000000, 0x380FFFFFF0000000, 0x3810000000000000, 0x47EFFFFFE0000000, 0x47EFFFFFF0000000, 0x4340000000000001,
)  # fmt: skip
FLOAT32 = (
    0x00000000, 0x00000001, 0x007FFFFF, 0x00800000, 0x00800001, 0x33800000, 0x3F000000, 0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x3FC00000, 0x40000000,
    0x4EFFFFFF, 0x4F000000, 0x4F7FFFFF, 0x4F800000, 0x5EFFFFFF, 0x5F000000, 0x5F7FFFFF, 0x5F800000, 0x7EFFFFFF, 0x7F7FFFFF, 0x7F800000, 0x7F800001,
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


def _makers(instruction: Instruction) -> dict[str, Maker]:
    """How each operand of an instruction is chosen."""
    makers: dict[str, Maker] = {}
    memory = "(" in instruction.syntax
    operands = instruction.pattern.operands
    for name, operand in operands.items():
        if operand.add:  # three bits for registers 8 to 15
            makers[name] = (lambda random: random.choice((8, 9, 10, 15))) if memory and name == "rs1" else (lambda random: random.randrange(8, 16))
        elif name == "rs1" and instruction.extension in ATOMIC:
            makers[name] = lambda random: random.choice(ALIGNED)
        elif name == "rs1" and memory and instruction.name not in ("jalr", "c.jr", "c.jalr"):
            makers[name] = lambda random: random.choice(POINTERS) if random.random() < 0.97 else random.randrange(32)
        elif name == "rs1" and instruction.name in ("jalr", "c.jr", "c.jalr"):
            makers[name] = lambda random: random.choice(CODE_POINTERS) if random.random() < 0.9 else random.randrange(32)
        elif name == "rd":
            makers[name] = _register
        elif name == "rm":
            makers[name] = lambda random: random.choice(RM if random.random() < 0.98 else (5, 6))
        elif name == "csr":
            makers[name] = lambda random: random.choice(CSRS) if random.random() < 0.95 else random.choice(ILLEGAL_CSRS)
        elif name == "imm" and ("target" in instruction.syntax):
            makers[name] = _target
        else:
            makers[name] = _field(operand.width, operand.signed, {s.to for s in operand.segments})
    return makers


def _target(random: random.Random) -> int:
    """A short distance, mostly ahead."""
    return random.randrange(4, 120) & ~1 if random.random() < 0.85 else random.randrange(-60, 0) & ~1


def _field(width: int, signed: bool, lowest: set[int]) -> Maker:
    low = min(lowest, default=0)

    def make(random: random.Random) -> int:
        value = random.getrandbits(width) if random.random() < 0.8 else random.choice((0, 1, (1 << width) - 1, 1 << width - 1))
        value = value >> low << low
        return value - (1 << width) if signed and value >> width - 1 else value

    return make


ILLEGAL_CSRS = (0x000, 0x004, 0x101, 0x110, 0x145, 0x181, 0x200, 0x300, 0x305, 0x341, 0x7A0, 0x800, 0xC03, 0xC1F, 0xC80, 0xF11, 0xF14, 0x9C0, 0x5C0)


@cache
def choices() -> tuple[tuple[Instruction, dict[str, Maker]], ...]:
    """Every instruction of the set with the makers of its operands."""
    return tuple((instruction, _makers(instruction)) for instruction in rv64 if instruction.name not in LEFT_OUT)


def word_of(random: random.Random, instruction: Instruction, makers: dict[str, Maker]) -> int:
    """One random encoding of an instruction."""
    while True:
        word = instruction.match
        for name, operand in instruction.pattern.operands.items():
            value = makers[name](random)
            raw = value - operand.add & (1 << operand.width) - 1
            for segment in operand.segments:
                word |= (raw >> segment.to & (1 << segment.width) - 1) << segment.low
        if instruction.pattern.matches(word) and _allowed(instruction, word):
            return word


def _allowed(instruction: Instruction, word: int) -> bool:
    """CSRs that must not be written, or of which reading tells nothing."""
    if not instruction.name.startswith("csr"):
        return True
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
    code = bytearray()
    starts = []
    while len(code) < size:
        starts.append(len(code))
        kind = random.random()
        if kind < ILLEGAL_SHARE:
            code += random.getrandbits(32).to_bytes(4, "little")[: random.choice((2, 4))]
            continue
        instruction, makers = random.choice(system if kind < ILLEGAL_SHARE + SYSTEM_SHARE else plain)
        code += word_of(random, instruction, makers).to_bytes(instruction.length, "little")
    return bytes(code[:size]), starts
