"""Whether a guest can never go on: recognised by proof, so that no guest that would have gone on is ended.

The processor counts exceptions that repeat (cpus/riscv64/trap.py) and now and then asks here. The hart then goes once around, one
instruction at a time. It is lost for good if

1. one or two rounds lead from a trap to the same trap with all registers and CSRs as they were,
2. nothing executed on the way depends on more than those: no memory, device, counter, float or pending interrupt is read, and
3. no interrupt can be taken anywhere on the way.

Then only another hart or a device could change its fate, by changing the memory that the trap depends on: it is given `PATIENCE`
for that. A trap handler whose own first instruction cannot be executed is the shortest such round. Not recognised are rounds of
`HARDLY` and more instructions, rounds that read memory, and those that change something each time (a stack pointer that falls).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gasang.accel.soft.lookup import instruction_at
from gasang.accel.soft.trap_words import trap_text
from gasang.core.errors import MachineDiedError
from gasang.cpus.instruction_set import Decoded
from gasang.cpus.riscv64 import csr, exits
from gasang.cpus.riscv64.isa import rv64
from gasang.cpus.riscv64.state import SUPERVISOR
from gasang.cpus.riscv64.trap import HARDLY, REPEATS, SSTATUS_SIE

if TYPE_CHECKING:
    from gasang.accel.soft.hart import Hart

PATIENCE = 0.5
"""Seconds from the first proof to the end, for other harts and devices to change something."""
ROUNDS = 2
"""Rounds after which everything must be as it was: handlers begin by exchanging a register with sscratch."""

PURE = frozenset({"I", "M", "Zba", "Zbb", "Zbs"})
"""Extensions whose instructions depend on nothing but x registers and pc, unless they access memory."""
PURE_CSRS = frozenset(
    {csr.SSTATUS, csr.SIE, csr.STVEC, csr.SCOUNTEREN, csr.SENVCFG, csr.SSCRATCH, csr.SEPC, csr.SCAUSE, csr.STVAL, csr.STIMECMP, csr.SATP}
)
"""CSRs that nobody but the hart's own instructions and traps changes: `_STATE` has them all."""
_STATE = (
    "pc", "privilege", "status", "fs", "sie", "stvec", "scounteren", "senvcfg", "sscratch", "sepc", "scause", "stval", "stimecmp", "satp",
)  # fmt: skip

State = tuple[int, ...]


class LostGuestError(MachineDiedError):
    """A guest that can never go on ended its machine."""


class Watch:
    """Judges one hart. `look` is called by its thread each time the run loop was left with exits.LOST."""

    def __init__(self, hart: Hart, now: Callable[[], float] = time.monotonic) -> None:
        self._hart = hart
        self._now = now
        self._since: float | None = None

    def look(self) -> None:
        """Return if the hart may go on. Raises LostGuestError if it is proved lost and has been for PATIENCE seconds."""
        if self._hart.cpu.trap_repeats < 2 * REPEATS:
            self._since = None  # the first look at this trap
        if not goes_around(self._hart):
            self._since = None
        elif self._since is None:
            self._since = self._now()
        elif self._now() - self._since >= PATIENCE:
            raise _told(self._hart)


def goes_around(hart: Hart) -> bool:
    """Let a hart that has just trapped go on to the next trap or two; whether it will come back to this one for ever (rules 1 to 3)."""
    cpu = hart.cpu
    before, rounds = _state(hart), 0
    for _ in range(ROUNDS * HARDLY):
        returned, count = int(cpu.pc) == int(cpu.sepc), hart.instructions
        if _interruptible(hart) or not (returned or _is_pure(hart)):
            return False
        reason = hart.single()
        if reason == exits.STOPPED:
            hart.answer()
        if reason != exits.LIMIT:
            return False
        if hart.instructions == count:
            rounds += 1
            if rounds == ROUNDS or _state(hart) == before:
                return _state(hart) == before
        elif returned:
            return False
    return False


def _state(hart: Hart) -> State:
    return (*hart.cpu.x[:32], *(int(getattr(hart.cpu, name)) for name in _STATE))


def _interruptible(hart: Hart) -> bool:
    cpu = hart.cpu
    return bool(cpu.sie != 0 and (cpu.privilege != SUPERVISOR or cpu.status & SSTATUS_SIE != 0))


def _is_pure(hart: Hart) -> bool:
    """Rule 2 for the instruction that the hart is about to execute."""
    word = instruction_at(hart.machine.ram, int(hart.cpu.satp), int(hart.cpu.pc))
    decoded = None if word is None else rv64.decode(word)
    return decoded is None or _depends_on_registers_alone(decoded)  # what is no instruction traps, and that is the next trap


def _depends_on_registers_alone(decoded: Decoded) -> bool:
    instruction = decoded.instruction.base or decoded.instruction
    if instruction.extension == "Zicsr":
        return decoded.operands["csr"] in PURE_CSRS
    may_fault: bool = getattr(instruction.function, "may_fault", True)
    return (instruction.extension in PURE and not may_fault) or instruction.name == "sret"


def _told(hart: Hart) -> LostGuestError:
    cpu = hart.cpu
    at_once = cpu.sepc == cpu.stvec & ~3
    what = "its trap handler cannot be executed" if at_once else "its trap handler leads to the same trap for ever"
    trap = f"{trap_text(int(cpu.scause), int(cpu.stval))}, scause {int(cpu.scause)}, sepc {int(cpu.sepc):#x}, stvec {int(cpu.stvec):#x}"
    cause = f"it can never go on: {what} ({trap})"
    return LostGuestError(f"guest, hart {hart.number}", cause, "gasang trace --traps shows how it came there")
