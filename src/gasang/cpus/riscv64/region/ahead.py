"""Heads of circles whose line is known to be executed to its end before it is begun.

    end of a line ──► budget? ──► look for the head's accesses ──► head ──► … (no look, no way out)
                        │ no        │ fails
                        ▼           ▼
                      what is dead at the head is put away: then poll, or the head's second text

What the last pass of a loop has left in temporaries must be right wherever the region may be left. Where the looks of a head's line are
made before it is passed, nothing leaves the region until the line has written them anew: so they need be nowhere, but on the two ways
that are hardly ever taken.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from gasang.cpus.riscv64.region.pages import FIRST_FLOAT, Step, is_plain
from gasang.cpus.riscv64.region.pieces import plan_whole
from gasang.cpus.riscv64.region.plans import Group, Planned
from gasang.cpus.riscv64.region.shape import Region

MOST_WAYS = 3
"""Ways to a head inside the region, of which each has looks of its own."""
MOST_LOOKS = 4


@dataclass(frozen=True)
class Ahead:
    """A head, the looks of its line that are made before it is passed, and what the line then writes before it can be left."""

    looks: tuple[Group, ...]
    overwritten: int

    def slot(self, place: int, number: int) -> str:
        """Where the host address that a look has found is, when the head is passed."""
        return f"%ahead.{place}.{number}".replace("-", "m")


def heads_ahead(region: Region) -> tuple[dict[int, dict[int, Planned]], dict[int, Ahead]]:
    """The plans of all lines, by leader, and of the heads those that have something of it."""
    plans = {leader: plan_whole(region.line(leader)) for leader in region.leaders}
    ways = Counter(place for leader in region.leaders for place in region.goes_on(region.line(leader)[-1]))
    found: dict[int, Ahead] = {}
    for head in sorted(region.heads):
        looks = tuple(dict.fromkeys(one.group for one in plans[head].values() if one.group.register is not None))
        overwritten = _overwritten(region.line(head), plans[head])
        if overwritten and ways[head] <= MOST_WAYS and len(looks) <= MOST_LOOKS:
            found[head] = Ahead(looks, overwritten)
    return plans, found


def _overwritten(line: list[Step], plans: dict[int, Planned]) -> int:
    written = 0
    for step in line:
        if not _stays(step, plans.get(step.place)):
            break
        written |= step.writes
    return written


def _stays(step: Step, planned: Planned | None) -> bool:
    """Whether an instruction cannot leave the region, once its look is made."""
    if planned is None:
        return is_plain(step)
    group = planned.group
    return group.register is not None and not (step.reads | step.writes) >> FIRST_FLOAT
