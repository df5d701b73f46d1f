"""Where files have data, and space given back."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.host import files, holes

MIB = 1 << 20


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(b"")
    descriptor = files.open_file(tmp_path / "file", read_only=False)
    yield descriptor
    os.close(descriptor)


def test_data_runs_cover_all_data(descriptor: int) -> None:
    os.ftruncate(descriptor, 8 * MIB)
    for place in (MIB, 5 * MIB):
        files.write_at(descriptor, b"x" * 4096, place)
    runs = list(holes.data_runs(descriptor, 8 * MIB))
    assert all(length > 0 for _, length in runs)
    assert all(a + n <= b for (a, n), (b, _) in itertools.pairwise(runs))
    for place in (MIB, 5 * MIB):
        assert any(start <= place and place + 4096 <= start + length for start, length in runs)
    assert list(holes.data_runs(descriptor, MIB)) in ([], [(0, MIB)])


def test_data_runs_where_holes_are_unknown(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    os.ftruncate(descriptor, MIB)

    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    with monkeypatch.context() as patch:
        patch.setattr(os, "lseek", refuse)
        assert list(holes.data_runs(descriptor, MIB)) == [(0, MIB)]
    monkeypatch.delattr(os, "SEEK_DATA")
    assert list(holes.data_runs(descriptor, MIB)) == [(0, MIB)]


def test_holes_where_the_host_has_none(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(OSError, match="cannot be punched"):
        holes.punch_hole(descriptor, 0, 4096)


def test_sync(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    files.sync(descriptor)
    monkeypatch.delattr(os, "fdatasync")
    files.sync(descriptor)
