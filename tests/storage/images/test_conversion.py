"""Copying and comparing disks."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from gasang.core.errors import StateError, UnsupportedError
from gasang.storage.images.ahead import ahead
from gasang.storage.images.conversion import aligned, convert, difference, pieces
from gasang.storage.images.stretch import Located
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


def refused(*_: object) -> int:
    raise OSError(errno.EXDEV, "another file system")


def some(source: int, target: int, count: int, place: int, offset: int) -> int:
    """A host that copies a little, then says that the source has ended."""
    return os.pwrite(target, os.pread(source, min(count, 5000), place), offset) if place % 4096 == 0 else 0


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="needs copy_file_range")
@pytest.mark.parametrize(
    ("form", "host"),
    [
        *((form, None) for form in ("raw", "qcow2", "vmdk", "vdi", "vhdx", "vhd")),
        *((form, host) for form in ("raw", "vhd") for host in (refused, some)),
    ],
)
def test_what_the_host_copies_is_what_is_read(form: str, host: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into qcow2 of large and of small clusters, and back; grains that begin with zeroes, holes of the file, an end within a grain."""
    if host is not None:
        monkeypatch.setattr(os, "copy_file_range", host)
    model = bytearray(SIZE)
    rng = random.Random(form)
    for at in (100, 65_536 + 65_000, 1 << 20, (2 << 20) + 4096, 3 << 20, SIZE - 70_000):
        model[at : at + 70_000] = rng.randbytes(70_000)
    first = create_image(tmp_path / "first", form, SIZE)
    for at in range(0, SIZE, 100_001):
        if any(part := model[at : at + 100_001]):
            first.write(at, bytes(part))
    first.close()
    names = {
        "first": (form, {}),
        "large": ("qcow2", {"cluster_size": "2M"}),
        "small": ("qcow2", {"cluster_size": "512"}),
        "last": (form, {}),
    }
    order = list(names)
    for before, after in pairwise(order):
        source_image = open_image(tmp_path / before, read_only=True, form=names[before][0])
        target = create_image(tmp_path / after, names[after][0], SIZE, names[after][1])
        convert(source_image, target)
        source_image.close()
        target.close()
        made = open_image(tmp_path / after, read_only=True, form=names[after][0])
        assert made.read(0, SIZE) == model, after
        assert not made.check().errors, after
        if after == "last" and form in ("raw", "qcow2", "vmdk"):
            assert sum(length for _, length in made.data()) < SIZE // 2, "zeroes are not written"
        made.close()


def test_a_chain_of_images_is_copied_as_one(tmp_path: Path) -> None:
    model = bytearray(source(tmp_path / "base.img"))
    below = {"backing_file": "base.img", "backing_fmt": "raw"}
    top = create_image(tmp_path / "top.qcow2", "qcow2", SIZE + (1 << 20), below)
    top.write(3 << 20, b"upper" * 20_000)
    model[3 << 20 : (3 << 20) + 100_000] = b"upper" * 20_000
    top.discard(0, 65536)
    model[:65536] = bytes(65536)
    top.close()
    one = open_image(tmp_path / "top.qcow2", read_only=True, form="qcow2")
    other = create_image(tmp_path / "flat.img", "raw", one.size)
    convert(one, other)
    assert other.read(0, one.size) == bytes(model).ljust(one.size, b"\0")
    one.close()
    other.close()


def test_what_is_had_ahead_ends_with_who_asks_and_raises_for_them() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number
        raise OSError(errno.EIO, "the host fails")

    asked = ahead(numbers(), 3)
    assert [next(asked), next(asked)] == [0, 1]
    asked.close()  # type: ignore[attr-defined]
    assert len(taken) < 10
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]
    taken.clear()
    got: list[int] = []
    with pytest.raises(OSError, match="the host fails"):
        got.extend(ahead(numbers(), 3))
    assert got == taken == list(range(100))


def test_what_lies_across_pages_is_copied(tmp_path: Path) -> None:
    """Blocks of VHD begin behind a sector of their own, so nothing in them lies as it would in another image."""
    size = 24 << 20
    rng = random.Random(11)
    model = bytearray(size)
    for at in range(0, size, 3 << 20):
        model[at : at + (1 << 20) + 700] = rng.randbytes((1 << 20) + 700)
    model[5 << 20 : 15 << 20] = rng.randbytes(10 << 20)
    with closing(create_image(tmp_path / "disk.vhd", "vhd", size)) as made:
        for at in range(0, size, 1 << 18):
            if any(model[at : at + (1 << 18)]):
                made.write(at, bytes(model[at : at + (1 << 18)]))
    one = open_image(tmp_path / "disk.vhd", read_only=True, form="vhd")
    assert isinstance(one, Located)
    [(stretch, _), *_] = one.stretches(0, 4096)
    assert stretch is not None
    assert stretch.place % 4096
    for form in ("qcow2", "raw"):
        with closing(create_image(tmp_path / f"disk.{form}", form, one.size)) as other:
            convert(one, other)
        with closing(open_image(tmp_path / f"disk.{form}", read_only=True, form=form)) as other:
            assert other.read(0, size) == model
            assert sum(length for _, length in other.data()) < size * 3 // 4, "zeroes are not written"
    one.close()
