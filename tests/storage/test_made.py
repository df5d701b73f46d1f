"""Files that appear only when complete."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from gasang.core.errors import OutOfSpaceError, StateError
from gasang.storage.made import new_file


def test_it_appears_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old and longer")
    with new_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old and longer"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt(), OSError(errno.EIO, "broken")])
def test_a_failure_leaves_what_was_there(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail() -> None:
        with new_file(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_host(number: int, tmp_path: Path) -> None:
    with pytest.raises(OutOfSpaceError, match="host's disk is full"), new_file(tmp_path / "file"):
        raise OSError(number, "full")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"half of something long")
    with new_file(tmp_path / "file") as file:
        file.write(b"all")
    assert (tmp_path / "file").read_bytes() == b"all"


def test_two_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with new_file(path) as file:
        with pytest.raises(StateError, match="another process"), new_file(path):
            pass
        file.write(b"first")
    assert path.read_bytes() == b"first"


def test_the_file_may_go_away_before_it_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    part = tmp_path / "file.part"
    rounds = []

    def lock(descriptor: int, *, shared: bool) -> bool:
        rounds.append(shared)
        if len(rounds) == 1:  # the one who had the lock finishes here
            part.rename(path)
        if len(rounds) == 2:  # and this one gives up
            part.unlink()
        return True

    monkeypatch.setattr("gasang.storage.made.lock_file", lock)
    part.write_bytes(b"theirs")
    with new_file(path) as file:
        assert path.read_bytes() == b"theirs"
        file.write(b"ours")
    assert len(rounds) == 3
    assert path.read_bytes() == b"ours"
