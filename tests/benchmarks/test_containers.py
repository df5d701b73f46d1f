"""The command that measures container engines: its options and its refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bench import containers
from bench.measures.containers import memory
from bench.measures.containers.sides import PEER, Taken, in_turn

ROOT = Path(__file__).resolve().parents[2]


def test_help_lists_every_measure() -> None:
    """Started as a user starts it."""
    done = subprocess.run([sys.executable, str(ROOT / "bench" / "containers.py"), "--help"], capture_output=True, text=True, check=True)
    assert all(measure in done.stdout for measure in containers.MEASURES)


def test_an_unknown_measure_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is started."""
    monkeypatch.setattr(sys, "argv", ["containers.py", "no-such-measure"])
    assert containers.main() == 2
    assert "there is no measure no-such-measure" in capsys.readouterr().err


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a traceback."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(sys, "argv", ["containers.py", "run"])
    assert containers.main() == 2
    assert "not installed: docker, busybox, docker-registry" in capsys.readouterr().err


def test_memory_of_a_process() -> None:
    """Our own: a share is no more than all of it."""
    import os

    assert 1 << 20 < memory._pss(os.getpid()) <= memory._rss(os.getpid()) * 2


class Counted:
    """A side that takes as many seconds as a list says."""

    def __init__(self, name: str, seconds: list[float]) -> None:
        self.name = name
        self.seconds = iter(seconds)


def test_the_ratio_is_that_of_rounds() -> None:
    """A round in which the whole machine was slow counts as any other; the first round does not count."""
    ours, theirs = Counted("gasang", [99, 1, 40, 1]), Counted(PEER, [1, 4, 160, 2])
    taken = in_turn([ours, theirs], 3, lambda side: next(side.seconds))  # type: ignore[list-item, attr-defined]
    assert taken == Taken({"gasang": 1, PEER: 4}, 0.25)
    figure = taken.figure("x", "ms", None, scale=1000)
    assert (figure.ours, figure.theirs, figure.ratio) == (1000, 4000, 0.25)


def test_the_ratio_without_a_peer() -> None:
    taken = in_turn([Counted("gasang", [1, 2])], 1, lambda side: next(side.seconds))  # type: ignore[list-item, attr-defined]
    assert taken == Taken({"gasang": 2}, None)
