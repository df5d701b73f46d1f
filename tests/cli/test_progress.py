from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.cli.progress import BarView, JsonView, NoView, PlainView, Reporter, Step, event, line, view_for

if TYPE_CHECKING:
    from conftest import Person


def step_of(done: int = 0, total: int | None = None, unit: str = "", start: float = 0.0) -> Step:
    step = Step("Downloading", total, unit, start)
    step.advance(done)
    return step


def test_a_line_says_how_far_and_how_long() -> None:
    assert line(step_of(1 << 20, 4 << 20, "bytes"), 10.0) == "Downloading: 25%, 1 MiB of 4 MiB, about 30 s left"
    assert line(step_of(3, 12, "packages"), 90.0) == "Downloading: 25%, 3 of 12 packages, about 4 min 30 s left"
    assert line(step_of(), 12.0) == "Downloading: 12 s so far"
    assert line(step_of(5, None, "files"), 12.0) == "Downloading: 12 s so far, 5 files"


def test_nothing_is_estimated_too_early() -> None:
    assert step_of(1, 1000).seconds_left(10.0) is None
    assert step_of(0, 0).fraction() is None


@given(st.integers(-5, 10**9), st.none() | st.integers(0, 10**9), st.floats(0, 10**6), st.text())
def test_any_step_can_be_shown(done: int, total: int | None, now: float, title: str) -> None:
    step = Step(title, total, "bytes", 0.0)
    step.advance(done)
    assert line(step, now).isprintable()
    assert json.loads(json.dumps(event(step, "going", now)))["done"] == done
    fraction = step.fraction()
    assert fraction is None or 0 <= fraction <= 1


def test_plain_lines_come_when_a_step_is_long_and_not_too_often() -> None:
    output = io.StringIO()
    view = PlainView(output)
    step = step_of(0, 10)
    view.begun(step, 0.0)
    for tenths in range(100):
        view.tick([step], tenths / 10)
    view.ended(step, 10.0)
    assert output.getvalue().splitlines() == ["Downloading: 0%, 0 of 10", "Downloading: 0%, 0 of 10", "Downloading: took 10 s"]


def test_a_short_step_is_not_worth_a_line() -> None:
    output = io.StringIO()
    view = PlainView(output)
    step = step_of()
    view.begun(step, 0.0)
    view.tick([step], 1.9)
    view.ended(step, 1.95)
    assert output.getvalue() == ""


def test_json_tells_begin_and_end_of_every_step() -> None:
    output = io.StringIO()
    view = JsonView(output)
    step = step_of(5, 10, "bytes")
    view.begun(step, 0.0)
    view.tick([step], 0.1)
    view.tick([step], 1.0)
    view.ended(step, 1.5)
    events = [json.loads(text) for text in output.getvalue().splitlines()]
    assert [found["state"] for found in events] == ["begun", "going", "ended"]
    assert events[1] == {
        "step": "Downloading",
        "state": "going",
        "done": 5,
        "total": 10,
        "unit": "bytes",
        "detail": "",
        "seconds": 1.0,
        "seconds_left": 1.0,
    }


class Recorder(NoView):
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.ticks = 0
        self.ticked = threading.Event()

    def begun(self, step: Step, now: float) -> None:
        self.seen.append(f"+{step.title}")

    def tick(self, steps: object, now: float) -> None:
        self.ticks += 1
        self.ticked.set()

    def ended(self, step: Step, now: float) -> None:
        self.seen.append(f"-{step.title}")


def test_steps_nest_and_end_with_errors() -> None:
    view = Recorder()
    reporter = Reporter(view)

    def fail_inside() -> None:
        with reporter.step("outer"), reporter.step("inner", 3) as inner:
            inner.advance(1)
            assert view.ticked.wait(10)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert view.seen == ["+outer", "+inner", "-inner", "-outer"]
    reporter.close()
    assert not any(thread.name == "progress" for thread in threading.enumerate())


def test_the_drawing_thread_sleeps_without_steps() -> None:
    view = Recorder()
    reporter = Reporter(view)
    with reporter.step("one"):
        assert view.ticked.wait(10)
    before = view.ticks
    time.sleep(1.0)  # nothing is to happen, but that the wait that was under way ends
    assert view.ticks <= before + 1
    reporter.close()


def test_the_view_follows_the_setting() -> None:
    output = io.StringIO()
    kinds = {how: type(view_for(how, output)) for how in ("auto", "plain", "json", "none")}
    assert kinds == {"auto": PlainView, "plain": PlainView, "json": JsonView, "none": NoView}


BAR = """
import sys, time
from gasang.cli.progress import BarView, Reporter, SHOWN_AFTER
offset = SHOWN_AFTER
first = time.monotonic()
clock = lambda: first if time.monotonic() - first < 0.01 else time.monotonic() + offset
reporter = Reporter(BarView(sys.stderr), clock)
with reporter.step("Unpacking", 8, "files") as step:
    step.advance(4, "libc6")
    sys.stdin.readline()
reporter.close()
print("over")
"""


def test_a_bar_is_drawn_and_removed(in_terminal: Callable[..., Person]) -> None:
    person = in_terminal(BAR)
    person.resize(120, 30)
    shown = person.reads_until(b"libc6")
    assert b"Unpacking" in shown
    assert b"50%, 4 of 8 files" in shown
    person.types(b"\n")
    after = person.reads_until(b"over")
    assert b"\x1b[?25h" in after  # the cursor is back
    assert person.exit_code() == 0


def test_rich_is_not_imported_for_short_steps() -> None:
    view = BarView(io.StringIO())
    step = step_of()
    view.begun(step, 0.0)
    view.tick([step], 1.0)
    view.ended(step, 1.0)
    assert view._bars is None
