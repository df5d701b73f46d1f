"""What there is to say of a machine's compiled regions: how many, what they cost, how much of the guest they execute, why they are left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gasang.accel.soft.jit.check import Checks
    from gasang.accel.soft.jit.regions import Statistics
    from gasang.accel.soft.machine import SoftMachine


class RegionReport(NamedTuple):
    """A region that is checked (`--jit check`)."""

    number: int
    pc: int
    """Where it was begun first, a virtual address; 0 if it was not."""
    steps: int
    """Guest instructions in it."""
    entered: int
    executed: int
    exits: Mapping[str, int]
    """Runs by the reason for which they ended (check.REASONS)."""


class Stitched(NamedTuple):
    """What was stitched, of all harts (cpus/riscv64/stitching.py)."""

    stretches: int
    """Made so far."""
    steps: int
    """Guest instructions in them."""
    code_bytes: int
    """Their code that is there now."""


class Report(NamedTuple):
    """All that a machine's compiled code has done."""

    statistics: Statistics
    regions: Sequence[RegionReport]
    """Each, where they are checked."""
    instructions: int
    """That the machine has executed."""
    executed: int
    """Of these inside regions."""
    checked: bool
    stitched: Stitched

    @property
    def coverage(self) -> float:
        """The share of instructions executed in regions, 0 to 1."""
        return min(self.executed / self.instructions, 1.0) if self.instructions else 0.0

    def totals(self) -> dict[str, Any]:
        """The whole as plain data: seconds, bytes, a share from 0 to 1; `exits` are empty where regions are not checked.

        `regions` were compiled for this machine, `loaded` for earlier ones. Instructions executed in stitched code are not counted.
        """
        exits: Counter[str] = Counter()
        for region in self.regions:
            exits.update(region.exits)
        return {
            "regions": self.statistics.regions,
            "loaded": self.statistics.loaded,
            "steps": self.statistics.steps,
            "code_bytes": self.statistics.code_bytes,
            "compile_seconds": round(self.statistics.seconds, 6),
            "instructions": self.instructions,
            "executed": self.executed,
            "coverage": round(self.coverage, 4),
            "checked": self.checked,
            "exits": dict(exits),
            "stitched": self.stitched._asdict(),
        }


def report_of(statistics: Statistics, checks: Checks | None, machine: SoftMachine) -> Report:
    """The report of a machine; of some moment if it runs."""
    found = [] if checks is None else checks.figures()
    executed = sum(int(hart.cpu.compiled) for hart in machine.harts) if checks is None else sum(one.executed for one in found)
    return Report(statistics, found, machine.instructions, executed, checks is not None, _stitched(machine))


def _stitched(machine: SoftMachine) -> Stitched:
    made = [hart.stitched for hart in machine.harts if hart.stitched is not None]
    return Stitched(sum(code.stretches for code in made), sum(code.steps for code in made), sum(code.size for code in made))
