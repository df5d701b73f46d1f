"""Regions that LLVM has little to do with: code that is hardly hot, and of which there is much.

    each register's value: with the hart, always; in a line also as what it was read or written as last
    each look: the TLB's entry in place, else a function that has the TLB know the page, else the region is left

An exit has nothing to write back, no value lives from one line to the next, and no line is written twice. So there are few values and few
blocks, and those cost LLVM its time; the code takes longer than that of emit.py, and less than the interpreter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gasang.cpus.riscv64.region.bodies import NO_REGISTER
from gasang.cpus.riscv64.region.emit import RegionEmitter
from gasang.cpus.riscv64.region.homes import names
from gasang.cpus.riscv64.region.layout import CPU, HART, NEARLY_ALWAYS, field_offset
from gasang.cpus.riscv64.region.leaving import name_of
from gasang.cpus.riscv64.region.pages import Step
from gasang.cpus.riscv64.region.plans import Group, plan
from gasang.cpus.riscv64.region.shape import Region
from gasang.cpus.riscv64.regions import PLACE_OF, POLL_BRIEF
from gasang.native import tree


class WithTheHart:
    """Where a region's registers are that keeps none: what homes.py and words.py say of others."""

    written = 0

    def nothing(self, place: int) -> int:
        """No register."""
        return 0

    away = lazy = live = early = stored = at = nothing


class BriefEmitter(RegionEmitter):
    """Emits such a region."""

    poll_helper = POLL_BRIEF

    def __init__(self, region: Region, stamps: Mapping[int, int], *, multi: bool) -> None:
        super().__init__(region, stamps, multi=multi)
        self._found: dict[tuple[str, int], str] = {}
        """What registers hold where the text is now."""
        self._splits = False
        """Whether an instruction's text is where it does not always come."""

    def prepare(self) -> None:
        """Nothing is kept, looked for ahead or computed anew."""
        nowhere: Any = WithTheHart()
        self.plans = {leader: plan(self.region.line(leader), apart=True) for leader in self.region.leaders}
        self.ahead, self.homes, self.known_words, self.anews, self.skips, self.runs = {}, nowhere, nowhere, {}, {}, {}

    def keep_all(self) -> None:
        """Nothing."""

    def open_windows(self) -> None:
        """There are none."""

    def line_from(self, leader: int) -> tuple[Step, str, str, int]:
        """Emit a line, of whose registers nothing is known."""
        self._found = {}
        return super().line_from(leader)

    def emit_step(self, leader: int, step: Step, way: int) -> str:
        """An instruction: what it reads is there before, so that it is behind every way through."""
        self.begin_step(step, way)
        self._splits = False
        for name in names(step.reads):
            self._found[name[0], int(name[1:])] = self.kept_value(name[0], int(name[1:]))
        return self.execute(step)

    def kept_value(self, name: str, number: int) -> str:
        """The value of a register."""
        found = self._found.get((name, number))
        return found or self.value(f"load i64, ptr {self._place(name, number)}{HART}")

    def kept_slot(self, pointer: Any) -> str | None:
        """Fields are the hart's."""
        assert self.register(pointer) is None
        return None

    def statement_Store(self, node: tree.Store) -> None:  # noqa: N802 - named after the node
        register = self.register(node.pointer)
        if register is None or register == ("x", NO_REGISTER):
            super().statement_Store(node)
            return
        value = self.expression(node.value)
        self.line(f"store i64 {value}, ptr {self._place(*register)}{HART}")
        if self._splits:
            self._found.pop(register, None)
        else:
            self._found[register] = value

    def statement_If(self, node: tree.If) -> None:  # noqa: N802
        self._splits |= self.number_of(node.test) is None
        super().statement_If(node)

    def statement_While(self, node: tree.While) -> None:  # noqa: N802
        self._splits = True
        super().statement_While(node)

    def statement_For(self, node: tree.For) -> None:  # noqa: N802
        self._splits = True
        super().statement_For(node)

    def check(self, place: int) -> None:
        """Go on at a place if the budget lasts until the next check, else poll first."""
        enough = self.value(f"icmp sge i64 {self.value('load i64, ptr %left')}, 0")
        self._nearly_always(enough, self.on(place), f"poll{name_of(place)}")

    def apart(self) -> str:
        """Where an access goes on whose page is not to be had: nowhere."""
        return self.way_out()

    def look(self, group: Group, low: str, apart: str) -> str:
        """Where a group's stretch from `low` is: on a page that the TLB knows, or can; else go to `apart`."""
        known, _, addend = self.page_known(group.kind, low, group.high - group.low)
        near, unknown, found = self.label("near"), self.label("unknown"), self.label("found")
        self._nearly_always(known, near, unknown)
        self.begin(near)
        at = self.value(f"add i64 {low}, {addend}")
        self.jump(found)
        self.begin(unknown)
        operands = f"(ptr {CPU}, i64 {low}, i64 {group.high - group.low}, i64 {group.kind})"
        other = self.value(f"call preserve_mostcc i64 {self.helper(PLACE_OF)}{operands}")
        came_from = self.block
        self._nearly_always(self.value(f"icmp ne i64 {other}, 0"), found, apart)
        self.begin(found)
        return self.value(f"phi i64 [ {at}, %{near} ], [ {other}, %{came_from} ]")

    def _nearly_always(self, condition: str, then: str, other: str) -> None:
        """A branch of which the other way does not lie among what is executed: by its weights, as no pass here minds what is expected."""
        self.terminate(f"br i1 {condition}, label %{then}, label %{other}{NEARLY_ALWAYS}")

    def _place(self, name: str, number: int) -> str:
        return self.value(f"getelementptr i8, ptr {CPU}, i64 {field_offset(name) + 8 * number}")
