"""A user's disk as a machine's: raw as ever, images of other formats, and what is wrong with them told as the host's errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, NotFoundError, UnsupportedError, UsageError
from gasang.storage.formats import open_disk
from gasang.storage.images.table import create_image
from gasang.storage.raw import Raw

SIZE = 4096


def test_a_raw_disk_is_taken_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"\xeb\x63\x90" + bytes(SIZE - 3))
    for form in ("", "raw"):
        disk = open_disk(tmp_path / "disk", form=form)
        assert isinstance(disk, Raw)
        assert disk.size == SIZE
        disk.close()


def test_a_raw_disk_that_looks_foreign_is_raw_if_the_user_insists(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"\x1f\x8b".ljust(SIZE, b"\0"))
    with pytest.raises(UnsupportedError, match="gzip"):
        open_disk(tmp_path / "disk")
    disk = open_disk(tmp_path / "disk", form="raw")
    assert disk.read(0, 2) == b"\x1f\x8b"
    disk.close()


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        open_disk(tmp_path / "absent")
    with pytest.raises(BadInputError):
        open_disk(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInputError):
        open_disk(tmp_path / "file" / "below")
    with pytest.raises(UsageError, match="known are: qcow2"):
        open_disk(tmp_path / "file", form="qcow9")


def test_read_only_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(SIZE))
    create_image(tmp_path / "disk.qcow2", "qcow2", SIZE).close()
    for name in ("disk", "disk.qcow2"):
        disks = [open_disk(tmp_path / name, read_only=True) for _ in range(2)]
        with pytest.raises(OSError, match="reading only"):
            disks[0].write(0, b"x")
        for disk in disks:
            disk.close()


def test_an_image_is_a_disk(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    create_image(path, "qcow2", 1 << 20).close()
    disk = open_disk(path)
    disk.write(5, b"hello")
    disk.flush()
    disk.discard(8, 1)
    disk.close()
    disk = open_disk(path, form="qcow2")
    assert (disk.size, disk.read(5, 5)) == (1 << 20, b"hel\0o")
    disk.close()


def test_damage_is_an_error_of_one_transfer(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    disk = create_image(path, "qcow2", 1 << 20)
    disk.write(0, b"x")
    disk.close()
    data = bytearray(path.read_bytes())
    at = int.from_bytes(data[40:48], "big")
    data[at : at + 8] = (1 << 40).to_bytes(8, "big")
    path.write_bytes(data)
    damaged = open_disk(path, read_only=True)
    with pytest.raises(OSError, match="outside the file"):
        damaged.read(0, 512)
    damaged.close()
