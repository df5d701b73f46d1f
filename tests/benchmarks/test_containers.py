"""The command that measures container engines: its options and its refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bench import containers
from bench.measures.containers import memory

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
