"""Functions that a region calls: small ones are had once for each call; returns of others lead to what is behind calls of just these.

    call ──► the function ──► return ──► behind any of its calls       as the guest has it
    call ──► a copy of it ──► return ──► behind this call              where it is small, and straight

A copy belongs to its caller's text: what is known before the call is known in it, and behind it. Its instructions have places of their own,
a multiple of COPY away from those they are copied from. Nothing is taken for granted: a return looks where it leads, in a copy too, and who
comes from outside begins in the text that is no copy, where all instructions are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import inf

from gasang.cpus.riscv64.region.pages import COPY, Graph, Step

SMALL = 48
"""Instructions of a function, with those that it calls, that is copied. Where it has loops the call is little of what it takes."""
MOST_COPIED = 256
"""Instructions of all copies in a region."""


@dataclass
class Calls:
    """A region's instructions by place, copies among them, and where its indirect jumps and returns may lead."""

    steps: dict[int, Step]
    targets: dict[int, tuple[int, ...]]
    outermost: tuple[int, ...]
    """Places of no function that is called."""


def with_copies(graph: Graph, steps: dict[int, Step], targets: dict[int, tuple[int, ...]], most: int = MOST_COPIED) -> Calls:
    """Copy what is small and called among `steps`, `most` instructions in all. `targets` are those of indirect jumps but returns."""
    calls = _Calls(graph, steps, targets)
    calls.follow(most)
    return Calls(calls.found, calls.targets | calls.returns(), calls.outermost())


@dataclass
class _Text:
    """Instructions that calls are looked for in: those at `places`, moved by `away`."""

    places: list[int]
    away: int = 0


@dataclass
class _Calls:
    graph: Graph
    steps: dict[int, Step]
    targets: dict[int, tuple[int, ...]]
    found: dict[int, Step] = field(default_factory=dict)
    _behind: dict[int, set[int]] = field(default_factory=dict)
    """To each function that is not copied for them the places behind calls."""
    _somewhere: set[int] = field(default_factory=set)
    """Places behind calls that may lead to any function."""
    _own: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """To each return of a copy the place behind its call."""
    _copied: set[int] = field(default_factory=set)
    _bodies: dict[int, list[int]] = field(default_factory=dict)
    _sizes: dict[int, float] = field(default_factory=dict)

    def follow(self, most: int) -> None:
        """Go through the text and the copies that are made of it."""
        texts = [_Text(list(self.steps))]
        for text in texts:  # which become more
            for place in text.places:
                step = replace(self.steps[place], place=place + text.away)
                function = step.target if step.target is None else step.target - text.away
                if step.is_call and function in self.steps and self.steps[place].after in self.steps:
                    size = 0 if text.away else self._size(function)  # what is called in a copy was counted with it
                    if size <= SMALL and size <= most:
                        most -= int(size)
                        self._copied.add(function)
                        away = len(texts) * COPY
                        texts.append(_Text(self._body(function), away))
                        self._own |= {one + away: (step.after,) for one in self._body(function) if self.steps[one].is_return}
                        step = replace(step, to=function + away)
                    else:
                        self._behind.setdefault(function, set()).add(step.after)
                elif step.is_indirect and not step.is_return:
                    self._note_jump(step, text)
                self.found[step.place] = step

    def _note_jump(self, step: Step, text: _Text) -> None:
        """An indirect jump, in a copy to the copy's own places, or a call, of which there are none in copies."""
        led_to = self.targets[step.place - text.away]
        self.targets[step.place] = tuple(place + text.away for place in led_to)
        if step.is_call:
            if step.place not in self.graph.jumps:
                self._somewhere.add(step.after)
            for place in led_to:
                self._behind.setdefault(place, set()).add(step.after)

    def returns(self) -> dict[int, tuple[int, ...]]:
        """Where each return may lead: behind the calls of the functions it is in."""
        found: dict[int, set[int]] = {}
        for function in self._behind:
            for place in self._body(function) if function in self.steps else ():
                if self.steps[place].is_return:
                    found.setdefault(place, set()).update(self._behind[function])
        every = set[int]().union(self._somewhere, *self._behind.values())
        of_others = set[int]() if self._is_known(self.steps) else every
        returns = {place: found.get(place, of_others) | self._somewhere for place, step in self.steps.items() if step.is_return}
        return {place: tuple(sorted(behind & self.found.keys())) for place, behind in returns.items()} | self._own

    def outermost(self) -> tuple[int, ...]:
        """What is in no function that is called, in the order of memory."""
        called = {function for function in (*self._behind, *self._copied) if function in self.steps}
        inside = {place for function in called for place in self._body(function)}
        return tuple(place for place in self.steps if place not in inside)

    def _is_known(self, places: Iterable[int]) -> bool:
        """Whether it was seen where each jump leads."""
        steps = [self.steps[place] for place in places]
        return all(step.place in self.graph.jumps for step in steps if step.is_indirect and not step.is_return)

    def _size(self, function: int) -> float:
        """The instructions of a function and of what it calls; too many if it goes in circles, calls itself, or who knows what."""
        if function not in self._sizes:
            self._sizes[function] = inf  # as long as it is being asked for: to whom it calls itself
            steps = [self.steps[place] for place in self._body(function)]
            self._sizes[function] = len(steps) + sum(map(self._size_called, steps))
        return self._sizes[function]

    def _size_called(self, step: Step) -> float:
        if step.is_call:
            return self._size(step.target) if step.target in self.steps and step.after in self.steps else inf
        if step.target is not None:
            return 0 if step.target > step.place else inf
        return 0 if not step.is_indirect or step.is_return or step.place in self.graph.jumps else inf

    def _body(self, function: int) -> list[int]:
        """What is executed from a place on, without what it calls, as far as it is in the region."""
        if function not in self._bodies:
            seen, pending = {function}, [function]
            while pending:
                for place in self._goes_on(self.steps[pending.pop()]):
                    if place in self.steps and place not in seen:
                        seen.add(place)
                        pending.append(place)
            self._bodies[function] = sorted(seen)
        return self._bodies[function]

    def _goes_on(self, step: Step) -> Iterator[int]:
        if step.is_call or not step.is_jump:
            yield step.after
        if step.target is not None and not step.is_call:
            yield step.target
        elif step.is_indirect and not step.is_call and not step.is_return:
            yield from self.targets[step.place]
