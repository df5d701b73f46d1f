"""The passes of a run (runs.py): how many there may be, and their text, which has no looks and asks for no budget."""

from __future__ import annotations

from gasang.cpus.riscv64.region.accesses import OURS, RESERVATIONS, WINDOW_SIZE
from gasang.cpus.riscv64.region.layout import HART
from gasang.cpus.riscv64.region.leaving import name_of
from gasang.cpus.riscv64.region.pages import Step
from gasang.cpus.riscv64.region.runs import Run, Stretch
from gasang.cpus.riscv64.region.skips import SkipEmitter
from gasang.cpus.riscv64.state import PAGE_SIZE, Window, Windows
from gasang.native.types import offset_of

FEWEST = 4
"""Passes that are worth it."""
_MANY = 1 << 30
"""Passes where nothing goes on."""


class PassEmitter(SkipEmitter):
    """Emits runs."""

    runs: dict[int, Run]
    run: Run | None
    """The one whose text this is, None in the first text."""
    is_second: bool
    """Whether the text is a line's second, which is hardly ever executed."""

    def pass_line(self, run: Run, leader: int) -> tuple[Step, str, str, int]:
        """Emit a line of a run; what `line_from` says of the first text."""
        line, way = self.region.line(leader), self.region.ways[leader]
        self._rest = self.value("load i64, ptr %left")
        self._last = {step.writes: step.place for step in line}
        self.planned_here, self.anew = dict(run.plans[leader]), None
        self.stored, self.words = self.homes.stored(leader), self.known_words.at(leader)
        for number, step in enumerate(line):
            result = self.emit_step(leader, step, way - number)
        self.anew = self.anews.get(leader)
        return line[-1], result, self._rest, way - len(line)

    def forth(self, place: int) -> None:
        """Go on at a place inside."""
        run = self.runs.get(place)
        if self.run is not None and place in self.run.lines and place != self.run.head:
            self.jump(f"run{name_of(place)}")
            return
        if run is not None and run is self.run:
            self._count_down(run)
        elif run is not None and not self.is_second:
            self.begin_run(run)
        if place in self.ahead and not self.is_second:
            self.pass_head(place)
        elif place in self.region.heads:
            self.check(place)
        else:
            self.jump(f"line{name_of(place)}")

    def _count_down(self, run: Run) -> None:
        """Go on with the next pass of a run; the text behind this is where there is none."""
        left = self.value(f"sub i64 {self.value(f'load i64, ptr {run.counter}')}, 1")
        self.line(f"store i64 {left}, ptr {run.counter}")
        over = self.label("over")
        self.branch(self.likely(self.value(f"icmp ne i64 {left}, 0")), f"run{name_of(run.head)}", over)
        self.begin(over)

    def begin_run(self, run: Run) -> None:
        """Go on with as many passes as there may be; the text behind this is where those are few."""
        passes = self.value(f"ashr i64 {self.value('load i64, ptr %left')}, {(run.longest - 1).bit_length()}")
        for stretch in run.stretches:
            inside = self._inside(stretch)
            passes = self.value(f"select i1 {self.value(f'icmp slt i64 {inside}, {passes}')}, i64 {inside}, i64 {passes}")
        if self.multi and run.is_alone:
            watched = self.value(f"load atomic i64, ptr {RESERVATIONS} monotonic, align 8{HART}")
            passes = self.value(f"select i1 {self.value(f'icmp eq i64 {watched}, 0')}, i64 {passes}, i64 0")
        self.line(f"store i64 {passes}, ptr {run.counter}")
        few = self.label("few")
        self.branch(self.likely(self.value(f"icmp sge i64 {passes}, {FEWEST}")), self.passes_at(run), few)
        self.begin(few)

    def passes_at(self, run: Run) -> str:
        """The label where the passes of a run begin."""
        return f"run{name_of(run.head)}"

    def _inside(self, stretch: Stretch) -> str:
        """How many passes stay in a stretch's window, whose way to the host's memory is noted."""
        start = self.kept_value("x", stretch.register) if stretch.register else "0"
        low, size = self.value(f"add i64 {start}, {stretch.low}"), stretch.high - stretch.low
        number = self.window_of(stretch.group)
        at = offset_of(Windows, "window") + WINDOW_SIZE * number
        first, addend = [
            self.value(f"load i64, ptr {self.value(f'getelementptr i8, ptr {OURS}, i64 {at + offset_of(Window, field)}')}{HART}")
            for field in ("first", "addend")
        ]
        limit = self.value(f"load i64, ptr {self.limit_at(number, size)}{HART}")
        begin = self.value(f"sub i64 {low}, {first}")
        inside, beyond, told = self.label("inside"), self.label("beyond"), self.label("told")
        self.branch(self.likely(self.value(f"icmp ult i64 {begin}, {limit}")), inside, beyond)
        self.begin(inside)
        of_window = self._passes(stretch.step, begin, limit)
        self.jump(told)
        self.begin(beyond)
        known, _, other = self.page_known(stretch.group.kind, low, size)
        of_page = self._passes(stretch.step, self.value(f"and i64 {low}, {PAGE_SIZE - 1}"), str(PAGE_SIZE - (size - 1)))
        of_page = self.value(f"select i1 {known}, i64 {of_page}, i64 0")
        self.jump(told)
        self.begin(told)
        passes = self.value(f"phi i64 [ {of_window}, %{inside} ], [ {of_page}, %{beyond} ]")
        way = self.value(f"phi i64 [ {addend}, %{inside} ], [ {other}, %{beyond} ]")
        self.line(f"store i64 {way}, ptr {stretch.slot}")
        return passes

    def _passes(self, step: int, begin: str, limit: str) -> str:
        """How many passes by `step` begin below a limit, where the first does."""
        if step > 0:
            return self.value(f"udiv i64 {self.value(f'sub i64 {self.plus(limit, step - 1)}, {begin}')}, {step}")
        return self.plus(self.value(f"udiv i64 {begin}, {-step}"), 1) if step else str(_MANY)
