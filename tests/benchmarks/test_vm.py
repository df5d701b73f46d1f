"""The command: its options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bench import vm

ROOT = Path(__file__).resolve().parents[2]


def test_help_lists_every_measure() -> None:
    """Started as a user starts it."""
    done = subprocess.run([sys.executable, str(ROOT / "bench" / "vm.py"), "--help"], capture_output=True, text=True, check=True)
    assert all(measure in done.stdout for measure in vm.MEASURES)


def test_no_peer_is_an_error_with_a_way_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a traceback: what to install."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(sys, "argv", ["vm.py", "boot", "--peers", "qemu"])
    assert vm.main() == 1
    assert "apt install qemu-system-misc" in capsys.readouterr().err
