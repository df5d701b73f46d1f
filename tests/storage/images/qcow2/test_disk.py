"""qcow2 in all its variants: random use beside a model, judged by qemu-img; checking and mending; snapshots; other sizes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, NotFoundError, StateError
from gasang.storage.images.conversion import convert
from gasang.storage.images.image import Options
from gasang.storage.images.qcow2 import entries, header, snapshots
from gasang.storage.images.qcow2.files import load, make, open_file
from gasang.storage.images.qcow2.refcounts import pack, unpack
from gasang.storage.images.references import Trust
from gasang.storage.images.store import File, Volatile
from gasang.storage.images.table import create_image, open_image
from storage.images.judge import needs_qemu_img, qemu_img, same_for_qemu, scribble

SIZE = (2 << 20) + 512
VARIANTS: list[Options] = [
    {},
    {"compat": "0.10"},
    {"cluster_size": "512", "refcount_bits": "32"},
    {"cluster_size": "2M", "refcount_bits": "64"},
    {"cluster_size": "4K", "refcount_bits": "1"},
    {"cluster_size": "4K", "refcount_bits": "2"},
    {"cluster_size": "1K", "refcount_bits": "8"},
    {"cluster_size": "4K", "refcount_bits": "4", "lazy_refcounts": "on"},
    {"extended_l2": "on"},
    {"extended_l2": "on", "cluster_size": "16K", "compression_type": "zstd"},
]


@needs_qemu_img
@pytest.mark.parametrize("options", VARIANTS)
def test_random_use_with_snapshots(options: Options, tmp_path: Path) -> None:
    rng = random.Random(str(options))
    path = tmp_path / "disk.qcow2"
    disk, model = make(File.made_new(path), SIZE, options), bytearray(SIZE)
    kept: dict[str, bytes] = {}
    for number in range(6):
        scribble(disk, model, rng, 10)
        if options.get("refcount_bits") in ("1", "2"):
            continue
        if number in (0, 2):
            snapshots.create(disk, f"s{number}")
            kept[f"s{number}"] = bytes(model)
        elif number == 3:
            snapshots.apply(disk, "s0")
            model[:] = kept["s0"]
        elif number == 4:
            snapshots.delete(disk, "s0")
            del kept["s0"]
    disk.close()
    disk = open_file(path, read_only=True, trust=Trust())
    report = disk.check()
    assert (report.error_count, report.leaks) == (0, 0), report
    disk.close()
    qemu_img("check", path)
    same_for_qemu(path, "qcow2", model)
    for name, content in kept.items():
        disk = open_file(path, read_only=True, trust=Trust())
        snapshots.view(disk, name)
        assert disk.read(0, SIZE) == content
        disk.close()
        qemu_img("snapshot", "-a", name, path)
        same_for_qemu(path, "qcow2", content)
        qemu_img("check", path)


Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(st.sampled_from(("write", "discard", "flush", "reopen")), st.integers(0, 1 << 17), st.integers(1, 1 << 15)), max_size=25
)


@settings(max_examples=40, deadline=None)
@given(steps, st.sampled_from(({"cluster_size": "512"}, {"cluster_size": "4K"}, {"cluster_size": "16K", "extended_l2": "on"})))
def test_any_sequence_is_what_a_model_says(sequence: list[Step], options: Options) -> None:
    store = Volatile()
    disk, model = make(store, 1 << 17, options), bytearray(1 << 17)
    for number, (act, at, length) in enumerate(sequence):
        at = min(at, len(model) - 1)
        length = min(length, len(model) - at)
        if act == "write":
            data = bytes((number + 1,)) * length
            disk.write(at, data)
            model[at : at + length] = data
        elif act == "discard":
            disk.discard(at, length)
            model[at : at + length] = bytes(length)
        elif act == "flush":
            disk.flush()
        else:
            disk.close()
            disk = load(store)
    assert disk.read(0, len(model)) == model
    disk.close()
    report = load(store).check()
    assert (report.error_count, report.leaks) == (0, 0), report


def test_leaks_and_errors_are_found_and_mended() -> None:
    store = Volatile()
    disk = make(store, SIZE, {"cluster_size": "4K"})
    disk.write(0, b"data" * 4096)
    disk.close()
    disk = load(store)
    block = disk.refcounts.table[0]
    used = disk.l1[0] & entries.OFFSET
    store.write(block + 2 * (used >> 12), bytes(2))  # the level 2 table counted as free
    store.write(block + 2 * 200, b"\0\1")  # a leak
    store.truncate(201 << 12)
    broken = load(store)
    report = broken.check()
    assert report.leaks == 1
    assert report.error_count >= 1
    broken.check(repair=True)
    broken.close()
    report = load(store).check()
    assert (report.error_count, report.leaks) == (0, 0)
    assert load(store).read(0, 16384) == b"data" * 4096


@needs_qemu_img
def test_a_dirty_image_is_mended_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", path, "4M")
    disk = open_image(path, read_only=False)
    disk.write(0, b"x" * 100_000)
    disk.close()
    with path.open("r+b") as file:
        file.seek(79)
        file.write(b"\1")  # the dirty bit
    disk = open_image(path, read_only=False)
    assert disk.about()["dirty"] is False
    disk.close()
    qemu_img("check", path)
    with path.open("r+b") as file:
        file.seek(79)
        file.write(b"\2")  # the corrupt bit
    with pytest.raises(StateError, match="corrupt"):
        open_image(path, read_only=False)
    disk = open_file(path, read_only=False, trust=Trust(), corrupt=True)
    disk.check(repair=True)
    disk.close()
    open_image(path, read_only=False).close()


def test_snapshots_that_are_not_possible() -> None:
    disk = make(Volatile(), SIZE, {"refcount_bits": "1"})
    with pytest.raises(StateError, match="one bit"):
        snapshots.create(disk, "x")
    disk = make(Volatile(), SIZE, {"refcount_bits": "2", "cluster_size": "4K"})
    disk.write(0, b"data")
    snapshots.create(disk, "a")
    snapshots.create(disk, "b")
    with pytest.raises(StateError, match="2 bits"):
        snapshots.create(disk, "c")
    with pytest.raises(StateError, match="of that name"):
        snapshots.create(disk, "a")
    with pytest.raises(NotFoundError):
        snapshots.apply(disk, "z")
    assert disk.check().error_count == 0
    with pytest.raises(BadInputError):
        snapshots.parse(bytes(10), 1, 0, "x")


@needs_qemu_img
@pytest.mark.parametrize("options", [{"cluster_size": "512"}, {}, {"extended_l2": "on"}])
def test_other_sizes(options: Options, tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    disk = make(File.made_new(path), 1 << 20, options)
    model = bytearray(b"data" * (1 << 18))
    disk.write(0, model)
    disk.resize(5 << 20)
    model.extend(bytes(4 << 20))
    disk.write((5 << 20) - 4, b"tail")
    model[-4:] = b"tail"
    assert disk.read(0, 5 << 20) == model
    disk.resize(700 << 10)
    disk.resize(2 << 20)
    del model[700 << 10 :]
    model.extend(bytes((2 << 20) - len(model)))
    assert disk.read(0, 2 << 20) == model
    assert disk.check().error_count == 0
    disk.close()
    qemu_img("check", path)
    same_for_qemu(path, "qcow2", model)


def test_a_longer_base_does_not_appear_when_the_disk_grows(tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(b"base" * (1 << 18))
    disk = create_image(tmp_path / "top.qcow2", "qcow2", 512 << 10, {"backing_file": "base", "backing_fmt": "raw"})
    assert isinstance(disk, type(make(Volatile(), 512, {})))
    disk.resize(2 << 20)
    assert disk.read((512 << 10) - 4, 8) == b"base" + bytes(4)
    assert disk.read(1 << 20, 8) == bytes(8)
    disk.close()


@needs_qemu_img
@pytest.mark.parametrize("kind", ["zlib", "zstd"])
def test_compressed_images_go_both_ways(kind: str, tmp_path: Path) -> None:
    source = create_image(tmp_path / "source.img", "raw", SIZE)
    source.write(0, b"some text that compresses " * 60_000)
    source.write(1 << 20, random.Random(1).randbytes(300_000))
    small = create_image(tmp_path / "small.qcow2", "qcow2", SIZE, {"compression_type": kind})
    convert(source, small, compress=True)
    small.close()
    model = source.read(0, SIZE)
    qemu_img("check", tmp_path / "small.qcow2")
    same_for_qemu(tmp_path / "small.qcow2", "qcow2", model)
    assert (tmp_path / "small.qcow2").stat().st_blocks * 512 < 1 << 20
    qemu_img("convert", "-c", "-O", "qcow2", "-o", f"compression_type={kind}", tmp_path / "source.img", tmp_path / "theirs.qcow2")
    theirs = open_image(tmp_path / "theirs.qcow2", read_only=True)
    assert theirs.read(0, SIZE) == model
    theirs.close()
    source.close()


@pytest.mark.parametrize("order", range(7))
def test_counts_of_every_width(order: int) -> None:
    data = random.Random(order).randbytes(512)
    assert pack(unpack(data, order), order) == data


def test_narrow_counts_begin_at_the_low_bits() -> None:
    assert unpack(b"\x01\x80", 0).tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert unpack(b"\x21", 2).tolist() == [1, 2]


@given(st.integers(0, (1 << 40) - 1), st.integers(1, 1 << 16))
def test_compressed_entries(offset: int, length: int) -> None:
    place, span = entries.compressed_place(entries.compressed_entry(offset, length, 16) & ~entries.COPIED, 16)
    assert place == offset
    assert length <= span < length + 512


def test_a_header_is_what_it_was() -> None:
    head = header.Header(size=SIZE, l1_size=1, l1_offset=65536, table_offset=131072, table_clusters=1)
    head.backing, head.backing_format = "base", "raw"
    head.extensions = [(0x6803F857, b"names")]
    assert vars(header.parse(header.make(head).ljust(4096, b"\0"), "x", 1 << 20)) == vars(head)
