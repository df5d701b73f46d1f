"""File operations of the host, and their twins for hosts that lack something."""

from __future__ import annotations

import errno
import itertools
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


def test_data_runs_cover_all_data(descriptor: int) -> None:
    os.ftruncate(descriptor, 8 * MIB)
    for place in (MIB, 5 * MIB):
        files.write_at(descriptor, b"x" * 4096, place)
    runs = list(files.data_runs(descriptor, 8 * MIB))
    assert all(length > 0 for _, length in runs)
    assert all(a + n <= b for (a, n), (b, _) in itertools.pairwise(runs))
    for place in (MIB, 5 * MIB):
        assert any(start <= place and place + 4096 <= start + length for start, length in runs)
    assert list(files.data_runs(descriptor, MIB)) in ([], [(0, MIB)])


def test_data_runs_where_holes_are_unknown(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    os.ftruncate(descriptor, MIB)

    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    with monkeypatch.context() as patch:
        patch.setattr(os, "lseek", refuse)
        assert list(files.data_runs(descriptor, MIB)) == [(0, MIB)]
    monkeypatch.delattr(os, "SEEK_DATA")
    assert list(files.data_runs(descriptor, MIB)) == [(0, MIB)]


def test_holes_where_the_host_has_none(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(OSError, match="cannot be punched"):
        files.punch_hole(descriptor, 0, 4096)


def test_sync(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    files.sync(descriptor)
    monkeypatch.delattr(os, "fdatasync")
    files.sync(descriptor)
