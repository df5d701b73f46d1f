"""What machines were booted from: it stays when its image goes, and goes with the last machine."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from gasang.core.errors import StateError
from gasang.images.ready import BootFiles
from gasang.kinds.vm.process import bases


def booted(folder: Path) -> BootFiles:
    """Files as an image has them."""
    folder.mkdir(exist_ok=True)
    paths = [folder / name for name in ("k", "i", "d")]
    for path in paths:
        path.write_text(f"{folder.name} {path.name}")
    return BootFiles(*paths, "quiet")


def noted(place: Path, files: BootFiles) -> Path:
    place.write_text(json.dumps([str(files.kernel), str(files.initrd), str(files.disk), files.append, None]))
    return place


@pytest.fixture
def place(tmp_path: Path) -> Path:
    assert bases.folder_of(tmp_path / "state" / "containers" / "family-1" / "key") == tmp_path / "state" / "bases"
    found = bases.folder_of(tmp_path / "state" / "containers" / "key")
    assert found == tmp_path / "state" / "bases"
    with bases.pinning(found):
        assert found.is_dir()
    return found


def test_they_are_the_same_files_and_stay(place: Path, tmp_path: Path) -> None:
    files = booted(tmp_path / "image")
    kept = bases.pin(files, place)
    assert kept.disk.samefile(files.disk)
    assert kept.append == "quiet"
    for path in (files.kernel, files.initrd, files.disk):
        path.unlink()
    assert (kept.kernel.read_text(), kept.disk.read_text()) == ("image k", "image d")


def test_one_image_is_linked_once_and_another_apart(place: Path, tmp_path: Path) -> None:
    files = booted(tmp_path / "image")
    assert bases.pin(files, place) == bases.pin(files, place)
    assert bases.pin(booted(tmp_path / "other"), place).disk.parent != bases.pin(files, place).disk.parent


def test_files_that_cannot_be_linked_are_used_where_they_are(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    files = booted(tmp_path / "image")
    assert bases.pin(files, place) == files


def test_what_nobody_names_goes(place: Path, tmp_path: Path) -> None:
    first, second = (bases.pin(booted(tmp_path / name), place) for name in ("one", "two"))
    notes = [noted(tmp_path / "a.json", first), tmp_path / "missing.json"]
    (tmp_path / "damaged.json").write_text("[")
    bases.sweep(place, [*notes, tmp_path / "damaged.json"])
    assert first.disk.exists()
    assert not second.disk.exists()
    bases.sweep(place, [])
    assert not first.disk.exists()
    bases.sweep(tmp_path / "none", [])


def test_nothing_goes_while_a_machine_is_pinning(place: Path, tmp_path: Path) -> None:
    with bases.pinning(place):
        kept = bases.pin(booted(tmp_path / "one"), place)
        bases.sweep(place, [])
        assert kept.disk.exists()
    bases.sweep(place, [])
    assert not kept.disk.exists()


def test_an_imported_disk_that_was_written_to_is_told(place: Path, tmp_path: Path) -> None:
    imported = replace(booted(tmp_path / "image"), own=True)
    kept = bases.pin(imported, place)
    bases.check(kept, "image web")
    os.utime(imported.disk, (1, 1))
    with pytest.raises(StateError, match="image web: its disk was written to"):
        bases.check(kept, "image web")
    bases.check(replace(kept, own=False), "image debian")  # an image's disk never is
    bases.check(imported, "image web")
    given = BootFiles(*(place / "given-1" / name for name in ("kernel", "initrd", "disk")), "quiet", root="/dev/vda1")
    given.disk.parent.mkdir()
    for path in (given.kernel, given.initrd, given.disk):
        path.touch()
    bases.check(given, "image web")
