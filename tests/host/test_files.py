"""File operations of the host, and their twins for hosts that lack something."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.host import files

MIB = 1 << 20


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(b"")
    descriptor = files.open_file(tmp_path / "file", read_only=False)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_positioned_reads_and_writes(platform: str, descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", platform)
    files.write_at(descriptor, b"world", 6)
    files.write_at(descriptor, memoryview(b"hello "), 0)
    assert files.read_at(descriptor, 5, 6) == b"world"
    assert files.read_at(descriptor, 11, 0) == b"hello world"
    with pytest.raises(OSError, match="ends early"):
        files.read_at(descriptor, 12, 0)


def test_short_transfers_go_on(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pread, pwrite = os.pread, os.pwrite
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: pread(fd, min(length, 3), offset))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:2], offset))
    files.write_at(descriptor, b"0123456789", 1)
    assert files.read_at(descriptor, 11, 0) == b"\x000123456789"


def test_locks_exclude(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    one, two = (files.open_file(path, read_only=True) for _ in range(2))
    assert files.lock_file(one, shared=True)
    assert files.lock_file(two, shared=True)
    assert not files.lock_file(two, shared=False)
    os.close(one)
    assert files.lock_file(two, shared=False)
    os.close(two)


@pytest.mark.parametrize(("number", "taken"), [(errno.EWOULDBLOCK, False), (errno.EOPNOTSUPP, True), (errno.EIO, False)])
def test_file_systems_without_locks(number: int, taken: bool, descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    assert files.lock_file(descriptor, shared=False) is taken
