"""Spools: slices read back what was written; the disk's room is given back; a full disk is told."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import GasangError, OutOfSpaceError, PermissionDeniedError
from gasang.images.spool import SMALL, Spool, out_of_space


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_slices_read_back(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    with Spool(tmp_path_factory.getbasetemp()) as spool:
        starts = [spool.append(part) for part in parts]
        assert starts == [len(b"".join(parts[:number])) for number in range(len(parts))]
        start = data.draw(st.integers(0, len(whole)))
        size = data.draw(st.integers(0, len(whole) - start))
        with spool.source(start, size)() as stream:
            assert stream.read() == whole[start : start + size]


def test_large_slices_are_streams_of_their_own(tmp_path: Path) -> None:
    data = os.urandom(SMALL + 5000)
    with Spool(tmp_path) as spool:
        spool.append(b"before" + data + b"after")
        with spool.open(6, len(data)) as one, spool.open(6, len(data)) as other:
            assert other.read(10) == data[:10]
            assert one.read() == data
            assert one.read() == b""
            one.seek(-5, os.SEEK_END)
            assert one.read() == data[-5:]
            one.seek(3)
            one.seek(4, os.SEEK_CUR)
            assert one.read(2) == data[7:9]


def test_nothing_stays(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append(b"data")
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="closed"):
        spool.append(b"more")


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: memoryview, position: int) -> int:
        if position < 4:
            return min(4, len(data))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with Spool(tmp_path) as spool:
        spool.append(b"1234")
        with pytest.raises(OutOfSpaceError, match=f"directory {tmp_path}: no space is left"):
            spool.append(b"56")


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, OutOfSpaceError), (errno.EDQUOT, OutOfSpaceError), (errno.EROFS, PermissionDeniedError), (errno.EIO, GasangError)],
)
def test_each_failure_has_its_kind(tmp_path: Path, number: int, kind: type[GasangError]) -> None:
    assert type(out_of_space(OSError(number, "x"), tmp_path)) is kind
