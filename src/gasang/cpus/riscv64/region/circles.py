"""Circles of lines that each can be come to from one other only: so those behind can tell what a line has computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from gasang.cpus.riscv64.region.shape import Region


@dataclass(frozen=True)
class Circle:
    """The lines of a circle; `before` has for each the one that it is come to from, for the head itself."""

    lines: frozenset[int]
    before: Mapping[int, int]


def circles_around(region: Region, heads: Collection[int]) -> dict[int, Circle]:
    """To each line the circle around one of these heads that it is in, each line behind the one before it; others are absent."""
    last = {leader: region.line(leader)[-1] for leader in region.leaders}
    following = {leader: [place for place in region.goes_on(step) if place in last] for leader, step in last.items()}
    ways = Counter(place for places in following.values() for place in places)
    single = {place for place in following if ways[place] == 1} - set(region.entries) - region.heads
    found: dict[int, Circle] = {}
    for head in sorted(heads):
        before = _only_ways(head, following, single)
        lines = frozenset(place for leader in before if head in following[leader] for place in _back(leader, before))
        found |= {leader: Circle(lines, before) for leader in before if leader in lines}
    return found


def _only_ways(head: int, following: Mapping[int, list[int]], single: Collection[int]) -> dict[int, int]:
    """The lines that are come to from a head only, each behind the one that is before it, which is told."""
    before = {head: head}
    pending = [head]
    while pending:
        leader = pending.pop()
        for place in following[leader]:
            if place in single and place not in before:
                before[place] = leader
                pending.append(place)
    return before


def _back(leader: int, before: Mapping[int, int]) -> Iterator[int]:
    """A line and those before it, to the head."""
    yield leader
    while before[leader] != leader:
        leader = before[leader]
        yield leader
