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

SIZE = 3 << 20
SECTOR = 512
Act = tuple[str, int, bytes]


class Recording(Volatile):
    """Keeps what was done to it, and the marks put between."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.acts: list[Act] = []

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.acts.append(("write", offset, bytes(data)))
        super().write(offset, data)

    def truncate(self, size: int) -> None:
        self.acts.append(("size", size, b""))
        super().truncate(size)

    def punch(self, offset: int, length: int) -> bool:
        self.acts.append(("write", offset, bytes(length)))
        return super().punch(offset, length)

    def flush(self) -> None:
        self.acts.append(("flush", 0, b""))


def survivors(start: bytes, acts: list[Act], cut: int, rng: random.Random) -> Volatile:
    """What a disk may hold when the power goes after `cut` acts: all before the last flush, of the rest some sectors, in any order."""
    store = Volatile(start)
    last = max((number for number, act in enumerate(acts[:cut]) if act[0] == "flush"), default=0)
    for number, (kind, at, data) in enumerate(acts[:cut]):
        if kind == "size":
            if number < last or rng.random() < 0.5:
                store.truncate(at)
        elif kind == "write" and (number < last or rng.random() < 0.5):
            if number < last:
                store.write(at, data)
                continue
            for begin in range(0, len(data), SECTOR):
                if rng.random() < 0.7:
                    store.write(at + begin, data[begin : begin + SECTOR])
    return store


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
    rng = random.Random(kind)
    store = Recording(bytes(first.content))
    start = bytes(store.content)
    disk = load(store)
    model = bytearray(SIZE)
    flushed: list[tuple[int, bytes, set[int]]] = [(0, bytes(SIZE), set())]
    since: set[int] = set()
    for _ in range(60):
        at = rng.randrange(SIZE)
        length = min(SIZE - at, rng.choice((100, 5000, 40_000)))
        what = rng.random()
        if what < 0.7:
            data = rng.randbytes(length)
            disk.write(at, data)
            model[at : at + length] = data
        elif what < 0.8:
            disk.discard(at, length)
            model[at : at + length] = bytes(length)
        else:
            disk.flush()
            flushed[-1] = (*flushed[-1][:2], since)
            since = set()
            flushed.append((len(store.acts), bytes(model), since))
            continue
        since.update(range(at // SECTOR, (at + length - 1) // SECTOR + 1))
    disk.close()
    flushed[-1] = (*flushed[-1][:2], since)
    for cut in range(len(store.acts) + 1):
        _, content, touched = [state for state in flushed if state[0] <= cut][-1]
        left = survivors(start, store.acts, cut, rng)
        has_what_was_flushed(load(left), content, touched, (kind, cut))
        if cut % 8 == 0:  # and whoever goes on writing there loses nothing either
            again = load(left)
            at = rng.randrange(SIZE - 5000)
            again.write(at, rng.randbytes(5000))
            again.close()
            has_what_was_flushed(load(left), content, touched | set(range(at // SECTOR, (at + 4999) // SECTOR + 1)), (kind, cut, "again"))


def has_what_was_flushed(disk: Image, content: bytes, touched: set[int], where: object) -> None:
    """The image is sound, and its sectors are those of `content`, but for those `touched` since."""
    report = disk.check()
    assert not report.error_count, (where, report.errors)
    data = bytearray(disk.read(0, SIZE))
    for sector in touched:
        data[sector * SECTOR : (sector + 1) * SECTOR] = content[sector * SECTOR : (sector + 1) * SECTOR]
    assert data == content, where


def test_snapshots_are_mended_when_the_image_is_opened() -> None:
    first = Volatile()
    disk = qcow2.make(first, SIZE, {"cluster_size": "4K"})
    rng = random.Random(3)
    content = rng.randbytes(SIZE)
    disk.write(0, content)
    disk.close()
    store = Recording(bytes(first.content))
    start = bytes(store.content)
    disk = qcow2.load(store)
    snapshots.create(disk, "one")
    snapshots.create(disk, "two")
    snapshots.delete(disk, "one")
    snapshots.apply(disk, "two")
    disk.close()
    for _ in range(60):
        left = qcow2.load(survivors(start, store.acts, rng.randrange(len(store.acts) + 1), rng))
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
    store = Recording(bytes(first.content))
    start = bytes(store.content)
    disk = qcow2.load(store)
    disk.resize(SIZE * 4)
    disk.write(SIZE * 3, b"behind")
    disk.close()
    sizes = set()
    for cut in range(len(store.acts) + 1):
        left = qcow2.load(survivors(start, store.acts, cut, rng))
        assert not left.check().error_count
        assert left.read(0, SIZE) == content
        sizes.add(left.size)
    assert sizes == {SIZE, SIZE * 4}
