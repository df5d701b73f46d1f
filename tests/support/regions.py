"""Random programs with loops, calls, faults and floating point, and a hart that runs them with its hot code compiled at once."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from gasang.accel.soft.jit.messages import Answer, Request
from gasang.accel.soft.jit.regions import Regions
from gasang.accel.soft.jit.store import RegionStore
from gasang.accel.soft.jit.worker import serve
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.isa import rv64
from support.bare import CODE, HANDLER, Bare, asm
from support.lockstep.state import RAM_BASE

KEY = b"k" * 32
"""Of code caches."""
DATA = RAM_BASE + 0x100000
DATA_SIZE = 0x4000
SEPC = 0x141
LINK, SP, COUNTS, WILD, TRAPS, SCRATCH = 1, 2, (3, 4), 8, 30, 31
"""Registers with a purpose: return address, data pointer, loop counters, a pointer that may lead anywhere, the handler's two."""
FREE = [*range(5, 8), *range(9, 30)]
INTEGER = [
    instruction for instruction in rv64
    if instruction.length == 4 and instruction.extension in ("I", "M", "Zba", "Zbb", "Zbs") and "pc" not in instruction.wants
    and instruction.result.value == "None" and not getattr(instruction.function, "may_fault", True)
]  # fmt: skip
LOADS = [rv64.by_name[name] for name in ("lb", "lh", "lw", "ld", "lbu", "lhu", "lwu", "flw", "fld")]
STORES = [rv64.by_name[name] for name in ("sb", "sh", "sw", "sd", "fsw", "fsd")]
AMOS = [rv64.by_name[name] for name in ("amoadd.w", "amoswap.d", "amomaxu.w", "amoxor.d", "lr.w", "sc.w", "lr.d", "sc.d")]
FLOATING = [
    instruction for instruction in rv64
    if instruction.length == 4 and instruction.extension in ("F", "D") and instruction not in LOADS and instruction not in STORES
]  # fmt: skip
BRANCHES = [rv64.by_name[name] for name in ("beq", "bne", "blt", "bge", "bltu", "bgeu")]


class AtOnce:
    """A compile service that answers before `ask` returns; with a folder it keeps what it has compiled there."""

    brief = False

    def __init__(self, answered: Callable[[Answer], None], folder: Path | None = None) -> None:
        self._answered = answered
        self._store = RegionStore(folder, KEY) if folder is not None else None
        self.asked: list[Request] = []

    def start(self) -> None:
        """Nothing has to."""

    def ask(self, heat: int, request: Request) -> list[int]:
        """Compile."""
        self.asked.append(request)
        self._answered(serve(request, self._store, brief=self.brief))
        return []

    def takes(self, heat: int) -> bool:
        """Always."""
        return True

    def may_be_worth(self, heat: int) -> bool:
        """Always."""
        return True

    def forget(self, numbers: Collection[int]) -> list[int]:
        """Nothing waits."""
        return []

    def hotter(self, heat: int, number: int, request: Callable[[], Request]) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing has to."""

    def forget_parent(self) -> None:
        """Nothing is."""


class Briefly(AtOnce):
    """One whose regions are brief."""

    brief = True


class Compiling:
    """Compiles what a bare machine finds hot: at the second look, when what it goes around in has been decoded.

    `folder` is for the code cache.
    """

    def __init__(
        self, bare: Bare, hot_after: int = 2, *, folder: Path | None = None, checked: bool = False, service: type[AtOnce] = AtOnce
    ) -> None:
        self.bare = bare
        store = RegionStore(folder, KEY) if folder is not None else None
        made = Regions(bare.machine, partial(service, folder=folder), store=store, checked=checked)
        self.regions = bare.machine.regions = made
        for hart in bare.machine.harts:
            hart.cpu.hot_after = hot_after

    def run(self, count: int, number: int = 0) -> int:
        """`Bare.run`, hot code compiled on the way."""
        hart = self.bare.machine.harts[number]
        cpu = hart.cpu
        cpu.remaining = count
        while True:
            reason = hart.step()
            if reason == exits.HOT:
                self.regions.look(hart)
            if hart.has_arrived:
                self.regions.place(hart)
            if reason not in (exits.HOT, exits.STOPPED, exits.MMIO_READ, exits.MMIO_WRITE):
                break
        cpu.retired += cpu.quantum - cpu.budget
        cpu.budget = cpu.quantum = cpu.remaining = 0
        return reason


def handler() -> bytes:
    """Counts a trap and goes on behind the instruction."""
    return b"".join([
        asm("addi", rd=TRAPS, rs1=TRAPS, imm=1),
        asm("csrrs", rd=SCRATCH, rs1=0, csr=SEPC),
        asm("addi", rd=SCRATCH, rs1=SCRATCH, imm=4),
        asm("csrrw", rd=0, rs1=SCRATCH, csr=SEPC),
        asm("sret"),
    ])  # fmt: skip


class Writer:
    """Writes a random program: a loop of straight lines, branches ahead, loops inside, and calls of two functions behind it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.code: list[bytes] = []
        self._calls: list[tuple[int, int]] = []

    def program(self, rounds: int) -> bytes:
        """The whole; it ends with an environment call."""
        self._count(COUNTS[0], rounds, lambda: self._lines(self.rng.randrange(4, 12), depth=1))
        self.code.append(asm("ecall"))
        places = []
        for _ in range(2):
            places.append(len(self.code))
            self._lines(self.rng.randrange(1, 4), depth=3)
            self.code.append(asm("jalr", rd=0, rs1=LINK, imm=0))
        for at, which in self._calls:
            self.code[at] = asm("jal", rd=LINK, imm=4 * (places[which] - at))
        return b"".join(self.code)

    def _count(self, register: int, times: int, body: Callable[[], None]) -> None:
        self.code.append(asm("addi", rd=register, rs1=0, imm=times))
        top = len(self.code)
        body()
        self.code.append(asm("addi", rd=register, rs1=register, imm=-1))
        distance = 4 * (top - len(self.code))
        if distance >= -4096:
            self.code.append(asm("bne", rs1=register, rs2=0, imm=distance))
        else:
            self.code += [asm("beq", rs1=register, rs2=0, imm=8), asm("jal", rd=0, imm=distance - 4)]

    def _lines(self, count: int, depth: int) -> None:
        for _ in range(count):
            self._straight(self.rng.randrange(1, 7))
            kind = self.rng.random()
            if kind < 0.3:
                self._skip()
            elif kind < 0.45 and depth == 1:
                self._count(COUNTS[1], self.rng.randrange(2, 9), lambda: self._lines(2, depth=2))
            elif kind < 0.6 and depth < 3:
                self._calls.append((len(self.code), self.rng.randrange(2)))
                self.code.append(b"")
            elif kind < 0.65:
                self._indirect()

    def _skip(self) -> None:
        branch = self.rng.choice(BRANCHES)
        inside = Writer(self.rng.getrandbits(32))
        inside._straight(self.rng.randrange(1, 4))
        self.code.append(branch.encode(rs1=self._x(), rs2=self._x(), imm=4 * (len(inside.code) + 1)).to_bytes(4, "little"))
        self.code += inside.code

    def _indirect(self) -> None:
        """A jump by a register to one of two places."""
        register = self.rng.choice(FREE)
        self.code += [
            asm("andi", rd=register, rs1=self._x(), imm=4),
            asm("auipc", rd=SCRATCH, imm=0),
            asm("add", rd=register, rs1=register, rs2=SCRATCH),
            asm("jalr", rd=0, rs1=register, imm=12),
            asm("addi", rd=register, rs1=register, imm=1),
        ]

    def _straight(self, count: int) -> None:
        for _ in range(count):
            kind = self.rng.random()
            pool = INTEGER if kind < 0.5 else LOADS if kind < 0.65 else STORES if kind < 0.78 else FLOATING if kind < 0.97 else AMOS
            self._one(self.rng.choice(pool))

    def _one(self, instruction: object) -> None:
        rng = self.rng
        operands: dict[str, int] = {}
        pattern = instruction.pattern  # type: ignore[attr-defined]
        base = rng.choice((SP, SP, SP, SP, SP, SP, SP, SP, WILD))
        memory = instruction in LOADS or instruction in STORES or instruction in AMOS
        for name, operand in pattern.operands.items():
            if name == "rd":
                operands[name] = rng.choice((*FREE, 0))
            elif name == "rs1" and memory:
                operands[name] = base
            elif name in ("rs1", "rs2"):
                operands[name] = self._x()
            elif name == "imm" and memory:
                operands[name] = rng.randrange(-2048, 2048) & (-8 if rng.random() < 0.9 else -1)
            elif name == "rm":
                operands[name] = rng.choice((7, 7, 7, 7, 0, 1, 2, 3, 4))
            elif name in ("pred", "succ", "fm"):
                operands[name] = 0
            else:
                operands[name] = operand.extract(rng.getrandbits(32))
        self.code.append(instruction.encode(**operands).to_bytes(4, "little"))  # type: ignore[attr-defined]

    def _x(self) -> int:
        return self.rng.choice((*FREE, SP, 0))


def prepare(bare: Bare, seed: int, rounds: int = 300, code: int = CODE) -> None:
    """Place a program and its data, and fill the registers."""
    rng = random.Random(seed)
    program = Writer(seed).program(rounds)
    bare.put(code, program)
    bare.put(HANDLER, handler())
    bare.machine.ram.write(DATA - DATA_SIZE, rng.randbytes(2 * DATA_SIZE))
    cpu = bare.cpu
    for number in range(1, 32):
        cpu.x[number] = rng.getrandbits(rng.choice((8, 32, 64)))
        near_one = 0x3FF0000000000000 + rng.getrandbits(52), 0xFFFFFFFF3F800000 + rng.getrandbits(20)
        cpu.f[number] = rng.choice((rng.getrandbits(64), *near_one))
    cpu.x[SP] = DATA
    cpu.x[WILD] = rng.choice((0, 0x10000000, DATA + DATA_SIZE - 4, DATA + 1, code))
    cpu.x[TRAPS] = 0
    cpu.frm = rng.choice((0, 0, 0, 1, 2, 3, 4))
    cpu.pc = code


def everything(bare: Bare) -> dict[str, object]:
    """What must be the same however a program was executed."""
    cpu = bare.cpu
    names = ("pc", "privilege", "fs", "frm", "fflags", "status", "sepc", "scause", "stval", "cause")
    state: dict[str, object] = {name: int(getattr(cpu, name)) for name in names if name != "cause"}
    state |= {f"x{number}": int(cpu.x[number]) for number in range(32)}
    state |= {f"f{number}": int(cpu.f[number]) for number in range(32)}
    state["instructions"] = bare.hart.instructions
    state["data"] = bare.machine.ram.read(DATA - DATA_SIZE, 2 * DATA_SIZE)
    state["code"] = bare.machine.ram.read(CODE, 0x4000)
    return state
