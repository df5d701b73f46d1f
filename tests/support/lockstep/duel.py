"""Runs both machines through the same program in blocks and compares their whole state after each.

A block is up to BLOCK instructions from a random place of the program with fresh registers. It ends early where an instruction
traps: then the
trap's registers are compared, and the next block begins elsewhere. Where states differ the program is run again, and that block
one instruction at a time.
"""

from __future__ import annotations

import ctypes
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.assembly import disassemble
from gasang.cpus.riscv64.csr import (
    FFLAGS,
    FRM,
    NAMES,
    SATP,
    SCAUSE,
    SCOUNTEREN,
    SENVCFG,
    SEPC,
    SIE,
    SSCRATCH,
    SSTATUS,
    SSTATUS_SD,
    STIMECMP,
    STVAL,
    STVEC,
)
from gasang.cpus.riscv64.mmu import PTE_A
from gasang.cpus.riscv64.trap import (
    ILLEGAL_INSTRUCTION,
    INSTRUCTION_ACCESS_FAULT,
    INSTRUCTION_PAGE_FAULT,
    LOAD_ACCESS_FAULT,
    LOAD_MISALIGNED,
    SSTATUS_MXR,
    SSTATUS_SPIE,
    SSTATUS_SPP,
    SSTATUS_SUM,
    STORE_ACCESS_FAULT,
    STORE_MISALIGNED,
    STORE_PAGE_FAULT,
    SUPERVISOR_ECALL,
)
from support.lockstep.golden import Golden
from support.lockstep.programs import Registers, integer, program
from support.lockstep.state import PAGE, RAM_BASE, RAM_SIZE, Vector, csr_numbers, differences
from support.lockstep.subject import Subject
from support.lockstep.worlds import CODE, CODE_PAGES, DATA, DATA_PAGES, DATA_SIZE, TABLE_COUNT, TABLES, VIRTUAL, WORLDS, World

BLOCK = 64
FS = (3,) * 30 + (0,)
FRM_VALUES = (0, 1, 2, 3, 4) * 8 + (5, 6, 7)
BLOCKS = 400
CAUSE, VALUE, STATUS = (csr_numbers().index(number) for number in (SCAUSE, STVAL, SSTATUS))
SAME_CAUSE = {(LOAD_MISALIGNED, LOAD_ACCESS_FAULT), (STORE_MISALIGNED, STORE_ACCESS_FAULT)}
"""(ours, golden): either is right for a misaligned LR, SC or AMO."""
STORE_FAULTS = {STORE_PAGE_FAULT, STORE_ACCESS_FAULT}
"""cbo.zero: stval is rs1 (Zicboz: "the faulting effective address"), golden the block's address."""
LONG, LONGEST = 0x1F, 8
"""The lowest bits of instructions of six bytes and more (unprivileged, 1.5), and how many bytes the golden hart fetches at most."""
LONG_FAULTS = {(ILLEGAL_INSTRUCTION, INSTRUCTION_PAGE_FAULT), (ILLEGAL_INSTRUCTION, INSTRUCTION_ACCESS_FAULT)}
DIRTIER = {SSTATUS_SD | 1 << 13, SSTATUS_SD | 1 << 14}
"""FS: ours says Dirty, golden Initial or Clean."""
NEVER = (1 << 64) - 1
COMPARED_PAGES = [TABLES + PAGE * n for n in range(TABLE_COUNT)] + [DATA + PAGE * n for n in range(-1, DATA_PAGES + 1)]
CODE_RANGE = [CODE + PAGE * n for n in range(CODE_PAGES)]


Make = Callable[[random.Random], tuple[bytes, list[int]]]
"""Makes code, and the offsets at which its instructions begin."""


class Allowed(Exception):
    """The machines disagree where the specification leaves the choice."""


class Difference(AssertionError):
    """The machines disagree."""


@dataclass
class Tally:
    """What has been run."""

    instructions: int = 0
    blocks: int = 0
    overwritten: int = 0
    """Blocks not compared because the program had overwritten itself: until a fence.i nothing is promised."""
    reconciled: int = 0
    """Blocks that differed as RECONCILED allows."""
    abandoned: int = 0
    """Programs left where the specification leaves the choice: at a misaligned atomic instruction, or one longer than four bytes."""


class Duel:
    """Both machines, and what they are put through."""

    def __init__(self) -> None:
        self.golden = Golden()
        self.subject = Subject()
        self.tally = Tally()
        self.traps: Counter[int] = Counter()
        self._compare = ctypes.CDLL(None).memcmp
        self._compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        ours = self.subject.machine.ram.memory.address
        self._pages = [(page, ours + page - RAM_BASE, self.golden.page(page)) for page in COMPARED_PAGES]
        self._code_pages = [(page, ours + page - RAM_BASE, self.golden.page(page)) for page in CODE_RANGE]

    def close(self) -> None:
        """Give the memory back."""
        self.subject.close()

    def both(self, action: str, *arguments: object) -> None:
        """Do the same to both."""
        getattr(self.golden, action)(*arguments)
        getattr(self.subject, action)(*arguments)

    def run(self, seed: int, make: Make = program, blocks: int = BLOCKS) -> None:
        """Run a program, made from `seed`, in this many blocks. Raises Difference, with the instruction that made it."""
        problem = self._run(seed, make, blocks, None)
        if problem is None:
            return
        block, found = problem
        reconciled = self.tally.reconciled
        try:
            self._run(seed, make, blocks, block)
        except Allowed:
            self.tally.abandoned += 1
            return
        if self.tally.reconciled > reconciled:
            return
        raise Difference(f"program {seed}, block {block}: differs only when run as one block\n" + "\n".join(found))

    def _run(self, seed: int, make: Make, blocks: int, watched: int | None) -> tuple[int, list[str]] | None:
        """The first block that differs and how; `watched` is the block to be run one instruction at a time."""
        rng = random.Random(seed)
        world = WORLDS[seed % len(WORLDS)]
        code, starts = make(rng)
        registers = Registers(rng, world)
        self._prepare(rng, world, code)
        for block in range(blocks):
            self._begin(rng, world, starts, registers)
            if watched == block:
                self._watch(seed, block, world)
            found = self._block(BLOCK)
            if any(self._compare(ours, code[page - CODE :], PAGE) for page, ours, _ in self._code_pages):
                self.tally.overwritten += 1
                self._prepare(rng, world, code)
            elif found:
                return block, found
        return None

    def run_words(self, seed: int, words: Sequence[int]) -> None:
        """Execute each word, an instruction of two or four bytes or none at all, once. Raises Difference."""
        per_program = CODE_PAGES * PAGE // 4 - 1
        for first in range(0, len(words), per_program):
            rng = random.Random(seed + first)
            world = WORLDS[rng.randrange(len(WORLDS))]
            part = words[first : first + per_program]
            code = b"".join(word.to_bytes(4, "little") for word in part).ljust(CODE_PAGES * PAGE, b"\0")
            self._prepare(rng, world, code)
            registers = Registers(rng, world)
            for index, word in enumerate(part):
                self._begin(rng, world, [4 * index], registers)
                before = self.subject.vector()
                found = self._block(1)
                if found and not self._trapped_misaligned(before):
                    raise Difference("\n".join([f"{word:08x} {world.name}", *found, "before: " + _registers(before)]))

    def _trapped_misaligned(self, before: Vector) -> bool:
        return self.subject.csr(SEPC) == before.pc and self.subject.csr(SCAUSE) in (LOAD_MISALIGNED, STORE_MISALIGNED)

    def _golden_reads_on(self, world: World, pc: int) -> bool:
        """Whether the word begins a longer instruction, whose end on the next page the golden hart fetches before it decodes."""
        faults = (self.subject.csr(SCAUSE), self.golden.csr(SCAUSE))
        if faults not in LONG_FAULTS or pc % PAGE <= PAGE - LONGEST or self.golden.csr(STVAL) != (pc | PAGE - 1) + 1:
            return False
        word = int.from_bytes(self.subject.read(pc - world.code + CODE, 4), "little")
        return word & LONG == LONG

    def _prepare(self, rng: random.Random, world: World, code: bytes) -> None:
        self.both("write", CODE, code)
        self.both("write", TABLES, world.tables())
        self.both("write", DATA - PAGE, rng.randbytes(DATA_SIZE + 2 * PAGE))
        for number in (SCAUSE, STVAL, SSCRATCH):
            self.both("set_csr", number, integer(rng))
        self.both("set_csr", SIE, 0)
        self.both("set_csr", STIMECMP, NEVER)
        self.both("set_csr", SCOUNTEREN, rng.choice((5, 7, 0)))
        self.both("set_csr", SENVCFG, rng.choice((0xF0, 0xF0, 0x70, 0x10, 0)))
        self.both("set_csr", SATP, world.satp)
        self.both("drop_reservation")
        self.both("flush")

    def _begin(self, rng: random.Random, world: World, starts: list[int], registers: Registers) -> None:
        fs = rng.choice(FS)
        status = rng.getrandbits(64) & (SSTATUS_SUM | SSTATUS_MXR | SSTATUS_SPP | SSTATUS_SPIE) | fs << 13
        self.both("set_csr", SSTATUS, status | 3 << 13)  # the golden hart ends the process where fflags is written with FS off
        self.both("set_csr", STVEC, world.code)
        self.both("set_csr", SEPC, world.code + rng.choice(starts))
        self.both("set_csr", FFLAGS, rng.getrandbits(5))
        self.both("set_csr", FRM, rng.choice(FRM_VALUES))
        self.both("set_csr", SSTATUS, status)
        self.both("set_privilege", world.privilege)
        self.both("set_registers", *registers.draw())
        self.both("set_pc", world.code + rng.choice(starts))
        if not world.mode:
            self.golden.flush()  # data may have been executed in one block and changed in another
        self.subject.cpu.retired = self.golden.retired

    def _block(self, length: int) -> list[str]:
        """Run one block on both; what differs afterwards."""
        done, trapped = self.golden.step(length)
        before = self.subject.retired
        reason = self.subject.step(done + trapped)
        if reason == exits.SBI and trapped and self.golden.csr(SCAUSE) == SUPERVISOR_ECALL:
            for number in (SCAUSE, STVAL):
                self.golden.set_csr(number, self.subject.csr(number))
            return [] if self.golden.csr(SEPC) == self.subject.cpu.pc else [f"environment call at {self.subject.cpu.pc:#x}"]
        ours, golden = self.subject.vector(), self.golden.vector()
        if trapped or ours != golden:
            golden = self._reconcile(ours, golden, trapped)
        self.tally.instructions += done
        self.tally.blocks += 1
        found = [] if ours == golden else differences(ours, golden)
        if trapped:
            self.traps[golden.csrs[CAUSE]] += 1
        if self.subject.retired - before != done:
            found.append(f"{self.subject.retired - before} instructions retired, golden {done}")
        if reason != exits.LIMIT:
            found.append(f"execution ended for reason {reason}")
        return found + [
            f"memory page {page:#x} differs{self._where(page)}"
            for page, mine, theirs in self._pages
            if self._compare(mine, theirs, PAGE) and not self._fetched_ahead(page, ours.pc)
        ]

    def _reconcile(self, ours: Vector, golden: Vector, trapped: bool) -> Vector:
        """Make the golden hart like ours where they differ as the specification allows (the table in docs/reference/conformance.md)."""
        cause, address = ours.csrs[CAUSE], ours.csrs[VALUE]
        if trapped and (cause, golden.csrs[CAUSE]) in SAME_CAUSE:
            self.golden.set_csr(SCAUSE, cause)
        if trapped and cause == STORE_PAGE_FAULT and address % PAGE == 0 and golden.csrs[VALUE] == address:
            self._copy_tail(address - 8)
        if trapped and cause in STORE_FAULTS and address != golden.csrs[VALUE] == address & -64:
            self.golden.set_csr(STVAL, address)
        if ours.csrs[STATUS] & golden.csrs[STATUS] == golden.csrs[STATUS] and ours.csrs[STATUS] ^ golden.csrs[STATUS] in DIRTIER:
            self.golden.set_csr(SSTATUS, ours.csrs[STATUS])
            self.tally.reconciled += 1
        return self.golden.vector()

    def _copy_tail(self, address: int) -> None:
        """A store over two pages of which the second faults: ours has stored nothing, the golden one the bytes before."""
        physical = address if address >= RAM_BASE else address - VIRTUAL + RAM_BASE
        if DATA <= physical < DATA + DATA_SIZE:
            self.golden.write(physical, self.subject.read(physical, 8))

    def _fetched_ahead(self, page: int, pc: int) -> bool:
        """Ours looks the next instruction's page up when it jumps there, the golden hart when it executes there: only then it sets A."""
        place = page + (pc >> 12 & 511) * 8
        ours, golden = (int.from_bytes(machine.read(place, 8), "little") for machine in (self.subject, self.golden))
        if page >= DATA - PAGE or ours != golden | PTE_A or ours == golden:
            return False
        self.golden.write(place, ours.to_bytes(8, "little"))
        self.tally.reconciled += 1
        return self.subject.read(page, PAGE) == self.golden.read(page, PAGE)

    def _where(self, page: int) -> str:
        ours, golden = self.subject.read(page, PAGE), self.golden.read(page, PAGE)
        places = [offset for offset in range(0, PAGE, 8) if ours[offset : offset + 8] != golden[offset : offset + 8]]
        return "".join(
            f"\n  at {page + at:#x}: {ours[at : at + 8][::-1].hex()}, golden {golden[at : at + 8][::-1].hex()}" for at in places[:4]
        )

    def _watch(self, seed: int, block: int, world: World) -> None:
        """Run the block one instruction at a time. Raises Difference where the machines part."""
        for step in range(BLOCK):
            before = self.subject.vector()
            text = self._instruction(world, before.pc)
            found = self._block(1)
            if found:
                if self._trapped_misaligned(before) or self._golden_reads_on(world, before.pc):
                    raise Allowed
                title = f"program {seed} ({world.name}), block {block}, instruction {step} at {before.pc:#x}: {text}"
                raise Difference("\n".join([title, *found, "before: " + _registers(before)]))

    def _instruction(self, world: World, pc: int) -> str:
        physical = pc - world.code + CODE
        if not RAM_BASE <= physical < RAM_BASE + RAM_SIZE - 4:
            return "outside of memory"
        word = int.from_bytes(self.subject.read(physical, 4), "little")
        return f"{word:08x} {disassemble(word, pc, aliases=False, numeric=True)}"


def _registers(vector: Vector) -> str:
    x = [f"x{n}={int.from_bytes(vector.x[8 * n : 8 * n + 8], 'little'):x}" for n in range(32)]
    f = [f"f{n}={int.from_bytes(vector.f[8 * n : 8 * n + 8], 'little'):x}" for n in range(32)]
    return " ".join([*x, *f, *(f"{NAMES[number]}={value:x}" for number, value in zip(csr_numbers(), vector.csrs, strict=True))])
