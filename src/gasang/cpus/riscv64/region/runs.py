"""Circles that go through memory by known steps: for how many passes their accesses are in their windows can be told before.

    on the way to the head ──► how many passes are in all windows, and in the budget? ──► as many in a text without looks ──► head
                                          │ few
                                          ▼
                                        head

Of a loop over characters most is the looks, and a look's three loads keep the host from what it does best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter

from gasang.cpus.riscv64.handlers import FLOATING
from gasang.cpus.riscv64.i import fence
from gasang.cpus.riscv64.mmu import STORE
from gasang.cpus.riscv64.region.circles import Circle, circles_around
from gasang.cpus.riscv64.region.pages import Step, is_plain
from gasang.cpus.riscv64.region.pieces import plan_whole
from gasang.cpus.riscv64.region.plans import REGISTERS, Group, Planned, access_of, written_value
from gasang.cpus.riscv64.region.shape import Region
from gasang.cpus.riscv64.state import LONGEST

MOST_STRETCHES = 6
"""Of a circle: each has a window to ask, and a register of the host."""
MOST_STEP = 512
"""Bytes that a pass may go on by: of a page there are not many more such passes than it takes to tell how many."""
MOST_LINES = 12
"""Of a circle."""

Values = dict[int, tuple[int, int]]
"""To each register which register's value at the circle's head it has, and how much more; a number above all registers if it has none's."""


@dataclass(eq=False)
class Stretch:
    """What a pass accesses near the value that a register has at its head: from `low` to `high`, and `step` further in the next one."""

    register: int
    step: int
    group: Group
    """Of the circle's first text: whose window it has to be in."""
    low: int
    high: int
    slot: str
    """Where the way to the host's memory is, for the passes that are counted."""

    def takes(self, group: Group, low: int, high: int) -> bool:
        """Make an access's stretch part of this one, if it is not too far away."""
        low, high = min(low, self.low), max(high, self.high)
        if high - low > LONGEST:
            return False
        self.low, self.high = low, high
        if group.kind > self.group.kind:
            self.group = group
        return True


@dataclass(frozen=True)
class Run:
    """A circle of which passes can be counted."""

    head: int
    lines: tuple[int, ...]
    """The head first, each behind the one that leads to it."""
    longest: int
    """Instructions of a pass, at most."""
    counter: str
    """The slot with the passes that are left."""
    stretches: tuple[Stretch, ...]
    plans: Mapping[int, Mapping[int, Planned]]
    """Of the text without looks, by leader and place."""
    is_alone: bool
    """Whether it stores only, to a place each in all of its passes, with nothing between them that orders what other harts see."""


def runs_of(region: Region, plans: Mapping[int, Mapping[int, Planned]]) -> dict[int, Run]:
    """The circles that can be counted, by head; `plans` are those of the first text's lines."""
    circles = circles_around(region, region.heads)
    found = {}
    for head in sorted(region.heads):
        circle = circles.get(head)
        if circle is not None and len(circle.lines) <= MOST_LINES:
            run = _run(region, head, circle, plans)
            if run is not None:
                found[head] = run
    return found


def _run(region: Region, head: int, circle: Circle, plans: Mapping[int, Mapping[int, Planned]]) -> Run | None:
    order = [leader for leader in circle.before if leader in circle.lines]  # as they were found: each behind the one before
    behind: dict[int, Values] = {}
    for leader in order:
        before = behind[circle.before[leader]] if leader != head else {register: (register, 0) for register in range(REGISTERS)}
        behind[leader] = _behind(region.line(leader), before)
    last = [leader for leader in order if head in region.goes_on(region.line(leader)[-1])]
    ends = [behind[leader] for leader in last]
    stretches: list[Stretch] = []
    own: dict[int, dict[int, Planned]] = {}
    stores: list[tuple[Stretch, int, int]] = []
    loads = False
    for leader in order:
        before = behind[circle.before[leader]] if leader != head else {}
        of_group: dict[Group, Stretch] = {}
        for planned in plans[leader].values():
            if planned.group not in of_group:
                stretch = _stretch(head, planned.group, before, ends, stretches)
                if stretch is None:
                    return None
                of_group[planned.group] = stretch
        own[leader] = _planned_anew(region.line(leader), plans[leader], of_group)
        for place, planned in plans[leader].items():
            access = access_of(region.steps[place])
            if access is not None and access.kind == STORE:
                more = before.get(planned.group.register, (0, 0))[1] if planned.group.register is not None else 0
                stores.append((of_group[planned.group], planned.distance + more, access.size))
            else:
                loads = True
    if not stretches or len(stretches) > MOST_STRETCHES:
        return None
    steps = [(step, own[leader]) for leader in order for step in region.line(leader)]
    is_alone = bool(stores) and not loads and all(_orders_nothing(step, plans_of) for step, plans_of in steps) and _go_apart(stores)
    for planned in (planned for plans_of in own.values() for planned in plans_of.values()):
        planned.group.is_alone = is_alone
    longest = max(_so_far(region, circle, leader) for leader in last)
    return Run(head, tuple(order), longest, f"%passes.{head}".replace("-", "m"), tuple(stretches), own, is_alone)


def _so_far(region: Region, circle: Circle, leader: int) -> int:
    """Instructions from the head to the end of a line."""
    before = circle.before[leader]
    return len(region.line(leader)) + (_so_far(region, circle, before) if before != leader else 0)


def _behind(line: list[Step], before: Values) -> Values:
    values = dict(before)
    for step in line:
        if "rd" in step.decoded.instruction.wants:
            values[step.decoded.slots["rd"]] = written_value(step, values) or (REGISTERS + step.place % (1 << 62), 0)
    return values


def _stretch(head: int, group: Group, before: Values, ends: list[Values], known: list[Stretch]) -> Stretch | None:
    """The stretch that a group's accesses are in, one of those known or a new one; None if it does not go on by a known step."""
    if group.register is None:
        return None
    register, more = before.get(group.register, (group.register, 0))
    steps = {end[register] for end in ends} if register < REGISTERS else set()
    if len(steps) != 1:
        return None
    came_from, step = steps.pop()
    if came_from != register or abs(step) > MOST_STEP:
        return None
    low, high = group.low + more, group.high + more
    for stretch in known:
        if stretch.register == register and stretch.takes(group, low, high):
            return stretch
    known.append(Stretch(register, step, group, low, high, f"%addend.{head}.{len(known)}".replace("-", "m")))
    return known[-1]


def _orders_nothing(step: Step, plans: Mapping[int, Planned]) -> bool:
    instruction = step.decoded.instruction
    if instruction.function is fence:
        return False
    return step.place in plans or is_plain(step) or (instruction.base or instruction).extension in FLOATING


def _go_apart(stores: list[tuple[Stretch, int, int]]) -> bool:
    """Whether stores, each told by its stretch, its distance and its size, go to other bytes each, in this pass and the next ones."""
    if len({stretch for stretch, _, _ in stores}) > 1:
        return False
    end = None
    for _, distance, size in sorted(stores, key=itemgetter(1)):
        if end is not None and distance < end:
            return False
        end = distance + size
    return end is None or end - min(distance for _, distance, _ in stores) <= abs(stores[0][0].step)


def _planned_anew(line: list[Step], plans: Mapping[int, Planned], of_group: Mapping[Group, Stretch]) -> dict[int, Planned]:
    """The same plan with groups of its own, each of which knows its stretch."""
    own = plan_whole(line)
    for place, planned in own.items():
        planned.group.addend = of_group[plans[place].group].slot
    return own
