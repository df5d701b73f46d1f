"""What a software machine executes, as events: instructions, traps and exits.

Attached before the machine starts, a tracer stands in for each hart's `step`. To see exits (device accesses, firmware calls, waits) and
traps costs next to nothing: the run loop comes back at each. To see instructions the tracer lets a hart execute one at a time, some ten
thousand times slower. `skip` lets it run at full speed and untold until then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

from gasang.accel.soft.hart import UNLIMITED, Hart
from gasang.accel.soft.lookup import instruction_at
from gasang.accel.soft.machine import SoftMachine
from gasang.accel.soft.trap_words import trap_text
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.assembly import X_NAMES, disassemble
from gasang.cpus.riscv64.trap import SSTATUS_SPP

MODES = ("U", "S")
TRAPS = (exits.TRAP, exits.LOST)
"""The reasons for which a hart comes back right behind a trap."""


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


class Names(Protocol):
    """What the board calls its parts."""

    def place(self, address: int, *, is_write: bool) -> str:
        """The device and register at a guest-physical address; "" if none is there."""
        ...

    def call(self, extension: int, function: int, arguments: Sequence[int]) -> str:
        """A firmware call with its arguments (a0 to a5)."""
        ...


class Unnamed:
    """Numbers, where nobody knows names."""

    def place(self, address: int, *, is_write: bool) -> str:
        """No name."""
        return ""

    def call(self, extension: int, function: int, arguments: Sequence[int]) -> str:
        """Extension, function and the first two arguments."""
        return f"{extension:#x} function {function}, a0 {arguments[0]:#x}, a1 {arguments[1]:#x}"


class Tracer:
    """Tells `emit` what the harts of a machine do; from their own threads. Attach it before the machine starts."""

    def __init__(
        self, machine: SoftMachine, wanted: frozenset[What], emit: Callable[[Event], None], skip: int = 0, names: Names | None = None
    ) -> None:
        self._machine = machine
        self._emit = emit
        self.wanted = wanted
        self.skip = skip
        self.names = names or Unnamed()
        machine.serial.connect(0)  # or some accesses would be no exits
        for hart in machine.harts:
            hart.step = _HartTracer(self, hart, hart.step).step  # type: ignore[method-assign]

    def tell(self, hart: Hart, what: What, pc: int, text: str, number: int | None = None, mode: int | None = None) -> None:
        """Emit an event, if its sort is wanted."""
        if what in self.wanted:
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
        self._turn = self._begin
        if tracer.skip:
            hart.cpu.remaining = tracer.skip
            self._turn = self._skip

    def step(self) -> int:
        """One turn of the hart: until something is asked of the outside, a trap, or one instruction."""
        return self._turn()

    def _skip(self) -> int:
        """At full speed, and nothing is told."""
        reason = self._step()
        if reason == exits.LIMIT:
            self._turn = self._begin
        return reason

    def _begin(self) -> int:
        """From now on the hart is watched."""
        cpu = self._hart.cpu
        cpu.watches_traps = int(bool(self._tracer.wanted & {What.TRAP, What.INSTRUCTION}))
        single = What.INSTRUCTION in self._tracer.wanted
        cpu.remaining = 0 if single else UNLIMITED
        self._turn = self._one if single else self._many
        return self._turn()

    def _many(self) -> int:
        """Until the next exit or trap."""
        reason = self._step()
        self._exit(reason)
        if reason in TRAPS:
            self._trap()
        return reason

    def _one(self) -> int:
        """One instruction, and what it asks of devices on the way; or a trap: in place of it, before it, or right behind it."""
        hart, cpu = self._hart, self._hart.cpu
        pc, mode, number = int(cpu.pc), int(cpu.privilege), hart.instructions
        word = self._tracer.word_at(hart, pc)
        before = list(cpu.x)
        if not cpu.budget:
            cpu.remaining = 1
        reason = self._step()
        self._exit(reason)
        while reason in (exits.MMIO_READ, exits.MMIO_WRITE):
            reason = self._step()
            self._exit(reason)
        if word is not None and (hart.instructions != number or reason == exits.SBI):  # who answers a call retires it
            self._tracer.tell(hart, What.INSTRUCTION, pc, _spelled(word, pc, before, list(cpu.x)), number, mode)
        if reason in TRAPS:
            self._trap()
        return reason

    def _exit(self, reason: int) -> None:
        """Tell of an exit."""
        cpu = self._hart.cpu
        text = _EXIT_TEXTS.get(reason)
        if text is not None:
            self._tracer.tell(self._hart, What.EXIT, int(cpu.pc), text(cpu, self._tracer.names))

    def _trap(self) -> None:
        """Tell of the trap that has just been delivered."""
        cpu = self._hart.cpu
        text = f"{trap_text(int(cpu.scause), int(cpu.stval))} → {int(cpu.pc):#x}"
        self._tracer.tell(self._hart, What.TRAP, int(cpu.sepc), text, mode=int(cpu.status & SSTATUS_SPP != 0))


def _spelled(word: int, pc: int, before: list[int], after: list[int]) -> str:
    """An instruction and the register it changed."""
    text = disassemble(word, pc).replace("\t", " ")
    changed = [f"{X_NAMES[number]}={after[number]:#x}" for number in range(1, 32) if after[number] != before[number]]
    return f"{text:<32} {' '.join(changed)}".rstrip()


def _access(cpu: Any, names: Names, *, is_write: bool) -> str:
    address, size = int(cpu.mmio_address), int(cpu.mmio_size)
    name = names.place(address, is_write=is_write)
    place = f"{address:#x}, {name}" if name else f"{address:#x}"
    return f"device {'write' if is_write else 'read'}, {size} bytes at {place}: {int(cpu.mmio_value):#x}"


_EXIT_TEXTS: dict[int, Callable[[Any, Names], str]] = {
    exits.MMIO_READ: lambda cpu, names: _access(cpu, names, is_write=False),
    exits.MMIO_WRITE: lambda cpu, names: _access(cpu, names, is_write=True),
    exits.SBI: lambda cpu, names: f"firmware call {names.call(int(cpu.x[17]), int(cpu.x[16]), [int(x) for x in cpu.x[10:16]])}",
    exits.WAIT: lambda cpu, names: "wait for an interrupt",
    exits.LOST: lambda cpu, names: "the same trap all the time: can it ever go on?",
}
