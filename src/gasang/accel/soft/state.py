"""A hart's state as plain data, version 1: what the guest could find out about its processor, and nothing that is a cache.

The soft TLB and the decoded code are made anew from memory. A hart is saved between two instructions, no device access under way; one that
waited for an interrupt goes on behind its `wfi`, as the privileged specification allows at any time (3.3.3). An LR reservation is kept by
its guest-physical address. Guest time is the machine's, not a hart's.

A saved state may be anybody's. Every number that is loaded is brought into the range its register can have, so that a foreign state
harms its own guest alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gasang.core.errors import BadInputError
from gasang.core.protocols import State
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.csr import INTERRUPTS, SENVCFG_CBIE, SENVCFG_CBIE_RESERVED, SENVCFG_WRITABLE, SSTATUS_WRITABLE
from gasang.cpus.riscv64.mmu import SATP_BARE, SATP_SV39, SATP_SV57
from gasang.cpus.riscv64.reservation import LINE
from gasang.cpus.riscv64.state import RESERVATION_SLOTS

if TYPE_CHECKING:
    from gasang.accel.soft.hart import Hart

VERSION: Final = 1
WORD: Final = (1 << 64) - 1
_EVEN: Final = WORD - 1

REGISTERS: Final[dict[str, int]] = {
    "pc": _EVEN, "privilege": 1, "fs": 3, "frm": 7, "fflags": 31, "status": SSTATUS_WRITABLE, "sie": INTERRUPTS, "sip": INTERRUPTS,
    "stvec": WORD - 2, "sscratch": WORD, "sepc": _EVEN, "scause": WORD, "stval": WORD, "satp": WORD, "scounteren": 7,
    "senvcfg": SENVCFG_WRITABLE, "stimecmp": WORD, "trap_retired": WORD, "trap_repeats": WORD,
}  # fmt: skip
"""What is saved of `Cpu` beside x and f, each with the bits it can have."""


def save_hart(hart: Hart) -> State:
    """The state of a hart that stands still between two instructions."""
    cpu = hart.cpu
    assert cpu.mmio_state == exits.MMIO_IDLE
    reservation = int(cpu.reservation) - hart.machine.ram.memory.address + hart.machine.ram.base
    return {
        "version": VERSION,
        "running": hart.running,
        "x": [int(value) for value in cpu.x[:32]],
        "f": [int(value) for value in cpu.f[:32]],
        "instructions": hart.instructions,
        "reservation": [reservation, int(cpu.reserved_value)] if cpu.reservation_live else None,
        **{name: int(getattr(cpu, name)) for name in REGISTERS},
    }


def load_hart(hart: Hart, state: State) -> None:
    """Make a hart that has not run yet what `save_hart` described. Raises BadInputError for what no hart's state is."""
    subject = f"saved state of hart {hart.number}"
    if state.get("version") != VERSION:
        cause = f"its version is {state.get('version')!r}, this build knows {VERSION}"
        raise BadInputError(subject, cause, "restore it with the gasang that saved it")
    try:
        values = {name: _word(state[name]) & mask for name, mask in REGISTERS.items()}
        x, f = [[_word(value) for value in state[name]] for name in ("x", "f")]
        instructions, reservation, running = _word(state["instructions"]), state["reservation"], bool(state["running"])
        if len(x) != 32 or len(f) != 32:
            raise ValueError("a hart has 32 registers of each kind")
        _check_satp(values["satp"])
        held = _reserved(hart, reservation)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(subject, f"it is no state of a hart ({error})", "make the snapshot again") from error
    _set(hart, values, x, f)
    hart.cpu.retired = instructions % (1 << 63)
    if held is not None:
        _reserve(hart, *held)
    hart.running = running


def _set(hart: Hart, values: dict[str, int], x: list[int], f: list[int]) -> None:
    cpu = hart.cpu
    for name, value in values.items():
        setattr(cpu, name, value)
    if values["senvcfg"] & SENVCFG_CBIE == SENVCFG_CBIE_RESERVED:
        cpu.senvcfg = values["senvcfg"] & ~SENVCFG_CBIE
    for number in range(32):
        cpu.x[number], cpu.f[number] = x[number] if number else 0, f[number]
    cpu.budget = cpu.quantum = 0
    cpu.exit = exits.NONE
    hart.machine.processor.functions["wipe_tlb"](hart.address)
    hart.machine.processor.functions["enter_context"](hart.address)


def _reserved(hart: Hart, reservation: Any) -> tuple[int, int] | None:
    """(host address, value) of a reservation, which lies in RAM."""
    if reservation is None:
        return None
    address, value = (_word(part) for part in reservation)
    ram = hart.machine.ram
    if not ram.base <= address <= ram.base + ram.size - 8 or address % 4:
        raise ValueError("a reservation outside memory")
    return ram.memory.address + address - ram.base, value


def _reserve(hart: Hart, host: int, value: int) -> None:
    """As cpus/riscv64/reservation.py does it, on a machine whose harts stand still."""
    cpu = hart.cpu
    cpu.reservation, cpu.reserved_value, cpu.reservation_live = host, value, 1
    if cpu.multi:
        hart.machine.reservations[host >> LINE & RESERVATION_SLOTS - 1] += 1
        hart.machine.shared.reservations += 1


def _check_satp(satp: int) -> None:
    mode = satp >> 60
    if mode != SATP_BARE and not SATP_SV39 <= mode <= SATP_SV57:
        raise ValueError(f"satp {satp:#x} names no mode of translation")


def _word(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= WORD:
        raise ValueError(f"{value!r} is no register's content")
    return value
