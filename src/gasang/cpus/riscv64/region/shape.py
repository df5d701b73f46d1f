"""What a region consists of: from a hot place and the graph around it to the instructions, the ways in, and where to look at the budget.

The instructions are those that lie on a circle with the hot one, nearest first: a loop with all it contains, or a function with those it
calls and that call it. Where there is no circle they are all that lead to or from it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from gasang.cpus.instruction_set import Result
from gasang.cpus.riscv64.region.calls import MOST_COPIED, with_copies
from gasang.cpus.riscv64.region.divisors import expected_divisors
from gasang.cpus.riscv64.region.pages import Graph, Step, guest_place

MOST_STEPS = 700
"""Instructions of a region."""
MOST_GUESSES = 512
"""Ways from jumps that were not watched to places that they may lead to: a region with 2300 took LLVM half a minute."""
MOST_SEEN = 4000
"""Instructions looked at to find them."""
MOST_PAGES = 4


@dataclass(frozen=True)
class Region:
    """The shape of a region."""

    steps: dict[int, Step]
    """By place: those of the guest in their order in memory, then copies (calls.py)."""
    entries: tuple[int, ...]
    """Places where it can be begun."""
    leaders: frozenset[int]
    """Places that something other than the instruction before leads to, and those behind branches."""
    heads: frozenset[int]
    """Places of which every circle passes one."""
    ways: dict[int, int]
    """To each place the most instructions until the next head, or the end."""
    targets: dict[int, tuple[int, ...]]
    """To the place of each indirect jump and return those that it may lead to."""
    divisors: dict[int, int] = field(default_factory=dict)
    """What divisions are expected to divide by, by place."""

    @property
    def places(self) -> tuple[int, ...]:
        """Of its instructions, as the guest has them."""
        return tuple(place for place in self.steps if place == guest_place(place))

    def goes_on(self, step: Step) -> list[int]:
        """The places inside that may follow an instruction."""
        if step.is_indirect:
            found: Iterable[int] = self.targets[step.place]
        else:
            found = [] if step.target is None else [step.target]
            if not step.is_jump:
                found = [*found, step.after]
        return [place for place in found if place in self.steps]

    def line(self, leader: int) -> list[Step]:
        """The instructions from a leader to the next."""
        line = [self.steps[leader]]
        while line[-1].decoded.instruction.result is Result.FALLTHROUGH:
            after = line[-1].after
            if after in self.leaders or after not in self.steps:
                break
            line.append(self.steps[after])
        return line


def form(graph: Graph, hot: int, most: int = MOST_STEPS, copied: int = MOST_COPIED) -> Region | None:
    """The region around a hot place, of `most` instructions at most, and `copied` in copies; None if the one there cannot be compiled."""
    if graph.at(hot) is None:
        return None
    chosen = _chosen(graph, hot, most)
    steps = {place: step for place in sorted(chosen) if (step := graph.at(place)) is not None}
    divisors = expected_divisors(graph, steps)
    calls = with_copies(graph, steps, _targets(graph, steps, hot), copied)
    region = Region(calls.steps, (), frozenset(), frozenset(), {}, calls.targets)
    led_to = {place for step in region.steps.values() for place in region.goes_on(step)}
    order, heads = _circles(region, *sorted(calls.outermost, key=led_to.__contains__))
    entries = _entries(region, led_to, heads | ({_leader(graph, steps, hot)} if not _is_around(region, hot) else set()))
    leaders, ways = _leaders(region, entries), _ways(region, order, heads)
    divided = {place: divisors[guest_place(place)] for place in region.steps if guest_place(place) in divisors}
    return Region(region.steps, entries, leaders, frozenset(heads), ways, region.targets, divided)


def _targets(graph: Graph, steps: dict[int, Step], hot: int) -> dict[int, tuple[int, ...]]:
    """What indirect jumps may lead to: what was seen; where nothing was, what nothing else inside leads to."""
    jumps = [place for place, step in steps.items() if step.is_indirect and not step.is_return]
    if all(place in graph.jumps for place in jumps):
        unknown: tuple[int, ...] = ()
    else:
        led_to = {place for step in steps.values() for place in graph.leads_to(step)}
        unknown = tuple(place for place in steps if place not in led_to and place != hot)
        if len(unknown) * len(jumps) > MOST_GUESSES:
            unknown = ()
    return {place: tuple(sorted(graph.jumps[place])) if place in graph.jumps else unknown for place in jumps}


def _chosen(graph: Graph, hot: int, most: int) -> set[int]:
    reachable = _walk(hot, lambda place: _ahead(graph, place, ()), MOST_SEEN)
    behind = [step.after for place in reachable if (step := graph.at(place)) is not None and step.is_call]

    def ahead(place: int) -> list[int]:
        return [found for found in _ahead(graph, place, behind) if found in reachable]

    back: dict[int, list[int]] = {}
    for place in reachable:
        for found in ahead(place):
            back.setdefault(found, []).append(place)
    circle = set(_walk(hot, lambda place: back.get(place, []), MOST_SEEN))
    if len(circle) > 1 or hot in ahead(hot):
        near = _walk(hot, lambda place: [found for found in (*ahead(place), *back.get(place, ())) if found in circle], most)
    else:
        near = _walk(hot, lambda place: (*_ahead(graph, place, ()), *graph.before(place)), most)
    return _few_pages(place for place in near if graph.at(place) is not None)


def _few_pages(places: Iterable[int]) -> set[int]:
    """The places, nearest first, as far as they lie on few pages."""
    pages: set[int] = set()
    found: set[int] = set()
    for place in places:
        if place >> 12 in pages or len(pages) < MOST_PAGES:
            pages.add(place >> 12)
            found.add(place)
    return found


def _ahead(graph: Graph, place: int, behind: Collection[int]) -> list[int]:
    step = graph.at(place)
    if step is None:
        return []
    if step.is_return:
        return list(behind)
    return [found for found in graph.leads_to(step) if graph.at(found) is not None]


def _walk(start: int, around: Callable[[int], Iterable[int]], most: int) -> dict[int, None]:
    """The places that can be reached, nearest first."""
    found = {start: None}
    layer = [start]
    while layer and len(found) < most:
        following = []
        for place in layer:
            for neighbour in around(place):
                if neighbour not in found and len(found) < most:
                    found[neighbour] = None
                    following.append(neighbour)
        layer = following
    return found


def _is_around(region: Region, hot: int) -> bool:
    """Whether the hot place is in a circle: who is there comes to its head soon, and a way in amid a loop lets little be known there."""
    following = region.goes_on(region.steps[hot])
    return any(hot in _walk(after, lambda place: region.goes_on(region.steps[place]), len(region.steps)) for after in following)


def _leader(graph: Graph, steps: dict[int, Step], place: int) -> int:
    """The first instruction of the straight line that a place is in."""
    seen = {place}
    while True:
        sources = [source for source in graph.before(place) if source in steps]
        if len(sources) != 1 or sources[0] in seen or steps[sources[0]].after != place or steps[sources[0]].target is not None:
            return place
        place = sources[0]
        if steps[place].is_jump:
            return steps[place].after
        seen.add(place)


def _circles(region: Region, *starts: int) -> tuple[list[int], set[int]]:
    """All places, each after those it leads to but for circles; and the place of each circle that is met first.

    From outside in: so that it is where a loop begins, whatever part of it was found to be hot.
    """
    order: list[int] = []
    heads: set[int] = set()
    state: dict[int, int] = {}
    for start in (*starts, *region.steps):
        if start in state:
            continue
        state[start] = 1
        stack: list[tuple[int, Iterator[int]]] = [(start, iter(region.goes_on(region.steps[start])))]
        while stack:
            place, following = stack[-1]
            found = next(following, None)
            if found is None:
                stack.pop()
                state[place] = 2
                order.append(place)
            elif found not in state:
                state[found] = 1
                stack.append((found, iter(region.goes_on(region.steps[found]))))
            elif state[found] == 1:
                heads.add(found)
    return order, heads


def _entries(region: Region, led_to: Collection[int], chosen: set[int]) -> tuple[int, ...]:
    """Heads and others that are `chosen`, functions, returns from calls that leave, and what else nothing inside leads to."""
    called = {step.target for step in region.steps.values() if step.is_call and step.target in region.steps}
    back = {step.after for step in region.steps.values() if step.is_call and step.after in region.steps and step.target not in region.steps}
    found = chosen | called | back | (region.steps.keys() - led_to)
    return tuple(place for place in sorted(found) if place == guest_place(place))


def _leaders(region: Region, entries: Iterable[int]) -> frozenset[int]:
    found = {*entries, *(place for places in region.targets.values() for place in places)}
    for step in region.steps.values():
        if step.target is not None:
            found |= {step.target, step.after}
        elif step.is_jump:
            found.add(step.after)
    return frozenset(found & region.steps.keys())


def _ways(region: Region, order: Iterable[int], heads: set[int]) -> dict[int, int]:
    """To each place the longest way to the next head of a circle, or out."""
    longest: dict[int, int] = {}
    for place in order:
        following = [0 if found in heads else longest[found] for found in region.goes_on(region.steps[place])]
        longest[place] = 1 + max(following, default=0)
    return longest
