"""What a software machine executes, as events: instructions, traps and exits.

Attached before the machine starts, a tracer stands in for each hart's `step`. To see exits (device accesses, firmware calls, waits)
costs nothing. To see instructions and traps it lets a hart execute one instruction at a time, some ten thousand times slower; `skip` lets
it run at full speed until then.

A trap shows in the hart's state: with a budget of nothing a hart only takes a pending interrupt, so a changed pc is one; with a
budget of one, an instruction that was not retired raised an exception. Only after instructions that may enable interrupts does a
hart take one within the same turn: then it is not where that instruction leads.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from gasang.accel.soft.hart import Hart
from gasang.accel.soft.lookup import instruction_at
from gasang.accel.soft.machine import SoftMachine
from gasang.accel.soft.trap_words import trap_text
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.assembly import X_NAMES, disassemble
from gasang.cpus.riscv64.trap import SSTATUS_SPP

MODES = ("U", "S")
SYSTEM, SRET = 0x73, 0x10200073
"""Opcode of the instructions after which a hart looks for interrupts at once, and the one of them that jumps."""


class What(Enum):
    """The sorts of events."""

    INSTRUCTION = "instruction"
    TRAP = "trap"
    EXIT = "exit"


class Event(NamedTuple):
    """Something a hart did. `number` counts the instructions it had retired before; `mode` is U or S."""

    hart: int
    number: int
    what: What
    mode: str
    pc: int
    text: str


class Tracer:
    """Tells `emit` what the harts of a machine do; from their own threads. Attach it before the machine starts."""

    def __init__(self, machine: SoftMachine, wanted: frozenset[What], emit: Callable[[Event], None], skip: int = 0) -> None:
        self._machine = machine
        self._wanted = wanted
        self._emit = emit
        self.single = bool(wanted & {What.INSTRUCTION, What.TRAP})
        """Whether harts execute one instruction at a time."""
        self.spells = What.INSTRUCTION in wanted
        """Whether instructions are told."""
        for hart in machine.harts:
            if self.single:
                hart.cpu.remaining = skip
            hart.step = _HartTracer(self, hart, hart.step).step  # type: ignore[method-assign]

    def tell(self, hart: Hart, what: What, pc: int, text: str, number: int | None = None, mode: int | None = None) -> None:
        """Emit an event, if its sort is wanted."""
        if what in self._wanted:
            count = hart.instructions if number is None else number
            self._emit(Event(hart.number, count, what, MODES[int(hart.cpu.privilege) if mode is None else mode], pc, text))

    def word_at(self, hart: Hart, pc: int) -> int | None:
        """The instruction that `hart` would execute at `pc`."""
        return instruction_at(self._machine.ram, int(hart.cpu.satp), pc)


class _HartTracer:
    """The stand-in for one hart's `step`."""

    def __init__(self, tracer: Tracer, hart: Hart, step: Callable[[], int]) -> None:
        self._tracer = tracer
        self._hart = hart
        self._step = step
        self._skipping = tracer.single
        self._spells = tracer.spells

    def step(self) -> int:
        """One turn of the hart: until something is asked of the outside, or one instruction."""
        if not self._tracer.single:
            return self._exit(self._step())
        if self._skipping:
            reason = self._step()
            self._skipping = reason != exits.LIMIT
            return self._exit(reason)
        return self._interrupt() or self._instruction()

    def _exit(self, reason: int) -> int:
        """Tell of an exit, and hand it on."""
        cpu = self._hart.cpu
        text = _EXIT_TEXTS.get(reason)
        if text is not None:
            self._tracer.tell(self._hart, What.EXIT, int(cpu.pc), text(cpu))
        return reason

    def _interrupt(self) -> int:
        """Let the hart take a pending interrupt and nothing else; the reason if it came back for another than that."""
        cpu = self._hart.cpu
        if cpu.mmio_state != exits.MMIO_IDLE:
            return exits.NONE
        before, mode = int(cpu.pc), int(cpu.privilege)
        cpu.remaining = 0
        reason = self._step()
        if reason != exits.LIMIT:
            return self._exit(reason)
        if int(cpu.pc) != before:
            self._trap(before, mode)
        return exits.NONE

    def _trap(self, pc: int, mode: int) -> None:
        cpu = self._hart.cpu
        text = f"{trap_text(int(cpu.scause), int(cpu.stval))} → {int(cpu.pc):#x}"
        self._tracer.tell(self._hart, What.TRAP, pc, text, mode=mode)

    def _instruction(self) -> int:
        """Let the hart execute one instruction, and what it asks of devices on the way."""
        hart, cpu = self._hart, self._hart.cpu
        pc, mode, number, returns_to = int(cpu.pc), int(cpu.privilege), hart.instructions, int(cpu.sepc)
        word = self._tracer.word_at(hart, pc)
        registers = list(cpu.x) if self._spells else []
        cpu.remaining = 1
        reason = self._exit(self._step())
        while reason in (exits.MMIO_READ, exits.MMIO_WRITE):
            reason = self._exit(self._step())
        if reason in (exits.LIMIT, exits.LOST) and hart.instructions == number:
            self._trap(pc, mode)
        elif reason != exits.STOPPED and word is not None:
            if self._spells:
                self._tracer.tell(hart, What.INSTRUCTION, pc, _spelled(word, pc, registers, list(cpu.x)), number, mode)
            natural = returns_to if word == SRET else pc + 4
            if reason == exits.LIMIT and word & 0x7F == SYSTEM and int(cpu.pc) != natural:
                self._trap(int(cpu.sepc), int(cpu.status & SSTATUS_SPP != 0))
        return reason


def _spelled(word: int, pc: int, before: list[int], after: list[int]) -> str:
    """An instruction and the register it changed."""
    text = disassemble(word, pc).replace("\t", " ")
    changed = [f"{X_NAMES[number]}={after[number]:#x}" for number in range(1, 32) if after[number] != before[number]]
    return f"{text:<32} {' '.join(changed)}".rstrip()


def _read_text(cpu: Any) -> str:
    return f"device read, {int(cpu.mmio_size)} bytes at {int(cpu.mmio_address):#x}: {int(cpu.mmio_value):#x}"


def _write_text(cpu: Any) -> str:
    return f"device write, {int(cpu.mmio_size)} bytes at {int(cpu.mmio_address):#x}: {int(cpu.mmio_value):#x}"


def _sbi_text(cpu: Any) -> str:
    return f"firmware call {int(cpu.x[17]):#x} function {int(cpu.x[16])}, a0 {int(cpu.x[10]):#x}, a1 {int(cpu.x[11]):#x}"


_EXIT_TEXTS: dict[int, Callable[[Any], str]] = {
    exits.MMIO_READ: _read_text,
    exits.MMIO_WRITE: _write_text,
    exits.SBI: _sbi_text,
    exits.WAIT: lambda cpu: "wait for an interrupt",
    exits.LOST: lambda cpu: "the same trap all the time: can it ever go on?",
}
