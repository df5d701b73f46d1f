"""Raw disks: locks, kinds of file, holes, failures of the host."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, NotFoundError, PermissionDeniedError, StateError
from gasang.host import files
from gasang.storage.formats import open_disk
from gasang.storage.raw import Raw

SIZE = 1 << 20


def test_two_writers_are_refused_and_readers_share(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(SIZE))
    writer = Raw.open(path)
    for read_only in (True, False):
        with pytest.raises(StateError, match="another machine"):
            Raw.open(path, read_only=read_only)
    writer.close()
    readers = [Raw.open(path, read_only=True) for _ in range(2)]
    with pytest.raises(StateError):
        Raw.open(path)
    for reader in readers:
        reader.close()
    Raw.open(path).close()


def test_what_is_no_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        Raw.open(tmp_path / "absent")
    for content in (b"", b"x" * 100):
        (tmp_path / "odd").write_bytes(content)
        with pytest.raises(BadInputError, match="sectors"):
            Raw.open(tmp_path / "odd")
    for read_only in (True, False):
        with pytest.raises(BadInputError):
            Raw.open(tmp_path, read_only=read_only)
    with pytest.raises(BadInputError):
        Raw.open(tmp_path / "odd" / "below")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this host has no fifos")
def test_a_fifo_is_no_disk(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for read_only in (False, True):
        with pytest.raises(BadInputError, match="no file with a size"):
            Raw.open(tmp_path / "fifo", read_only=read_only)
        with pytest.raises(BadInputError, match="no file with a size"):
            open_disk(tmp_path / "fifo", read_only=read_only)


def test_what_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").write_bytes(bytes(SIZE))

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("gasang.storage.raw.open_file", refuse)
    with pytest.raises(PermissionDeniedError, match="change its permissions"):
        Raw.open(tmp_path / "disk")


def test_read_only_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"x" * SIZE)
    disk = Raw.open(path, read_only=True)
    with pytest.raises(OSError, match="reading only"):
        disk.write(0, b"y")
    with pytest.raises(OSError, match="reading only"):
        disk.write_zeroes(0, 512)
    with pytest.raises(OSError, match="reading only"):
        disk.discard(0, 512)
    disk.flush()
    disk.close()
    assert path.read_bytes() == b"x" * SIZE


def test_discard_gives_space_back(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"x" * SIZE)
    os.sync()
    before = path.stat().st_blocks
    disk = Raw.open(path)
    disk.discard(0, SIZE)
    punched = disk.read(0, SIZE) == bytes(SIZE)
    disk.close()
    if not punched:
        pytest.skip("this host's file system punches no holes")
    assert path.stat().st_blocks < before
    assert path.stat().st_size == SIZE


def test_a_host_that_punches_no_holes_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"x" * SIZE)
    asked = []

    def refuse(*arguments: int) -> None:
        asked.append(arguments)
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("gasang.storage.raw.punch_hole", refuse)
    disk = Raw.open(path)
    disk.discard(0, 4096)
    disk.write_zeroes(4096, SIZE - 4096)
    disk.discard(0, 4096)
    assert len(asked) == 1
    assert disk.read(0, SIZE) == b"x" * 4096 + bytes(SIZE - 4096)
    disk.close()


def test_a_disk_that_shrinks_underneath(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(SIZE))
    disk = Raw.open(path)
    os.truncate(path, 4096)
    with pytest.raises(OSError, match="ends early"):
        disk.read(0, SIZE)
    disk.close()


def test_large_reads_are_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(SIZE))
    calls = []
    real = files.read_some

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        calls.append(length)
        return real(descriptor, length, offset)

    monkeypatch.setattr(files, "read_some", counted)
    disk = Raw.open(path)
    disk.read(0, SIZE)
    disk.close()
    assert calls == [SIZE]
