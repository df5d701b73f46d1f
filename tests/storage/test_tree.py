"""Entries: paths, what a message shows of them, and reading a directory of the host."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.storage.tree import NAME_MAX, Kind, encode, read_tree, shown, split_path


@given(st.binary(max_size=600) | st.lists(st.sampled_from([b"a", b".", b"..", b"", b"x" * 255, b"y" * 256, b"\0"])).map(b"/".join))
def test_a_path_is_split_or_refused(path: bytes) -> None:
    try:
        parts = split_path(path)
    except BadInputError:
        return
    assert b"/".join(parts) == (b"" if path == b"." else path)
    for part in parts:
        assert part not in (b"", b".", b"..")
        assert len(part) <= NAME_MAX
        assert not {0, ord("/")} & set(part)


@given(st.binary())
def test_what_is_shown_is_printable(path: bytes) -> None:
    assert shown(path).isprintable()


@given(st.binary().filter(lambda name: b"\0" not in name))
def test_names_of_the_host_come_back(name: bytes) -> None:
    assert encode(name.decode("utf-8", "surrogateescape")) == name


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this host has no fifos")
def test_reading_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "root"
    (root / "b/c").mkdir(parents=True)
    (root / "b/file").write_bytes(b"content")
    (root / "b/file").chmod(0o640)
    os.utime(root / "b/file", (5, 1234))
    os.link(root / "b/file", root / "other")
    (root / "a").symlink_to("b/file")
    os.mkfifo(root / "pipe", 0o600)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("root/socket")
        entries = {entry.path: entry for entry in read_tree(root)}
    assert list(entries) == [b"", b"a", b"b", b"b/c", b"b/file", b"other", b"pipe", b"socket"]
    file = entries[b"b/file"]
    assert (file.kind, file.mode, file.mtime, file.size) == (Kind.FILE, 0o640, 1234, 7)
    assert callable(file.data)
    with file.data() as stream:
        assert stream.read() == b"content"
    assert (entries[b"other"].kind, entries[b"other"].target) == (Kind.HARDLINK, b"b/file")
    assert (entries[b"a"].kind, entries[b"a"].target) == (Kind.SYMLINK, b"b/file")
    assert entries[b"pipe"].kind is Kind.FIFO
    assert entries[b"socket"].kind is Kind.SOCKET


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="this host has no extended attributes")
def test_attributes_are_read(tmp_path: Path) -> None:
    try:
        os.setxattr(tmp_path, "user.note", b"1")
    except OSError as error:
        pytest.skip(f"the file system of {tmp_path} takes none: {error}")
    (entry,) = read_tree(tmp_path)
    assert entry.xattrs["user.note"] == b"1"
