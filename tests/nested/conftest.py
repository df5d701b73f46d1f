"""The tests of this folder run inside a machine with a real KVM: here each of them only asks for its verdict.

Inside, this file does nothing, and they are tests like any other.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.nested.inside import INSIDE

HERE = Path(__file__).parent
VERDICTS = pytest.StashKey["Verdicts"]()


class Verdicts:
    """The lane of this run of pytest, begun when the first verdict is wanted."""

    def __init__(self) -> None:
        from support.nested.lane import Lane

        self.lane: Lane | None = None

    def begin(self, cases: list[str]) -> None:
        """Boot the machine; skips where it cannot be had, by name."""
        from gasang.core.errors import GasangError
        from gasang.core.progress import Silent
        from support.nested.lane import Lane

        try:
            self.lane = Lane(cases, os.environ, Silent())
        except FileNotFoundError as error:
            pytest.skip(str(error))
        except GasangError as error:
            pytest.skip(f"the machine inside has no parts: {error}")

    def losses(self) -> list[str]:
        """How machines were lost."""
        return [] if self.lane is None else self.lane.losses

    def close(self) -> None:
        """End the machine."""
        if self.lane is not None:
            self.lane.close()


class InnerFailure(Exception):
    """The case failed inside; the text is its report there."""


class Case(pytest.Item):
    """A test of this folder as it looks from outside."""

    verdicts: Verdicts

    def runtest(self) -> None:
        """Wait for the verdict."""
        verdicts = self.verdicts
        if verdicts.lane is None:
            verdicts.begin([item.nodeid for item in self.session.items if isinstance(item, Case)])
        assert verdicts.lane is not None
        verdict = verdicts.lane.verdict(self.nodeid)
        self.add_report_section("call", "inside", f"{verdict.seconds} s")
        if verdict.outcome == "skipped":
            pytest.skip(verdict.text)
        if verdict.outcome != "passed":
            raise InnerFailure(verdict.text)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """The report of inside, as it is."""
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where the test is."""
        return self.path, None, self.name


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Outside, put a `Case` in every test's place."""
    if INSIDE in os.environ:
        return
    verdicts = config.stash[VERDICTS] = Verdicts()
    config.add_cleanup(verdicts.close)
    for number, item in enumerate(items):
        if item.path.is_relative_to(HERE):
            assert item.parent is not None
            made = Case.from_parent(item.parent, name=item.name)
            made.verdicts = verdicts
            items[number] = made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what cost a machine."""
    verdicts = config.stash.get(VERDICTS, None)
    for loss in verdicts.losses() if verdicts is not None else []:
        terminalreporter.write_line(f"{loss}; the rest ran in a new one")
