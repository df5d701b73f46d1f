"""The straight lines of a region: one instruction behind the other, and a second text for where memory is not found at once.

    instruction ──► look ──► instruction ──► look ──► instruction ──► the line's end
                     │ fails                  │ fails      ▲
                     ▼                        ▼            │
                    the same, each access a call of a function

The second text goes from the first look to the line's last access. So the first need not ask again and again what a look has found.
"""

from __future__ import annotations

from typing import Any

from gasang.cpus.instruction_set import SLOTS
from gasang.cpus.riscv64.region.accesses import plan
from gasang.cpus.riscv64.region.homes import Homes
from gasang.cpus.riscv64.region.layout import CPU
from gasang.cpus.riscv64.region.leaving import LeavingEmitter
from gasang.cpus.riscv64.region.pages import Step


class LineEmitter(LeavingEmitter):
    """Emits lines."""

    homes: Homes
    _step: Step
    _rest: str
    """The budget, less the longest way to the next check: between checks it does not change."""
    _way: int
    """To add for the instruction being emitted."""
    _exit: str
    _apart: dict[int, str]

    def line_from(self, leader: int) -> tuple[Step, str, str, int]:
        """Emit a line: its last instruction, what that returned, and the budget behind it as a value and what to add to it."""
        line, way = self.region.line(leader), self.region.ways[leader]
        self._rest = self.value("load i64, ptr %left")
        plans, self._apart = plan(line), {}
        self.stored, early = self.homes.stored(leader), self.homes.early(leader)
        last = {step.writes: step.place for step in line}
        before: list[int] = []

        def emit(number: int) -> str:
            step = line[number]
            self._step, self._way, self._exit = step, way - number, ""
            self.planned = plans.get(step.place)
            self.divisor = self.region.divisors.get(step.place)
            result = self._execute(step)
            self.stored &= ~step.writes
            if last[step.writes] == step.place:
                self.put_away(step.writes & early)
            return result

        ends = 1 + max((number for number, step in enumerate(line) if step.place in plans), default=-1)
        for number in range(ends):
            before.append(self.stored)
            result = emit(number)
        if self._apart:
            together = self.label("together")
            self.jump(together)
            self.is_apart = True
            for number in range(ends):
                label = self._apart.get(line[number].place)
                if label is not None:
                    self.stored = before[number]
                    self.start(label)
                if self.open:
                    emit(number)
            self.is_apart = False
            self.start(together)
        for number in range(ends, len(line)):
            result = emit(number)
        return line[-1], result, self._rest, way - len(line)

    def way_out(self) -> str:
        """The label that leaves the region before the instruction being emitted."""
        if not self._exit:
            self._exit = self.exit_to(self._step.place, self._rest, self._way)
        return self._exit

    def apart(self) -> str:
        """The label of the instruction in the second text."""
        return self._apart.setdefault(self._step.place, self.label("apart"))

    def _execute(self, step: Step) -> str:
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
