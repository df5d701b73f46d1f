"""What differs between a machine's files and its image's, from what its guest tells; whatever that is."""

from __future__ import annotations

import stat
from pathlib import Path
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from gasang.daemon.vms.changes import ADDED, DELETED, MODIFIED, compare, parse
from gasang.storage.ext4 import write_ext4
from gasang.storage.filesystems.ext4 import Ext4, Facts
from gasang.storage.filesystems.listing import listing
from gasang.storage.filesystems.window import Window
from gasang.storage.tree import Entry, Kind

FILE = Facts(stat.S_IFREG | 0o644, 5, 100, 0, 0)
FOLDER = Facts(stat.S_IFDIR | 0o755, 0, 100, 0, 0)
IMAGE = {b"/": FOLDER, b"/etc": FOLDER, b"/etc/hosts": FILE, b"/old": FOLDER, b"/old/a": FILE, b"/old/b": FILE, b"/same": FILE}


def test_what_is_told() -> None:
    present = {
        **{path: facts for path, facts in IMAGE.items() if not path.startswith(b"/old")},
        b"/etc/hosts": FILE._replace(size=6),
        b"/new": FOLDER,
        b"/new/file": FILE,
    }
    assert compare(IMAGE, present) == [
        ("/etc", MODIFIED), ("/etc/hosts", MODIFIED), ("/new", ADDED), ("/new/file", ADDED), ("/old", DELETED),
    ]  # fmt: skip
    assert compare(IMAGE, IMAGE) == []


def test_each_of_the_facts_counts() -> None:
    for other in (FILE._replace(mode=stat.S_IFREG | 0o755), FILE._replace(time=101), FILE._replace(user=1), FILE._replace(group=1)):
        assert compare(IMAGE, {**IMAGE, b"/same": other}) == [("/same", MODIFIED)]


def test_a_listing() -> None:
    lines = (
        "41ed 4096 100 0 0 .", "81a4 5 4294967396 0 0 ./etc/hosts", "41ed 4096 100 0 0 ./run/gasang-7", "a1ff 3 -1 0 0 ./l", "odd",
        "81a4 5 1 0 0 ./a b",
    )  # fmt: skip
    told = "\n".join(lines).encode()
    assert parse(told) == {
        b"/": FOLDER, b"/etc/hosts": FILE, b"/l": Facts(stat.S_IFLNK | 0o777, 3, (1 << 32) - 1, 0, 0),
        b"/a b": Facts(stat.S_IFREG | 0o644, 5, 1, 0, 0),
    }  # fmt: skip


@given(st.binary(max_size=400))
def test_a_guest_may_tell_anything(told: bytes) -> None:
    compare(IMAGE, parse(told))


def test_an_images_files(tmp_path: Path) -> None:
    entries = [
        Entry(path="etc", kind=Kind.DIRECTORY, mode=0o755),
        Entry(path="etc/hosts", kind=Kind.FILE, mode=0o640, data=b"12345", uid=70000, gid=3, mtime=1234),
        Entry(path="link", kind=Kind.SYMLINK, target="etc/hosts"),
    ]
    path = tmp_path / "disk"
    write_ext4(path, entries, 16 << 20, uuid=UUID(int=1))
    data = path.read_bytes()
    found = listing(Ext4(Window(lambda offset, length: data[offset : offset + length], 0, len(data), "disk")))
    assert {b"/", b"/etc", b"/etc/hosts", b"/link"} <= found.keys()
    assert found[b"/etc/hosts"] == Facts(stat.S_IFREG | 0o640, 5, 1234, 70000, 3)
    assert (stat.S_ISLNK(found[b"/link"].mode), found[b"/link"].size) == (True, 9)
    assert stat.S_ISDIR(found[b"/etc"].mode)
