"""Mounts with other owners, and threads that make files as another."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.host.idmapped import as_owner, cloned, shift, shifted, shifted_overlay
from gasang.kinds.container.config.linux import IdMapping
from gasang.kinds.container.idmap import user_namespace

BASE = 100000
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def users() -> Iterator[int]:
    """A user namespace."""
    mapping = [IdMapping(0, BASE, 65536)]
    descriptor = user_namespace(mapping, mapping)
    yield descriptor
    os.close(descriptor)


def test_a_shifted_mount_shows_other_owners(tmp_path: Path, users: int) -> None:
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", 1000, 5)
    mount = shifted(str(tmp_path), users)
    try:
        found = os.stat("file", dir_fd=mount)
        assert (found.st_uid, found.st_gid) == (BASE + 1000, BASE + 5)
        assert (tmp_path / "file").stat().st_uid == 1000
    finally:
        os.close(mount)


def test_what_is_made_through_it_is_as_ever_on_the_disk(tmp_path: Path, users: int) -> None:
    layers = [tmp_path / name for name in ("upper-one", "lower-one", "upper", "work")]
    for folder in layers:
        folder.mkdir()
    (layers[1] / "file").write_text("below")
    root = shifted_overlay(layers[:2], layers[2], layers[3], users, (BASE, BASE), ("redirect_dir=off",))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EOVERFLOW)):
            os.mkdir("ours", dir_fd=root)  # the host's root is nobody there
        as_owner(BASE, BASE, lambda: os.mkdir("folder", dir_fd=root))
        os.chown("file", BASE + 7, BASE, dir_fd=root)
        assert os.stat("folder", dir_fd=root).st_uid == BASE
    finally:
        os.close(root)
    assert [(layers[2] / name).stat().st_uid for name in ("folder", "file")] == [0, 7]
    assert (layers[1] / "file").stat().st_uid == 0


def test_a_mount_is_shifted_once(tmp_path: Path, users: int) -> None:
    mount = cloned(str(tmp_path))
    try:
        shift(mount, users)
        with pytest.raises(OSError, match=os.strerror(errno.EPERM)):
            shift(mount, users)
    finally:
        os.close(mount)


def test_acting_as_an_owner_ends_with_the_work_and_passes_errors_on(tmp_path: Path) -> None:
    def make() -> int:
        (tmp_path / "theirs").mkdir(mode=0o700)
        os.chown(tmp_path / "theirs", 5, 5)
        (tmp_path / "theirs/file").touch()  # all rights are still ours
        return (tmp_path / "theirs/file").stat().st_uid

    tmp_path.chmod(0o755)
    assert as_owner(1234, 1234, make) == 1234
    (tmp_path / "ours").touch()
    assert (tmp_path / "ours").stat().st_uid == 0
    with pytest.raises(FileNotFoundError):
        as_owner(1234, 1234, (tmp_path / "none").stat)
