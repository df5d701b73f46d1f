from __future__ import annotations

import io
import socket
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.api.answer import Answer
from gasang.cli.containers.archives import made
from gasang.cli.containers.copying import Place, Target, _unpack, place, renamed, target
from gasang.core.errors import BadInputError, UsageError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("web:/etc", Place("web", "/etc")),
        ("web:", Place("web", "/")),
        ("web:etc", Place("web", "etc")),
        ("-", Place("", "-")),
        ("./a:b", Place("", "./a:b")),
        ("/a:b", Place("", "/a:b")),
        ("dir/a:b", Place("", "dir/a:b")),
        ("plain", Place("", "plain")),
    ],
)
def test_ends_of_a_copy(text: str, found: Place) -> None:
    assert place(text) == found


@pytest.mark.parametrize(
    ("source", "is_folder", "wanted", "there", "found"),
    [
        ("/etc/hosts", False, "/tmp", "folder", Target("/tmp", "hosts")),
        ("/etc/hosts", False, "/tmp/other", "", Target("/tmp", "other")),
        ("/etc/hosts", False, "/tmp/old", "file", Target("/tmp", "old")),
        ("/etc", True, "/tmp", "folder", Target("/tmp", "etc")),
        ("/etc/", True, "/tmp", "folder", Target("/tmp", "etc")),
        ("/etc/.", True, "/tmp", "folder", Target("/tmp", ".")),
        ("/etc", True, "/new", "", Target("/", "new")),
        ("/etc", True, "/new/", "", Target("/", "new")),
        ("/etc/hosts", False, "new", "", Target(".", "new")),
    ],
)
def test_where_a_copy_ends_up(source: str, is_folder: bool, wanted: str, there: str, found: Target) -> None:
    assert target(source, is_folder, wanted, there) == found


def test_what_cannot_be_copied() -> None:
    with pytest.raises(UsageError, match="it is a file"):
        target("/etc", True, "/tmp/file", "file")
    with pytest.raises(UsageError, match="there is no such folder"):
        target("/etc/hosts", False, "/tmp/new/", "")


def answer_of(archive: bytes) -> Answer:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + archive)
    return Answer(ours)


def archive_of(*entries: tuple[str, bytes, str]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, kind, link in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = kind, link, 0o6755
            entry.size = 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(entry, io.BytesIO(b"data"))
    return output.getvalue()


def test_nothing_leaves_the_folder_and_nothing_gains_rights(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    data = archive_of(
        ("x", tarfile.DIRTYPE, ""),
        ("x/link", tarfile.SYMTYPE, "/y"),
        ("x/link/followed", tarfile.REGTYPE, ""),
        ("../../out/escaped", tarfile.REGTYPE, ""),
        ("x/set", tarfile.REGTYPE, ""),
        ("x/hard", tarfile.LNKTYPE, "x/set"),
        ("x/null", tarfile.CHRTYPE, ""),
    )
    with answer_of(data) as answer:
        _unpack(answer, str(inside), "y")
    assert list(outside.iterdir()) == []
    assert (inside / "y" / "followed").read_bytes() == (inside / "y" / "hard").read_bytes() == b"data"
    assert (inside / "y" / "set").stat().st_mode & 0o7777 == 0o755
    assert not (inside / "y" / "null").exists()


def test_a_link_out_of_the_folder_leads_nowhere(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    data = archive_of(("x", tarfile.DIRTYPE, ""), ("x/link", tarfile.SYMTYPE, str(outside)), ("x/link/escaped", tarfile.REGTYPE, ""))
    with answer_of(data) as answer, pytest.raises(BadInputError, match="x/link/escaped"):
        _unpack(answer, str(inside), "x")
    assert list(outside.iterdir()) == []


@given(st.text(min_size=1), st.sampled_from([".", "new"]))
def test_the_first_part_is_replaced(path: str, name: str) -> None:
    assert renamed(path, name).split("/")[0] in (name, "") or renamed(path, name).startswith("/")


def test_an_archive_is_made_while_it_is_read_and_its_errors_arrive(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 2_000_000)
    data = b"".join(made(lambda archive: archive.add(tmp_path / "big", "big")))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getmember("big").size == 2_000_000
    with pytest.raises(FileNotFoundError):
        list(made(lambda archive: archive.add(tmp_path / "none", "x")))


def test_a_reader_that_stops_ends_the_maker(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 2_000_000)
    pieces = made(lambda archive: archive.add(tmp_path / "big", "big"))
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
