"""The command that measures machines under KVM: its options, its refusals, and the loop that counts exits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bench import kvm
from bench.measures.kvm import exits

from support.kvm_guests import needs_kvm

ROOT = Path(__file__).resolve().parents[2]


def test_help_lists_every_measure() -> None:
    """Started as a user starts it."""
    done = subprocess.run([sys.executable, str(ROOT / "bench" / "kvm.py"), "--help"], capture_output=True, text=True, check=True)
    assert all(measure in done.stdout for measure in kvm.MEASURES)


def test_an_unknown_measure_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is started."""
    monkeypatch.setattr(sys, "argv", ["kvm.py", "no-such-measure"])
    assert kvm.main() == 2
    assert "there is no measure no-such-measure" in capsys.readouterr().err


@needs_kvm
def test_an_exit_costs_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real loops, briefly."""
    monkeypatch.setattr(exits, "EXITS", 100)
    (figure,) = exits.exits(1)
    assert figure.theirs is not None
    assert figure.ours is not None
    assert 0 < figure.theirs < 1e4
    assert 0 < figure.ours < 1e4
