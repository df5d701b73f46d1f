"""Copying and comparing disks."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gasang.core.errors import StateError, UnsupportedError
from gasang.storage.images.conversion import aligned, convert, difference, pieces
from gasang.storage.images.table import FORMATS, create_image, open_image
from storage.images.judge import needs_qemu_img, qemu_img, same_for_qemu

SIZE = (6 << 20) + 512


def source(path: Path) -> bytes:
    model = bytearray(SIZE)
    rng = random.Random(4)
    for at in (100, 3 << 20, SIZE - 70_000):
        model[at : at + 70_000] = rng.randbytes(70_000)
    path.write_bytes(model)
    return bytes(model)


@pytest.mark.parametrize("form", FORMATS)
def test_there_and_back(form: str, tmp_path: Path) -> None:
    model = source(tmp_path / "source.img")
    one = open_image(tmp_path / "source.img", read_only=True, form="raw")
    told: list[int] = []
    other = create_image(tmp_path / f"disk.{form}", form, SIZE)
    convert(one, other, told=told.append)
    assert sum(told) == SIZE
    assert difference(one, other) is None
    other.close()
    other = open_image(tmp_path / f"disk.{form}", read_only=False, form=form)
    assert other.read(0, SIZE) == model
    other.write(5 << 20, b"!")
    assert difference(one, other) == difference(other, one) == 5 << 20
    other.close()
    one.close()


@needs_qemu_img
def test_a_vmdk_for_transport(tmp_path: Path) -> None:
    model = source(tmp_path / "source.img")
    one = open_image(tmp_path / "source.img", read_only=True, form="raw")
    for compress in (False, True):
        path = tmp_path / f"disk{compress}.vmdk"
        other = create_image(path, "vmdk", SIZE, {"subformat": "streamOptimized"})
        convert(one, other, compress=compress)
        with pytest.raises(StateError):
            other.write(0, bytes(65536))
        other.close()
        same_for_qemu(path, "vmdk", model)
        qemu_img("check", "-f", "vmdk", path)
        back = open_image(path, read_only=False)
        assert back.read(0, SIZE) == model
        assert back.read_only
        back.close()
    one.close()


def test_only_some_formats_compress(tmp_path: Path) -> None:
    source(tmp_path / "source.img")
    one = open_image(tmp_path / "source.img", read_only=True, form="raw")
    other = create_image(tmp_path / "disk.vdi", "vdi", SIZE)
    with pytest.raises(UnsupportedError):
        convert(one, other, compress=True)
    other.close()
    one.close()


def test_disks_of_two_sizes(tmp_path: Path) -> None:
    small, large = create_image(tmp_path / "small", "raw", 512), create_image(tmp_path / "large", "raw", SIZE)
    assert difference(small, large) is None
    large.write(1000, b"x")
    assert difference(small, large) == difference(large, small) == 1000
    small.close()
    large.close()


def test_runs() -> None:
    assert list(aligned([(5, 10), (70, 20), (100, 1)], 64, 110)) == [(0, 110)]
    assert list(aligned([(5, 10), (200, 20)], 64, 256)) == [(0, 64), (192, 64)]
    assert list(pieces([(5, 10), (30, 2)], 8)) == [(5, 3), (8, 7), (30, 2)]
