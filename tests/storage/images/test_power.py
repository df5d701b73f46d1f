"""The power goes: after any prefix of the writes, in any order between two flushes, an image is sound and has what was flushed."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from gasang.storage.images import parallels, raw, vdi, vhd, vhdx, vmdk_sparse
from gasang.storage.images.image import Image
from gasang.storage.images.qcow2 import files as qcow2
from gasang.storage.images.qcow2 import snapshots
from gasang.storage.images.store import Store, Volatile
from gasang.storage.memory import Memory
from storage.images.power import SIZE, Act, Recording, goes_anywhere, survivors

BELOW = {"cluster_size": "4K", "backing_file": "below", "backing_fmt": "raw"}


def below() -> Memory:
    """What a layer stands on."""
    return Memory(content=bytes(SIZE))


def raw_of(store: Store) -> Image:
    """A raw disk of zeroes."""
    store.truncate(SIZE)
    return raw.load(store)


KINDS: dict[str, tuple[Callable[[Store], Image], Callable[[Store], Image]]] = {
    "qcow2": (lambda store: qcow2.make(store, SIZE, {"cluster_size": "4K"}), qcow2.load),
    "qcow2 small": (lambda store: qcow2.make(store, SIZE, {"cluster_size": "512", "refcount_bits": "64"}), qcow2.load),
    "qcow2 extended": (lambda store: qcow2.make(store, SIZE, {"cluster_size": "16K", "extended_l2": "on"}), qcow2.load),
    "qcow2 layer": (lambda store: qcow2.make(store, SIZE, BELOW, below()), lambda store: qcow2.load(store, lambda head: below())),
    "raw": (lambda store: raw_of(store), raw.load),
    "vdi": (lambda store: vdi.make_image(store, SIZE, {}), vdi.load),
    "vdi static": (lambda store: vdi.make_image(store, SIZE, {"subformat": "static"}), vdi.load),
    "vhd": (lambda store: vhd.make_image(store, SIZE, {}), vhd.load_alone),
    "vhd fixed": (lambda store: vhd.make_image(store, SIZE, {"subformat": "fixed"}), vhd.load_alone),
    "vhdx": (lambda store: vhdx.make_image(store, SIZE, {"block_size": "1M"}), vhdx.load),
    "vhdx fixed": (lambda store: vhdx.make_image(store, SIZE, {"block_size": "1M", "subformat": "fixed"}), vhdx.load),
    "parallels": (lambda store: parallels.make_image(store, SIZE, {}), parallels.load),
    "vmdk": (lambda store: vmdk_sparse.make_extent(store, SIZE, b"", compressed=False), vmdk_sparse.load),
}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_was_flushed_is_lost(kind: str) -> None:
    make, load = KINDS[kind]
    first = Volatile()
    make(first).close()
    assert goes_anywhere(kind, {"": bytes(first.content)}, lambda stores: load(stores[""])) > 50


def left_of(start: bytes, acts: list[Act], cut: int, rng: random.Random) -> Store:
    """What an image's only file may hold."""
    return survivors({"": start}, acts, cut, rng)[""]


def test_snapshots_are_mended_when_the_image_is_opened() -> None:
    first = Volatile()
    disk = qcow2.make(first, SIZE, {"cluster_size": "4K"})
    rng = random.Random(3)
    content = rng.randbytes(SIZE)
    disk.write(0, content)
    disk.close()
    start = bytes(first.content)
    acts: list[Act] = []
    store = Recording(start, acts)
    disk = qcow2.load(store)
    snapshots.create(disk, "one")
    snapshots.create(disk, "two")
    snapshots.delete(disk, "one")
    snapshots.apply(disk, "two")
    disk.close()
    for _ in range(60):
        left = qcow2.load(left_of(start, acts, rng.randrange(len(acts) + 1), rng))
        report = left.check()
        assert not report.error_count, report.errors
        assert left.read(0, SIZE) == content


def test_another_size_has_been_given_or_not() -> None:
    first = Volatile()
    disk = qcow2.make(first, SIZE, {"cluster_size": "512"})  # its level 1 table grows too
    rng = random.Random(5)
    content = rng.randbytes(SIZE)
    disk.write(0, content)
    disk.close()
    start = bytes(first.content)
    acts: list[Act] = []
    store = Recording(start, acts)
    disk = qcow2.load(store)
    disk.resize(SIZE * 4)
    disk.write(SIZE * 3, b"behind")
    disk.close()
    sizes = set()
    for cut in range(len(acts) + 1):
        left = qcow2.load(left_of(start, acts, cut, rng))
        assert not left.check().error_count
        assert left.read(0, SIZE) == content
        sizes.add(left.size)
    assert sizes == {SIZE, SIZE * 4}
