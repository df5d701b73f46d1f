"""cpio archives: read back by a reader written from the format's description, and by cpio where it is installed."""

from __future__ import annotations

import io
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.images.cpio import archive
from gasang.storage.tree import Entry, Kind
from support.cpio_reader import unpack

NAMES = st.from_regex(r"[a-z]{1,20}(/[a-z]{1,9}){0,3}", fullmatch=True)


@given(st.dictionaries(NAMES, st.tuples(st.binary(max_size=40), st.integers(0, 0o7777), st.integers(0, 0xFFFFFFFF)), max_size=6))
def test_files_come_back(files: dict[str, tuple[bytes, int, int]]) -> None:
    made = archive(Entry(path=name, kind=Kind.FILE, mode=mode, uid=uid, data=data) for name, (data, mode, uid) in files.items())
    assert len(made) % 512 == 0
    found = unpack(made)
    assert {name.decode(): (record.data, record.mode, record.uid) for name, record in found.items()} == {
        name: (data, stat.S_IFREG | mode, uid) for name, (data, mode, uid) in files.items()
    }


def test_every_kind() -> None:
    found = unpack(
        archive(
            [
                Entry(path="", kind=Kind.DIRECTORY, mode=0o755, mtime=-5),
                Entry(path="dev", kind=Kind.DIRECTORY, mode=0o755, mtime=7),
                Entry(path="dev/console", kind=Kind.CHARACTER, mode=0o600, device=(5, 1)),
                Entry(path="dev/vda", kind=Kind.BLOCK, mode=0o660, device=(254, 0)),
                Entry(path="sh", kind=Kind.SYMLINK, mode=0o777, target="busybox"),
                Entry(path="stream", kind=Kind.FILE, size=3, data=lambda: io.BytesIO(b"abc")),
            ]
        )
    )
    assert found[b"."][:4] == (stat.S_IFDIR | 0o755, 0, 0, 0)
    assert found[b"dev"].mtime == 7
    assert found[b"dev/console"] == (stat.S_IFCHR | 0o600, 0, 0, 0, (5, 1), b"")
    assert found[b"dev/vda"].device == (254, 0)
    assert found[b"sh"].data == b"busybox"
    assert found[b"stream"].data == b"abc"


def test_archives_can_be_joined() -> None:
    one = archive([Entry(path="a", kind=Kind.FILE, data=b"1"), Entry(path="b", kind=Kind.FILE, data=b"2")])
    other = archive([Entry(path="a", kind=Kind.FILE, data=b"new")])
    assert {name: record.data for name, record in unpack(one + other).items()} == {b"a": b"new", b"b": b"2"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Entry(path="a", kind=Kind.HARDLINK, target="b"), "hard link has no place"),
        (Entry(path="../a", kind=Kind.FILE), "not relative and normalised"),
        (Entry(path="/a", kind=Kind.FILE), "not relative and normalised"),
        (Entry(path="a", kind=Kind.FILE, mode=0o10000), "mode"),
    ],
)
def test_what_cannot_be_stored_is_told(entry: Entry, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        archive([entry])


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed")
def test_cpio_reads_it(tmp_path: Path) -> None:
    made = archive([Entry(path="folder", kind=Kind.DIRECTORY, mode=0o755), Entry(path="folder/file", kind=Kind.FILE, data=b"hello")])
    subprocess.run(["cpio", "-i", "--quiet"], input=made, cwd=tmp_path, check=True)
    assert (tmp_path / "folder" / "file").read_bytes() == b"hello"
