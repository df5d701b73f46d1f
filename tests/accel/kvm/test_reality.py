"""What is told of /dev/kvm, and that it is measured once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gasang.accel.kvm import reality
from gasang.accel.kvm import speed as kvm_speed
from gasang.accel.kvm.reality import EMULATED, NAME, Kind, Reality
from gasang.core.errors import UnsupportedError


class Meter:
    """Counts how often it was asked."""

    def __init__(self, answer: float | Exception) -> None:
        self.answer = answer
        self.asked = 0

    def __call__(self, device: Path) -> float:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host's files with a /dev/kvm in them."""
    monkeypatch.setattr(reality, "host_machine", lambda: "x86_64")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "kvm").touch()
    return tmp_path


def meter(monkeypatch: pytest.MonkeyPatch, answer: float | Exception) -> Meter:
    made = Meter(answer)
    monkeypatch.setattr(kvm_speed, "kernel_mode_speed", made)
    return made


def test_it_is_measured_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = meter(monkeypatch, 2e9)
    cache = root / "cache"
    assert reality.reality(root, cache) == Reality(Kind.REAL, 2e9)
    assert reality.reality(root, cache) == Reality(Kind.REAL, 2e9)
    assert asked.asked == 1
    assert [path.name for path in cache.iterdir()] == [NAME]


def test_a_changed_host_is_measured_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, cache = meter(monkeypatch, EMULATED - 1), root / "cache"
    assert reality.reality(root, cache).emulator == ""
    (root / "sys" / "module" / "kvm_pvm").mkdir(parents=True)
    assert reality.reality(root, cache).emulator == "kvm_pvm"
    monkeypatch.setattr(reality, "boot_id", lambda: "another")
    reality.reality(root, cache)
    assert asked.asked == 3 * 2, "what looks slow is measured twice"


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b'{"asked": 1}', b"\xff", b'{"asked": null, "answer": {"kind": "odd"}}'])
def test_what_is_no_note_is_not_believed(note: bytes, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, cache = meter(monkeypatch, 2e9), root / "cache"
    cache.mkdir()
    (cache / NAME).write_bytes(note)
    assert reality.reality(root, cache).kind is Kind.REAL
    assert asked.asked == 1
    assert json.loads((cache / NAME).read_bytes())["answer"]["kind"] == "real"


def test_a_broken_one_is_asked_each_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, cache = meter(monkeypatch, UnsupportedError("/dev/kvm", "it ended", "wait")), root / "cache"
    for _ in range(2):
        assert reality.reality(root, cache) == Reality(Kind.BROKEN, cause="it ended")
    assert asked.asked == 2


def test_where_nothing_can_be_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meter(monkeypatch, 2e9)
    (root / "file").touch()
    assert reality.reality(root, root / "file").kind is Kind.REAL


def test_what_needs_no_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = meter(monkeypatch, 2e9)
    assert reality.reality(tmp_path, tmp_path).kind is Kind.ABSENT
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "kvm").touch()
    monkeypatch.setattr(reality, "host_machine", lambda: "aarch64")
    assert reality.reality(tmp_path, tmp_path).kind is Kind.FOREIGN
    monkeypatch.setattr(reality, "host_machine", lambda: "x86_64")
    monkeypatch.setattr(reality.os, "access", lambda path, mode: False)
    assert reality.reality(tmp_path, tmp_path).kind is Kind.FORBIDDEN
    assert asked.asked == 0
