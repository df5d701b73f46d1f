"""The command: its options, and the README that it rewrites."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bench import vm
from bench.figures import Figure

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


def test_the_readme_keeps_its_words_and_gets_new_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice, so that old results are replaced, not added to."""
    readme = tmp_path / "README.md"
    readme.write_text(f"# Words\n\n{vm.BEGIN}old\n{vm.END}\nafter\n")
    monkeypatch.setattr(vm, "README", readme)
    for seconds in (1.0, 2.0):
        vm._write_readme([Figure("boot", "s", seconds, None)], {"processor": "a fast one"})
    text = readme.read_text()
    assert text.startswith("# Words\n")
    assert text.endswith(f"{vm.END}\nafter\n")
    assert "- processor: a fast one" in text
    assert text.count("| boot |") == 1
    assert "| boot | s | 2 |" in text


def test_the_readme_in_the_tree_has_the_place_for_results() -> None:
    """Both marks, in order."""
    text = vm.README.read_text()
    assert text.index(vm.BEGIN) < text.index(vm.END)
