"""Inside the machine: runs the cases it is told, with pytest, and reports each as it ends.

    python3 -m support.nested.inside FILE

FILE has an id of pytest a line. A case that takes too long fails, and the next one begins.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import Any, Final

import pytest

from support.nested.line import Line

INSIDE: Final = "GASANG_INSIDE"
"""Set in the environment of a process that is inside."""
AGENT: Final = "agent"
"""The guest agent's program, where cases run: there is no compiler inside."""
LIMIT: Final = 120
"""Seconds that a case, with what it shares with others, may take."""
BEAT: Final = 5.0
"""Seconds from one sign of life to the next."""


class Reporter:
    """A plugin that tells the line what happens."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def pytest_collectreport(self, report: Any) -> None:
        """A file that cannot be read is nobody's case."""
        if report.failed:
            self._line.tell(event="broken", text=str(report.longrepr))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """The verdict is that of the call, or of what failed or was skipped beside it."""
        if report.when == "call" or not report.passed:
            text = report.longreprtext + "".join(f"\n--- {name} ---\n{content}" for name, content in report.sections)
            self._line.tell(event="case", id=report.nodeid, outcome=report.outcome, seconds=round(report.duration, 3), text=text)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        """Set the time."""
        self._line.tell(event="begin", id=item.nodeid)
        signal.signal(signal.SIGALRM, _late)
        signal.alarm(LIMIT)
        yield
        signal.alarm(0)


def _late(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"the case took over {LIMIT} s")


def _beat(line: Line, over: Event) -> None:
    while not over.wait(BEAT):
        line.tell(event="alive")


def main(cases: Path) -> int:
    """Run them; what pytest says of all."""
    os.environ[INSIDE] = "1"
    line = Line()
    line.tell(event="ready")
    over = Event()
    heart = Thread(target=_beat, args=(line, over), name="heart")
    heart.start()
    options = ["-q", "-s", "--color=no", "-p", "no:cacheprovider", "-o", f"faulthandler_timeout={LIMIT - 20}"]
    options += ["--rootdir", ".", "-c", "pyproject.toml", "--confcutdir", "tests/nested"]
    try:
        code = pytest.main([*options, *cases.read_text().splitlines()], plugins=[Reporter(line)])
    finally:
        over.set()
        heart.join()
    line.tell(event="end", code=int(code))
    return int(code)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
