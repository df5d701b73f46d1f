"""Entries as a folder of the host, and the folder that work is done in."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, OutOfSpaceError
from gasang.images.configuring import ROOT, host_architecture, script, unfolded, workplace
from gasang.storage.tree import Entry, Kind, encode, read_tree
from support.privileges import needs_root
from support.small_disk import small_disk

ENTRIES = [
    Entry(path="", kind=Kind.DIRECTORY, mode=0o755),
    Entry(path="bin", kind=Kind.SYMLINK, mode=0o777, target="usr/bin"),
    Entry(path="usr", kind=Kind.DIRECTORY, mode=0o755, mtime=5),
    Entry(path="usr/bin", kind=Kind.DIRECTORY, mode=0o1777, uid=3, gid=4, mtime=6),
    Entry(path="usr/bin/sh", kind=Kind.FILE, mode=0o4755, uid=1, gid=2, mtime=7, size=300_000, data=lambda: BytesIO(b"s" * 300_000)),
    Entry(path=b"usr/\xff", kind=Kind.FILE, data=b"odd"),
    Entry(path="pipe", kind=Kind.FIFO, mode=0o600),
    Entry(path="usr/bin/again", kind=Kind.HARDLINK, target="usr/bin/sh"),
]


@needs_root
def test_entries_come_back_from_the_folder(tmp_path: Path) -> None:
    with unfolded(ENTRIES, tmp_path) as root:
        found = {encode(entry.path): entry for entry in read_tree(root)}
        assert {encode(entry.path) for entry in ENTRIES} == set(found)
        shell = (root / "usr/bin/sh").stat()
        assert (shell.st_mode & 0o7777, shell.st_uid, shell.st_gid, shell.st_mtime, shell.st_size) == (0o4755, 1, 2, 7, 300_000)
        assert (root / "usr/bin/again").stat().st_ino == shell.st_ino
        assert os.readlink(root / "bin") == "usr/bin"
        assert (root / "usr/bin").stat().st_mtime == 6
    assert list(tmp_path.iterdir()) == []


@needs_root
@pytest.mark.parametrize("path", ["../out", "usr/../../out", "away/out"])
def test_no_entry_leaves_the_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "work").mkdir()
    entries = [Entry(path="away", kind=Kind.SYMLINK, target=str(tmp_path)), Entry(path=path, kind=Kind.FILE, data=b"x")]
    with pytest.raises(BadInputError, match="the packages' files"), unfolded(entries, tmp_path / "work"):
        pytest.fail("it was unfolded")
    assert [found.name for found in tmp_path.iterdir()] == ["work"]
    assert list((tmp_path / "work").iterdir()) == []


@needs_root
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 128) as place:
        with pytest.raises(OutOfSpaceError, match="no space is left"), unfolded(ENTRIES, place):
            pytest.fail("it was unfolded")
        assert list(place.iterdir()) == []


def test_a_workplace_is_new_and_what_others_left_goes(tmp_path: Path) -> None:
    (tmp_path / "work-old" / ROOT).mkdir(parents=True)
    (tmp_path / "other").mkdir()
    forgotten: list[str] = []
    with workplace(tmp_path, "work-", lambda folder: forgotten.append(folder.name)) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert sorted(found.name for found in tmp_path.iterdir()) == ["other", folder.name]
    assert forgotten == ["work-old"]
    assert [found.name for found in tmp_path.iterdir()] == ["other"]


def test_the_hosts_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, name in (("x86_64", "amd64"), ("AMD64", "amd64"), ("riscv64", "riscv64"), ("aarch64", "")):
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        assert host_architecture() == name
    assert script().startswith(b"#!/bin/sh\n")
