"""Sparse disks: copies keep holes, packing and unpacking are inverse, hostile packed disks leave nothing behind."""

from __future__ import annotations

import errno
import io
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, GasangError, NotFoundError, OutOfSpaceError, PermissionDeniedError
from gasang.storage.sparse import Progress, copy_sparse, pack, unpack

MIB = 1 << 20
MAGIC = b"gasang disk\0\0\0\0\1"

pieces = st.lists(st.tuples(st.integers(0, 3 * MIB), st.integers(1, 200_000), st.booleans()), max_size=6)


def make(path: Path, pieces: list[tuple[int, int, bool]], size: int) -> bytes:
    """A sparse file with random (True) or explicitly zero (False) content at some places; its content."""
    rng = random.Random(7)
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, length, filled in pieces:
            length = min(length, size - offset)
            if length > 0:
                file.seek(offset)
                file.write(rng.randbytes(length) if filled else bytes(length))
    return path.read_bytes()


def packed(content: bytes, path: Path) -> bytes:
    path.write_bytes(content)
    out = io.BytesIO()
    pack(path, out)
    return out.getvalue()


@settings(max_examples=30, deadline=None)
@given(pieces=pieces, size=st.integers(0, 3 * MIB))
def test_copies_and_packed_disks_are_the_same_disk(tmp_path_factory: pytest.TempPathFactory, pieces: Any, size: int) -> None:
    folder = tmp_path_factory.mktemp("disk")
    content = make(folder / "disk", pieces, size)
    copy_sparse(folder / "disk", folder / "copy")
    assert (folder / "copy").read_bytes() == content
    out = io.BytesIO()
    pack(folder / "disk", out)
    unpack(io.BytesIO(out.getvalue()), folder / "back")
    assert (folder / "back").read_bytes() == content
    assert packed(content, folder / "dense") == out.getvalue()  # holes or zeroes: no difference
    assert len(list(folder.iterdir())) == 4


def test_holes_stay_and_zeroes_become_holes(tmp_path: Path) -> None:
    content = make(tmp_path / "disk", [(0, 100, True), (10 * MIB, 4 * MIB, False), (20 * MIB, 65536, True)], 64 * MIB)
    copy_sparse(tmp_path / "disk", tmp_path / "copy")
    unpack(io.BytesIO(packed(content, tmp_path / "dense")), tmp_path / "back")
    for name in ("copy", "back"):
        assert (tmp_path / name).stat().st_blocks * 512 <= MIB
        assert (tmp_path / name).stat().st_size == 64 * MIB


def test_where_holes_are_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "SEEK_DATA")
    content = make(tmp_path / "disk", [(MIB + 5, 100_000, True)], 8 * MIB + 3)
    copy_sparse(tmp_path / "disk", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert (tmp_path / "copy").stat().st_blocks * 512 <= MIB


def _recorder(seen: list[tuple[int, int]]) -> Progress:
    return lambda done, size: seen.append((done, size))


def test_progress_ends_at_the_end(tmp_path: Path) -> None:
    make(tmp_path / "disk", [(MIB, MIB, True)], 4 * MIB)
    out = io.BytesIO()
    runs: list[Callable[[Progress], None]] = [
        lambda tell: copy_sparse(tmp_path / "disk", tmp_path / "copy", tell),
        lambda tell: pack(tmp_path / "disk", out, tell),
        lambda tell: unpack(io.BytesIO(out.getvalue()), tmp_path / "back", tell),
    ]
    for run in runs:
        seen: list[tuple[int, int]] = []
        run(_recorder(seen))
        assert seen == sorted(seen)
        assert seen[-1] == (4 * MIB, 4 * MIB)
        assert len(seen) > 1


def hostile(
    *runs: tuple[int, int, bytes], size: int = MIB, end: bytes | None = None, magic: bytes = MAGIC, total: int | None = None
) -> bytes:
    raw = magic + struct.pack("<Q", size)
    for offset, length, data in runs:
        raw += struct.pack("<QQ", offset, length) + data
    raw += struct.pack("<QQ", size, 0) if end is None else end
    raw += struct.pack("<I", zlib.crc32(raw) if total is None else total)
    return zstandard.ZstdCompressor().compress(raw)


@pytest.mark.parametrize(
    ("stream", "cause"),
    [
        (b"", "ends early"),
        (b"not compressed at all", "damaged"),
        (zstandard.ZstdCompressor().compress(b"another file"), "ends early"),
        (hostile(magic=b"gasang disk\0\0\0\0\2"), "no packed disk"),
        (hostile(size=1 << 63), "more than"),
        (hostile(size=(1 << 64) - 1), "more than"),
        (hostile((MIB, 1, b"x")), "cannot be"),
        (hostile((MIB - 1, 2, b"xx")), "cannot be"),
        (hostile(((1 << 64) - 1, 1, b"x")), "cannot be"),
        (hostile((0, (1 << 64) - 1, b"x")), "cannot be"),
        (hostile((5, 0, b"")), "cannot be"),
        (hostile((10, 5, b"12345"), (14, 5, b"12345")), "cannot be"),
        (hostile((10, 5, b"12345"), (0, 5, b"12345")), "cannot be"),
        (hostile((10, 5, b"1")), "cannot be"),
        (hostile((10, 100_000, b"1")), "ends early"),
        (hostile(end=b""), "ends early"),
        (hostile(total=1), "checksum"),
        (hostile() + b"trailing garbage", "foreign"),
        (hostile() + zstandard.ZstdCompressor().compress(b"more"), "foreign"),
        (hostile()[:-1], "ends early|damaged"),
    ],
)
def test_hostile_streams(stream: bytes, cause: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=cause):
        unpack(io.BytesIO(stream), tmp_path / "disk")
    assert list(tmp_path.iterdir()) == []


def test_the_limit_is_the_callers(tmp_path: Path) -> None:
    stream = hostile(size=2 * MIB)
    with pytest.raises(BadInputError, match="more than the 1048576 allowed"):
        unpack(io.BytesIO(stream), tmp_path / "disk", limit=MIB)
    unpack(io.BytesIO(stream), tmp_path / "disk", limit=2 * MIB)


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, 1 << 20), value=st.integers(0, 255), cut=st.booleans())
def test_damage_is_found(tmp_path_factory: pytest.TempPathFactory, at: int, value: int, cut: bool) -> None:
    folder = tmp_path_factory.mktemp("damage")
    content = random.Random(3).randbytes(3000) + bytes(200_000) + b"text " * 1000
    good = packed(content, folder / "disk")
    at %= len(good)
    bad = good[:at] if cut else good[:at] + bytes([value]) + good[at + 1 :]
    try:
        unpack(io.BytesIO(bad), folder / "back")
    except GasangError:
        assert [p.name for p in folder.iterdir()] == ["disk"]
    else:
        assert (folder / "back").read_bytes() == content  # the byte did not matter, or was the same


def test_sources_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError):
        copy_sparse(tmp_path / "absent", tmp_path / "copy")
    with pytest.raises(BadInputError):
        pack(tmp_path, io.BytesIO())
    (tmp_path / "disk").write_bytes(b"x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionDeniedError):
        pack(tmp_path / "disk", io.BytesIO())
    assert [p.name for p in tmp_path.iterdir()] == ["disk"]


def test_a_full_host(tmp_path: Path) -> None:
    class Full(io.RawIOBase):
        def readinto(self, buffer: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def readable(self) -> bool:
            return True

    with pytest.raises(OutOfSpaceError):
        unpack(Full(), tmp_path / "disk")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_shrinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "disk", [(0, MIB, True)], MIB)
    monkeypatch.setattr("gasang.storage.sparse._size", lambda file: 2 * MIB)
    monkeypatch.setattr("gasang.storage.sparse.data_runs", lambda descriptor, size: iter([(0, size)]))
    with pytest.raises(OSError, match="shorter"):
        copy_sparse(tmp_path / "disk", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
