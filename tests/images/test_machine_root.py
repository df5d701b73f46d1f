"""Layers of container images on the disk of a machine."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from gasang.core.errors import UnsupportedError
from gasang.core.progress import Silent
from gasang.images import machine_root
from gasang.images.build import DISK_SIZE
from gasang.images.machine_root import PLACES, completed, write_root
from gasang.storage.tree import Entry, Kind
from support.privileges import needs_root


def layer(folder: Path, **files: bytes) -> Path:
    """A layer with these files, "__" for a slash in their names."""
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def on_disk(disk: Path, command: str) -> str:
    return subprocess.run(["debugfs", "-R", command, str(disk)], capture_output=True, check=True, text=True).stdout


@needs_root
def test_layers_become_one_file_system(tmp_path: Path) -> None:
    lower = layer(tmp_path / "lower", etc__one=b"below", etc__two=b"below", gone=b"x")
    upper = layer(tmp_path / "upper", etc__two=b"above", big=bytes(3 << 20))
    os.mknod(upper / "gone", stat.S_IFCHR, 0)
    os.chown(upper / "big", 7, 8)
    os.symlink("/elsewhere", upper / "run")
    disk = tmp_path / "disk"
    assert write_root([upper, lower], disk, "image x", Silent()) == DISK_SIZE
    subprocess.run(["e2fsck", "-fn", str(disk)], check=True, capture_output=True)
    assert (on_disk(disk, "cat /etc/one"), on_disk(disk, "cat /etc/two")) == ("below", "above")
    shown = on_disk(disk, "ls -l /")
    assert "gone" not in shown
    assert all(f" {place.decode()}\n" in shown for place in PLACES)
    assert "Type: directory" in on_disk(disk, "stat /run")
    assert "User:     7   Group:     8" in on_disk(disk, "stat /big")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "lower", "upper"]


@needs_root
def test_one_layer_alone_and_much_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_root, "DISK_SIZE", 64 << 20)
    monkeypatch.setattr(machine_root, "GIB", 64 << 20)
    only = layer(tmp_path / "only", content=os.urandom(50 << 20))
    assert write_root([only], tmp_path / "disk", "image x", Silent()) == 128 << 20
    subprocess.run(["e2fsck", "-fn", str(tmp_path / "disk")], check=True, capture_output=True)


def test_users_have_no_owners_to_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UnsupportedError, match="image x: only root has its files with their owners"):
        write_root([tmp_path], tmp_path / "disk", "image x", Silent())


def test_places_are_folders() -> None:
    given = [
        Entry(path=b"", kind=Kind.DIRECTORY), Entry(path=b"dev", kind=Kind.FILE, data=b"x"),
        Entry(path=b"etc", kind=Kind.DIRECTORY, mode=0o700),
        Entry(path=b"link", kind=Kind.HARDLINK, target=b"dev"), Entry(path=b"run", kind=Kind.SYMLINK, target=b"/bin"),
    ]  # fmt: skip
    found = {bytes(entry.path): entry for entry in completed(iter(given))}
    assert set(found) == {b"", *PLACES}
    assert all(entry.kind is Kind.DIRECTORY for entry in found.values())
    assert (found[b"etc"].mode, found[b"dev"].mode, found[b"tmp"].mode) == (0o700, 0o755, 0o1777)
