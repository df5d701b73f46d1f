"""What is bound of a folder: found within it, whatever links there are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gasang.core.errors import GasangError, NotFoundError
from gasang.kinds.container.parts import Part


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "volume"
    (made / "a" / "b").mkdir(parents=True)
    (made / "file").write_text("x")
    (made / "inside").symlink_to("a/b")
    (made / "outside").symlink_to("../../")
    (made / "root").symlink_to("/etc")
    (made / "dangling").symlink_to("nothing")
    return made


def names(part: Part) -> str:
    """The path of what is opened."""
    place = part.open()
    try:
        return os.readlink(f"/proc/self/fd/{place}")
    finally:
        os.close(place)


@pytest.mark.parametrize(("path", "found"), [("", ""), ("a", "/a"), ("a/b", "/a/b"), ("inside", "/a/b"), ("file", "/file")])
def test_what_is_there(folder: Path, path: str, found: str) -> None:
    assert names(Part(folder, path)) == f"{folder}{found}"


@pytest.mark.parametrize("path", ["outside", "root", "root/passwd", "a/../../x"])
def test_what_leads_out(folder: Path, path: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(GasangError, match=r"path .*: it escapes .* by a link or dots") as caught:
        Part(folder, path).open()
    assert not isinstance(caught.value, NotFoundError)
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("path", ["missing", "dangling", "file/x"])
def test_what_is_not_there(folder: Path, path: str) -> None:
    with pytest.raises(NotFoundError, match="cannot access path"):
        Part(folder, path).open()


def test_its_folder_and_its_name(folder: Path) -> None:
    assert (Part(folder, "a/b").above(), Part(folder, "a/b").name) == (Part(folder, "a"), "b")
    assert (Part(folder, "a").above(), Part(folder, "a").name) == (Part(folder), "a")
    assert (Part(folder).above(), Part(folder).name) == (Part(folder.parent), "volume")
