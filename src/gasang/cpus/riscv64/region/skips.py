"""Branches that skip a few instructions: both ways are computed, and what the branch says is chosen.

    if a < b:  c = a   ──►   c = a if a < b else c

Which of two the lesser is no host foresees, and each wrong guess costs it as much as twenty instructions. What is skipped has only integer
registers of the host to do with, and is cheap.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from gasang.cpus.instruction_set import Result
from gasang.cpus.riscv64.region.heads import HeadEmitter
from gasang.cpus.riscv64.region.homes import names
from gasang.cpus.riscv64.region.pages import Step, is_computation
from gasang.cpus.riscv64.region.shape import Region
from gasang.cpus.riscv64.region.words import after, makes_word

MOST_SKIPPED = 3
"""Instructions."""
_DEAR = frozenset({"M"})
"""Extensions whose instructions are not executed in vain."""


def skips_of(region: Region) -> dict[int, int]:
    """The lines that are skipped so, each behind its branch alone, and the branches' places."""
    lines = {leader: region.line(leader) for leader in region.leaders}
    ways = Counter(place for line in lines.values() for place in region.goes_on(line[-1]))
    found: dict[int, int] = {}
    for line in lines.values():
        branch = line[-1]
        skipped = lines.get(branch.after)
        if branch.decoded.instruction.result is not Result.BRANCH or skipped is None or branch.target not in lines:
            continue
        leader = skipped[0].place
        is_only_here = ways[leader] == 1 and leader not in region.heads and leader not in region.entries
        if is_only_here and skipped[-1].after == branch.target and len(skipped) <= MOST_SKIPPED and all(map(_is_cheap, skipped)):
            found[leader] = branch.place
    return found


def _is_cheap(step: Step) -> bool:
    instruction: Any = step.decoded.instruction.base or step.decoded.instruction
    return is_computation(step) and instruction.extension not in _DEAR


class SkipEmitter(HeadEmitter):
    """Emits what is skipped."""

    skips: dict[int, int]

    def skip(self, taken: str, leader: int, to: int, rest: str) -> str:
        """Execute a line that a branch to `to` skips if `taken`, and choose; the budget behind it."""
        line, before = self.region.line(leader), self.words
        written = 0
        for step in line:
            written |= step.writes
        numbers = [int(name[1:]) for name in names(written)]
        as_words = self.known_words.at(to) & written
        old = {number: self._chosen_from(number, as_words) for number in numbers}
        for step in line:
            self._skipped(step)
        for number in numbers:
            kind = "i32" if as_words >> number & 1 else "i64"
            chosen = self.value(f"select i1 {taken}, {kind} {old[number]}, {kind} {self._chosen_from(number, as_words)}")
            self.line(f"store {kind} {chosen}, ptr {self.keep_word(number) if kind == 'i32' else f'%kept.x{number}'}")
        self.words = before & ~written | as_words
        self.stored &= ~written
        self.put_away(written & self.homes.early(leader))
        return self.value(f"select i1 {taken}, i64 {rest}, i64 {self.minus(rest, len(line))}")

    def _skipped(self, step: Step) -> None:
        self.planned, self.divisor = None, None
        self.is_word = makes_word(step, self.words)
        self.execute(step)
        self.words = after(step, self.words)

    def _chosen_from(self, number: int, as_words: int) -> str:
        if not as_words >> number & 1:
            return self.kept_value("x", number)
        if self.words >> number & 1:
            return self.value(f"load i32, ptr {self.keep_word(number)}")
        return self.value(f"trunc i64 {self.kept_value('x', number)} to i32")
