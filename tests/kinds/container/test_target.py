"""Opening places beneath a root whose content is hostile."""

from __future__ import annotations

import ctypes
import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.kinds.container.target import EXISTING, FILE, FOLDER, PLAIN_FOLDER, SCRATCH_SIZE, open_target

SCRATCH = ctypes.create_string_buffer(SCRATCH_SIZE)


def open_in(root: Path, path: str, kind: int) -> int:
    """The descriptor, or an error number below zero."""
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        return int(open_target(folder, ctypes.create_string_buffer(os.fsencode(path)), kind, 0o755, SCRATCH))
    finally:
        os.close(folder)


def where(descriptor: int) -> str:
    """What a descriptor leads to; it is closed."""
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    os.close(descriptor)
    return path


@pytest.mark.parametrize("path", ["/a/b/c", "a/b/c", "//a///b/c/", "/a/./b/../b/c", "/../../a/b/c"])
def test_what_is_missing_is_made(tmp_path: Path, path: str) -> None:
    assert where(open_in(tmp_path, path, FOLDER)) == str(tmp_path / "a/b/c")
    assert (tmp_path / "a/b/c").is_dir()


def test_files_are_made_empty_and_not_over_others(tmp_path: Path) -> None:
    assert where(open_in(tmp_path, "/a/file", FILE)) == str(tmp_path / "a/file")
    (tmp_path / "a/file").write_text("kept")
    os.close(open_in(tmp_path, "/a/file", FILE))
    assert (tmp_path / "a/file").read_text() == "kept"
    assert open_in(tmp_path, "/a/file/below", FILE) == -errno.ENOTDIR


def test_only_what_exists_where_nothing_is_to_be_made(tmp_path: Path) -> None:
    assert open_in(tmp_path, "/a", EXISTING) == -errno.ENOENT
    assert list(tmp_path.iterdir()) == []


def test_links_lead_within_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (root / "absolute").symlink_to("/in")
    (root / "up").symlink_to("../../../in")
    (root / "dangling").symlink_to("/new/place")
    (root / "relative").symlink_to("in/other")
    assert where(open_in(root, "/absolute/x", FOLDER)) == str(root / "in/x")
    assert where(open_in(root, "/up/y", FOLDER)) == str(root / "in/y")
    assert where(open_in(root, "/dangling/z", FOLDER)) == str(root / "new/place/z")
    assert where(open_in(root, "/relative", FILE)) == str(root / "in/other")
    assert {path.name for path in tmp_path.iterdir()} == {"root"}


def test_a_plain_folder_has_no_link_in_its_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert open_in(tmp_path, "/link", PLAIN_FOLDER) == -errno.ELOOP
    assert where(open_in(tmp_path, "/made/here", PLAIN_FOLDER)) == str(tmp_path / "made/here")


def test_loops_and_lengths_end(tmp_path: Path) -> None:
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "grow").symlink_to("missing/../grow/x")
    assert open_in(tmp_path, "/self/x", FOLDER) == -errno.ELOOP
    assert open_in(tmp_path, "/grow", FOLDER) < 0
    assert open_in(tmp_path, "/" + "a/" * 3000, FOLDER) in (-errno.ENAMETOOLONG, -errno.ELOOP)
    assert open_in(tmp_path, "/" + "a" * 300, FOLDER) == -errno.ENAMETOOLONG
    assert open_in(tmp_path, "/" + "a" * 5000, FILE) == -errno.ENAMETOOLONG


def test_links_of_proc_that_jump_are_refused(tmp_path: Path) -> None:
    folder = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        path = ctypes.create_string_buffer(f"/proc/self/fd/{folder}/tmp".encode())
        assert open_target(folder, path, FOLDER, 0o755, SCRATCH) == -errno.ELOOP
    finally:
        os.close(folder)


NAMES = st.sampled_from(["a", "b", "c", "..", "."])
PATHS = st.builds("/".join, st.lists(NAMES, min_size=1, max_size=5))
LINKS = st.builds(lambda path, absolute: f"/{path}" if absolute else path, PATHS, st.booleans())


@settings(max_examples=120)
@given(st.dictionaries(PATHS, st.one_of(st.none(), LINKS), max_size=6), PATHS, st.sampled_from([FOLDER, FILE]))
def test_whatever_the_links_nothing_is_made_outside(tree: dict[str, str | None], path: str, kind: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        outer = Path(name)
        root = outer / "x/root"
        root.mkdir(parents=True)
        for entry, link in tree.items():
            place = Path(os.path.normpath(f"/{entry}"))
            target = root / place.relative_to("/")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                if link is None:
                    target.mkdir(exist_ok=True)
                elif target != root:
                    target.symlink_to(link)
            except OSError:
                continue  # another entry is in the way
            if not os.path.realpath(target.parent).startswith(str(root)):
                return  # the tree itself was made through a link, by us
        before = sorted(str(found) for found in outer.rglob("*") if root not in found.parents)
        opened = open_in(root, path, kind)
        assert sorted(str(found) for found in outer.rglob("*") if root not in found.parents) == before
        if opened >= 0:
            assert where(opened).startswith(str(root))
