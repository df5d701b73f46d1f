"""The power goes: what an image does to its files is recorded, and cut off anywhere; what a file was not synced for is there or not."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from gasang.storage.images.image import Image
from gasang.storage.images.store import Store, Volatile

SIZE = 3 << 20
SECTOR = 512
Act = tuple[str, str, int, bytes]
"""A file's name, what is done to it, where, and with which bytes."""
Files = dict[str, bytes]
Load = Callable[[Mapping[str, Store]], Image]
"""Opens the image whose files these are."""


class Recording(Volatile):
    """Notes what is done to a file, among what is done to others."""

    def __init__(self, content: bytes, acts: list[Act], name: str = "") -> None:
        super().__init__(content, name or "memory")
        self.acts = acts
        self._key = name

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.acts.append((self._key, "write", offset, bytes(data)))
        super().write(offset, data)

    def truncate(self, size: int) -> None:
        self.acts.append((self._key, "size", size, b""))
        super().truncate(size)

    def punch(self, offset: int, length: int) -> bool:
        self.acts.append((self._key, "write", offset, bytes(length)))
        return super().punch(offset, length)

    def flush(self) -> None:
        self.acts.append((self._key, "flush", 0, b""))


def survivors(start: Files, acts: list[Act], cut: int, rng: random.Random) -> dict[str, Store]:
    """What a disk may hold when the power goes after `cut` acts: of each file all before its own last flush, of the rest any sectors."""
    return {name: _survivor(content, [act for act in acts[:cut] if act[0] == name], rng) for name, content in start.items()}


def _survivor(start: bytes, acts: list[Act], rng: random.Random) -> Volatile:
    store = Volatile(start)
    last = max((number for number, act in enumerate(acts) if act[1] == "flush"), default=0)
    for number, (_, kind, at, data) in enumerate(acts):
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


def goes_anywhere(kind: str, start: Files, load: Load) -> int:
    """Use the disk of `SIZE` bytes in the files `start` at random, cut it off after each act, and judge what is left; how many acts."""
    rng = random.Random(kind)
    acts: list[Act] = []
    disk = load({name: Recording(content, acts, name) for name, content in start.items()})
    model = bytearray(disk.read(0, SIZE))
    flushed: list[tuple[int, bytes, set[int]]] = [(0, bytes(model), set())]
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
            flushed.append((len(acts), bytes(model), since))
            continue
        since.update(range(at // SECTOR, (at + length - 1) // SECTOR + 1))
    disk.close()
    flushed[-1] = (*flushed[-1][:2], since)
    for cut in range(len(acts) + 1):
        _, content, touched = [state for state in flushed if state[0] <= cut][-1]
        left = survivors(start, acts, cut, rng)
        has_what_was_flushed(load(left), content, touched, (kind, cut))
        if cut % 8 == 0:  # and whoever goes on writing there loses nothing either
            again = load(left)
            at = rng.randrange(SIZE - 5000)
            again.write(at, rng.randbytes(5000))
            again.close()
            has_what_was_flushed(load(left), content, touched | set(range(at // SECTOR, (at + 4999) // SECTOR + 1)), (kind, cut, "again"))
    return len(acts)


def has_what_was_flushed(disk: Image, content: bytes, touched: set[int], where: object) -> None:
    """The image is sound, and its sectors are those of `content`, but for those `touched` since."""
    report = disk.check()
    assert not report.error_count, (where, report.errors)
    data = bytearray(disk.read(0, SIZE))
    for sector in touched:
        data[sector * SECTOR : (sector + 1) * SECTOR] = content[sector * SECTOR : (sector + 1) * SECTOR]
    assert data == content, where
