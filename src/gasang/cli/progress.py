"""How progress is shown: a bar on a terminal, lines elsewhere, or JSON Lines; always on standard error.

Whatever takes time opens a step and advances it. A step that ends within two seconds is not shown, except as JSON. One
thread draws, and sleeps for as long as no step is open. The time left is estimated from the time the step has taken so far.

    auto    a bar on a terminal, plain elsewhere          json    an object a line: see `event`
    plain   a line every few seconds                      none    nothing
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, TextIO

from gasang.cli.output import printable
from gasang.cli.settings import Context
from gasang.core.units import format_duration, format_size

SHOWN_AFTER: Final = 2.0
"""Seconds that a step takes before it is worth a person's attention."""
_TICK: Final = 0.2
_LINE_EVERY: Final = 5.0
_OBJECT_EVERY: Final = 0.5
_TOO_EARLY: Final = 0.02
"""Below this part of the whole an estimate would be a guess."""


class Step:
    """Something that takes time: `done` of `total`, counted in bytes or in whatever `unit` names. Safe from any thread."""

    def __init__(self, title: str, total: int | None, unit: str, now: float) -> None:
        self.title = title
        self.total = total
        self.unit = unit
        self.done = 0
        self.detail = ""
        self.start = now
        self._lock = threading.Lock()

    def advance(self, amount: int = 1, detail: str = "") -> None:
        """`amount` more is done; `detail` is what is being worked on."""
        with self._lock:
            self.done += amount
            self.detail = detail or self.detail

    def fraction(self) -> float | None:
        """The part that is done, from 0 to 1; None where the whole is not known."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total else None

    def seconds_left(self, now: float) -> float | None:
        """How long it will still take at the pace so far; None where that is not known yet."""
        fraction = self.fraction()
        return None if fraction is None or fraction < _TOO_EARLY else (now - self.start) * (1 - fraction) / fraction


def amount(step: Step, count: int) -> str:
    """`count` in the step's unit."""
    return format_size(count) if step.unit == "bytes" else f"{count} {step.unit}".rstrip()


def line(step: Step, now: float) -> str:
    """A step as a line for people."""
    fraction, left = step.fraction(), step.seconds_left(now)
    parts = [f"{step.title}: {fraction:.0%}" if fraction is not None else f"{step.title}: {format_duration(now - step.start)} so far"]
    if step.total:
        done = amount(step, step.done) if step.unit == "bytes" else str(step.done)
        parts.append(f"{done} of {amount(step, step.total)}")
    elif step.done:
        parts.append(amount(step, step.done))
    if left is not None:
        parts.append(f"about {format_duration(left)} left")
    if step.detail:
        parts.append(step.detail)
    return printable(", ".join(parts))


def event(step: Step, state: str, now: float) -> dict[str, Any]:
    """A step as an object for programs; `state` is begun, going or ended, times are in seconds."""
    left = step.seconds_left(now)
    return {
        "step": step.title,
        "state": state,
        "done": step.done,
        "total": step.total,
        "unit": step.unit,
        "detail": step.detail,
        "seconds": round(now - step.start, 3),
        "seconds_left": None if left is None else round(left, 1),
    }


class View(Protocol):
    """A way to show steps. Called by one thread at a time."""

    def begun(self, step: Step, now: float) -> None:
        """A step was opened."""
        ...

    def tick(self, steps: Sequence[Step], now: float) -> None:
        """Some time has passed with these steps open."""
        ...

    def ended(self, step: Step, now: float) -> None:
        """A step is over, well or not."""
        ...


class PlainView:
    """A line when a step has become long, one every few seconds, and one at its end."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._shown: dict[int, float] = {}

    def begun(self, step: Step, now: float) -> None:
        """Nothing yet: most steps are short."""

    def tick(self, steps: Sequence[Step], now: float) -> None:
        """A line for each step that is due one."""
        for step in steps:
            last = self._shown.get(id(step))
            due = now - step.start >= SHOWN_AFTER if last is None else now - last >= _LINE_EVERY
            if due:
                self._shown[id(step)] = now
                print(line(step, now), file=self._output, flush=True)

    def ended(self, step: Step, now: float) -> None:
        """A last line, for a step that was shown."""
        if self._shown.pop(id(step), None) is not None:
            print(printable(f"{step.title}: took {format_duration(now - step.start)}"), file=self._output, flush=True)


class JsonView:
    """An object a line: at the begin, twice a second, and at the end."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._shown: dict[int, float] = {}

    def _print(self, step: Step, state: str, now: float) -> None:
        import json

        print(json.dumps(event(step, state, now), ensure_ascii=False), file=self._output, flush=True)

    def begun(self, step: Step, now: float) -> None:
        """The first object."""
        self._shown[id(step)] = now
        self._print(step, "begun", now)

    def tick(self, steps: Sequence[Step], now: float) -> None:
        """An object for each step that is due one."""
        for step in steps:
            if now - self._shown[id(step)] >= _OBJECT_EVERY:
                self._shown[id(step)] = now
                self._print(step, "going", now)

    def ended(self, step: Step, now: float) -> None:
        """The last object."""
        del self._shown[id(step)]
        self._print(step, "ended", now)


class BarView:
    """A bar for each long step, gone when the step is over. rich is imported when the first bar is drawn."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._bars: Any = None
        self._tasks: dict[int, Any] = {}

    def _open(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TextColumn("{task.fields[rest]}", markup=False))
        bars = Progress(*columns, console=Console(file=self._output), auto_refresh=False, transient=True)
        bars.start()
        return bars

    def begun(self, step: Step, now: float) -> None:
        """Nothing yet: most steps are short."""

    def tick(self, steps: Sequence[Step], now: float) -> None:
        """Draw the steps that have become long."""
        long = [step for step in steps if now - step.start >= SHOWN_AFTER]
        if not long:
            return
        if self._bars is None:
            self._bars = self._open()
        for step in long:
            rest = line(step, now).removeprefix(f"{printable(step.title)}: ")
            if id(step) not in self._tasks:
                self._tasks[id(step)] = self._bars.add_task(printable(step.title), total=step.total, rest=rest)
            self._bars.update(self._tasks[id(step)], completed=step.done, total=step.total, rest=rest)
        self._bars.refresh()

    def ended(self, step: Step, now: float) -> None:
        """Remove its bar, and leave the terminal as it was if it was the last."""
        task = self._tasks.pop(id(step), None)
        if task is not None:
            self._bars.remove_task(task)
        if self._bars is not None and not self._tasks:
            self._bars.stop()
            self._bars = None


class Reporter:
    """Opens steps and has a view show them."""

    def __init__(self, view: View, clock: Callable[[], float] = time.monotonic) -> None:
        self._view = view
        self._clock = clock
        self._steps: list[Step] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def step(self, title: str, total: int | None = None, unit: str = "") -> Iterator[Step]:
        """Open a step; it is over when the block is left. `unit` "bytes" shows sizes."""
        step = Step(title, total, unit, self._clock())
        with self._changed:
            self._steps.append(step)
            self._view.begun(step, step.start)
            if self._thread is None:
                self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            yield step
        finally:
            with self._changed:
                self._steps.remove(step)
                self._view.ended(step, self._clock())

    def _draw(self) -> None:
        with self._changed:
            while not self._closed:
                self._changed.wait(_TICK if self._steps else None)
                self._view.tick(tuple(self._steps), self._clock())

    def close(self) -> None:
        """End the drawing thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread:
            self._thread.join()


class NoView:
    """Shows nothing."""

    def begun(self, step: Step, now: float) -> None:
        """Nothing."""

    def tick(self, steps: Sequence[Step], now: float) -> None:
        """Nothing."""

    def ended(self, step: Step, now: float) -> None:
        """Nothing."""


def view_for(how: str, output: TextIO) -> View:
    """The view that the setting `how` asks for on `output`."""
    if how == "auto":
        how = "bar" if output.isatty() and os.environ.get("TERM") != "dumb" else "plain"
    views: dict[str, Callable[[], View]] = {
        "bar": lambda: BarView(output),
        "plain": lambda: PlainView(output),
        "json": lambda: JsonView(output),
        "none": NoView,
    }
    return views[how]()


@contextmanager
def open_progress(context: Context) -> Iterator[Reporter]:
    """A reporter that shows steps as the settings ask, on standard error."""
    reporter = Reporter(view_for(context.config.value("progress"), sys.stderr))
    try:
        yield reporter
    finally:
        reporter.close()
