"""The layer between an image and a container's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gasang.daemon.containers.ground import FILES, fits, make_ground


def test_it_is_made_once_and_whole(tmp_path: Path) -> None:
    (tmp_path / "ground.new" / "etc").mkdir(parents=True)  # an earlier one did not come to its end
    (tmp_path / "ground.new" / "etc" / "mtab").symlink_to("/proc/mounts")
    make_ground(tmp_path / "ground")
    assert sorted(os.listdir(tmp_path)) == ["ground"]
    assert (tmp_path / "ground" / "etc" / "mtab").readlink() == Path("/proc/mounts")
    for name in FILES:
        assert (tmp_path / "ground" / name).stat().st_size == 0
    before = (tmp_path / "ground").stat().st_ino
    make_ground(tmp_path / "ground")
    assert (tmp_path / "ground").stat().st_ino == before


@pytest.mark.parametrize(
    ("name", "rights", "same"), [("etc", 0o755, True), ("etc", 0o700, False), ("proc", 0o555, True), ("dev", 0o700, True)]
)
def test_rights_that_would_be_hidden(tmp_path: Path, name: str, rights: int, same: bool) -> None:
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    upper.mkdir()
    (lower / name).mkdir(parents=True)
    (lower / name).chmod(rights)
    assert fits([upper, lower]) is same


def test_what_is_no_folder_would_be_hidden(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "etc").symlink_to("elsewhere")
    assert not fits([tmp_path])


def test_the_uppermost_counts(tmp_path: Path) -> None:
    for layer, rights in (("upper", 0o755), ("lower", 0o700)):
        (tmp_path / layer / "etc").mkdir(parents=True)
        (tmp_path / layer / "etc").chmod(rights)
    assert fits([tmp_path / "upper", tmp_path / "lower"])
    assert not fits([tmp_path / "lower", tmp_path / "upper"])
