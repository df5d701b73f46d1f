"""Which users are mapped: what the programs of the host are asked for, and what becomes of a refusal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gasang.core.errors import GasangError, PermissionDeniedError, UsageError
from gasang.daemon.rootless import mapping


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with programs that note their words, and files of ranges for this user."""
    for name in mapping._PROGRAMS:
        (tmp_path / name).write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\n')
        (tmp_path / name).chmod(0o755)
    for name in ("SUBUID", "SUBGID"):
        (tmp_path / name).write_text(f"{os.geteuid()}:200000:10\nnobody-at-all:1:1\n{os.geteuid()}:300000:5\n")
        monkeypatch.setattr(mapping, name, tmp_path / name)
    monkeypatch.setattr(mapping, "_USUAL", "/usr/bin:/bin")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_the_user_is_root_and_the_ranges_follow(tools: Path) -> None:
    mapping.map_users(77)
    assert (tools / "said").read_text().splitlines() == [f"77 0 {own} 1 1 200000 10 11 300000 5" for own in (os.geteuid(), os.getegid())]


def test_a_refusal_is_told_with_its_words(tools: Path) -> None:
    (tools / "newgidmap").write_text("#!/bin/sh\necho one >&2\necho 'range not allowed' >&2\nexit 1\n")
    with pytest.raises(PermissionDeniedError, match=r"newgidmap: it does not map this user's ranges \(range not allowed\); see that"):
        mapping.map_users(77)
    (tools / "newuidmap").write_text("no program")
    with pytest.raises(GasangError, match="newuidmap: it cannot be run"):
        mapping.map_users(77)


def test_a_wrong_file_is_told(tools: Path) -> None:
    (tools / "SUBGID").write_text(f"{os.geteuid()}:here:there\n")
    with pytest.raises(UsageError, match="is no range of numbers"):
        mapping.map_users(77)


@pytest.mark.parametrize("missing", ["newuidmap", "newgidmap", "SUBUID", "SUBGID"])
def test_without_one_of_them_the_user_is_alone(tools: Path, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "_USUAL", "")
    (tools / missing).unlink()
    asked: list[int] = []
    monkeypatch.setattr(mapping, "_map_self", asked.append)
    mapping.map_users(77)
    assert asked == [77]
    assert not (tools / "said").exists()


def test_who_may_not_even_map_himself(tools: Path) -> None:
    (tools / "SUBUID").write_text("")
    with pytest.raises(PermissionDeniedError, match="users of the daemon: the host does not map them"):
        mapping.map_users(1 << 22)
