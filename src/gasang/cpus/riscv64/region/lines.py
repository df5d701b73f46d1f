"""The straight lines of a region: one instruction behind the other, and a second text for where memory is not found at once.

    instruction ──► look ──► instruction ──► look ──► instruction ──► the line's end
                     │ fails                  │ fails      ▲
                     ▼                        ▼            │
                    the same, each access a call of a function

The second text goes from the first look to the line's last access, or to what has put together the bytes of a word (pieces.py) where there
are such. So the first need not ask again and again what a look has found.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gasang.cpus.instruction_set import SLOTS
from gasang.cpus.riscv64.region.ahead import Ahead
from gasang.cpus.riscv64.region.anew import Anew
from gasang.cpus.riscv64.region.homes import Homes
from gasang.cpus.riscv64.region.layout import CPU, field_offset
from gasang.cpus.riscv64.region.leaving import LeavingEmitter, name_of
from gasang.cpus.riscv64.region.pages import Step, is_computation
from gasang.cpus.riscv64.region.plans import Planned
from gasang.cpus.riscv64.region.words import Words, after, makes_word


class LineEmitter(LeavingEmitter):
    """Emits lines."""

    homes: Homes
    known_words: Words
    _step: Step
    _rest: str
    """The budget, less the longest way to the next check: between checks it does not change."""
    _way: int
    """To add for the instruction being emitted."""
    _exit: str
    _apart: dict[int, str]
    plans: dict[int, dict[int, Planned]]
    """By leader, then by place."""
    ahead: dict[int, Ahead]
    planned_here: dict[int, Planned]
    """Of the line being emitted."""
    anew: Anew | None
    """What can be had anew where the text is now: behind a line."""
    _last: dict[int, int]
    """Where the line writes each register last, by its set."""
    anews: dict[int, Anew]
    """By leader."""

    def line_from(self, leader: int) -> tuple[Step, str, str, int]:
        """Emit a line: its last instruction, what that returned, and the budget behind it as a value and what to add to it."""
        line, way = self.region.line(leader), self.region.ways[leader]
        self._rest = self.value("load i64, ptr %left")
        self._last = {step.writes: step.place for step in line}
        self.planned_here, self._apart, self.anew = self.plans[leader], {}, None
        ahead = self.ahead.get(leader)
        if ahead is not None:
            for number, group in enumerate(ahead.looks):
                group.host = self.value(f"load i64, ptr {ahead.slot(leader, number)}")
        self.stored, self.words = self.homes.stored(leader), self.known_words.at(leader)
        before: list[tuple[int, int]] = []
        ends = 1 + max((number for number, step in enumerate(line) if step.place in self.planned_here), default=-1)
        if any(planned.whole for planned in self.planned_here.values()):
            ends += next((number for number, step in enumerate(line[ends:]) if not is_computation(step)), len(line) - ends)
        result = ""
        for number, step in enumerate(line[:ends]):
            before.append((self.stored, self.words))
            result = self.emit_step(leader, step, way - number)
        if self._apart:
            together = self.label("together")
            self.jump(together)
            self._second_text(leader, line[:ends], before)
            self.start(together)
            self._rest = self.value("load i64, ptr %left")  # either text may have been the way here
        for number in range(ends, len(line)):
            result = self.emit_step(leader, line[number], way - number)
        self.anew = self.anews.get(leader)
        return line[-1], result, self._rest, way - len(line)

    def second_from(self, leader: int) -> tuple[Step, str, str, int]:
        """Emit the whole second text of a line whose looks are made before it; what `line_from` says of the first."""
        line, way = self.region.line(leader), self.region.ways[leader]
        self._last = {step.writes: step.place for step in line}
        self.planned_here, self.anew = self.plans[leader], None
        self.stored, self.words = self.homes.stored(leader) | self.homes.lazy(leader), self.known_words.at(leader)
        self.start(f"second{name_of(leader)}")
        self._rest = self.value("load i64, ptr %left")
        self.is_apart = True
        for number, step in enumerate(line):
            result = self.emit_step(leader, step, way - number)
        self.is_apart = False
        return line[-1], result, self._rest, way - len(line)

    def _second_text(self, leader: int, line: list[Step], before: list[tuple[int, int]]) -> None:
        """A line once more from where a look failed, each access a call."""
        way = self.region.ways[leader]
        self.is_apart = True
        for number, step in enumerate(line):
            label = self._apart.get(step.place)
            if label is not None:
                self.stored, self.words = before[number]
                self.start(label)
            if self.open:
                self.emit_step(leader, step, way - number)
        self.is_apart = False

    def begin_step(self, step: Step, way: int) -> None:
        """An instruction follows, before which the budget is `way` more than %left."""
        self._step, self._way, self._exit = step, way, ""
        self.planned = self.planned_here.get(step.place)

    def emit_step(self, leader: int, step: Step, way: int) -> str:
        """An instruction of a line; what it returns."""
        self.begin_step(step, way)
        self.divisor = self.region.divisors.get(step.place)
        self.is_word = makes_word(step, self.words)
        result = self.execute(step)
        self.words = after(step, self.words)
        self.stored &= ~step.writes
        if self._last[step.writes] == step.place:
            self.put_away(step.writes & self.homes.early(leader))
        return result

    def put_away_anew(self, missing: int) -> None:
        """Give the hart the values of those registers of a set that can be had anew."""
        for register, value in self._had_anew(missing):
            self.write_back(value, field_offset("x") + 8 * register)
            self.stored |= 1 << register

    def have_anew(self, registers: int) -> None:
        """Have those registers of a set anew that can be had: on this way on nothing need be kept for them."""
        for register, value in list(self._had_anew(registers)):
            if self.words >> register & 1:
                self.line(f"store i32 {self.value(f'trunc i64 {value} to i32')}, ptr {self.keep_word(register)}")
            else:
                self.line(f"store i64 {value}, ptr %kept.x{register}")

    def _had_anew(self, registers: int) -> Iterator[tuple[int, str]]:
        if self.anew is not None:
            known: dict[int, str] = {}
            for register in self.anew.which(registers):
                yield register, self._value_anew(self.anew, self.anew.holds[register], known)

    def _value_anew(self, anew: Anew, value: int, known: dict[int, str]) -> str:
        """A value computed once more, from registers that LLVM takes for others than those it was computed from first."""
        if value not in known:
            if value in anew.there:
                known[value] = self.kept_apart("x", anew.there[value])
            else:
                step, held = anew.made[value]
                self.given = {register: self._value_anew(anew, one, known) for register, one in held.items()}
                self.execute(step)
                self.given = None
                known[value] = self.caught
        return known[value]

    def way_out(self) -> str:
        """The label that leaves the region before the instruction being emitted."""
        if not self._exit:
            self._exit = self.exit_to(self._step.place, self._rest, self._way)
        return self._exit

    def apart(self) -> str:
        """The label of the instruction in the second text."""
        return self._apart.setdefault(self._step.place, self.label("apart"))

    def execute(self, step: Step) -> str:
        """The body of an instruction; what it returns."""
        function: Any = step.decoded.instruction.function
        given: list[Any] = [CPU]
        for name, kind in function.parameters[1:]:
            if name == "pc":
                given.append(self.pc_of(step.place))
            elif name == "next_pc":
                given.append(self.pc_of(step.after))
            else:
                given.append(int(kind.wrap(step.decoded.slots[SLOTS[name]])))
        frame = self.enter(function, given)
        self.statements(function.tree.body)
        self.leave(frame)
        if function.may_fault:
            self.begin(frame.fault)
            self.jump(self.way_out())
        self.begin(frame.after)
        return "" if function.result is None else self.value(f"load {function.result.llvm}, ptr {frame.result}")
