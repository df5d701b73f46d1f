"""The compiled regions that a machine has: made executable, found by the content of pages, and dropped where they become too many.

They come from the compile service, or from the code cache on disk as soon as all their pages are met. When there is no more room, those
that were placed longest ago are dropped; who executes none of their code any more is not decided here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gasang.accel.soft.jit.messages import Answer
from gasang.accel.soft.jit.pack import Entry
from gasang.accel.soft.jit.store import RegionStore
from gasang.core.errors import OutOfSpaceError, PermissionDeniedError
from gasang.cpus.riscv64.region.symbol import SYMBOL
from gasang.cpus.riscv64.state import PAGE_SIZE
from gasang.host.code import CodeMemory
from gasang.native.image import unpack

MOST_CODE: Final = 64 << 20
"""Bytes of machine code kept."""


@dataclass(frozen=True)
class Placed:
    """A compiled region: its address, where it can be begun, and the pages it is valid for."""

    address: int
    entries: tuple[int, ...]
    stamps: dict[int, int]
    places: tuple[int, ...]
    """Of its instructions."""
    brief: bool = False

    @property
    def steps(self) -> int:
        """How many instructions it has."""
        return len(self.places)


def rank_of(region: Placed | Answer) -> tuple[bool, int]:
    """Of two that begin at the same place that of the better one is higher: a brief one is behind all others, then the larger is better."""
    return not region.brief, len(region.places)


@dataclass
class _Kept:
    """What is known of a region: when it was placed last, by a counter, and where it was read."""

    region: Placed
    memory: CodeMemory
    entry: Entry | None
    met: int


class Shelf:
    """The regions of one machine. `store` is the code cache on disk, `multi` whether the machine has several harts; any thread asks."""

    def __init__(self, store: RegionStore | None, *, multi: bool, most: int = MOST_CODE) -> None:
        self._store = store
        self._multi = multi
        self._most = most
        self._lock = threading.Lock()
        self._kept: dict[int, _Kept] = {}
        self._near: dict[int, dict[int, int]] = {}
        """To a page's stamp the regions on it, by address: the page's distance from the region's page 0."""
        self._best: dict[tuple[int, int], Placed] = {}
        """To (stamp, offset) the best region that begins there."""
        self._covered: dict[int, dict[int, bool]] = {}
        """To a page's stamp the offsets of instructions that are in some region: whether in one that is not brief."""
        self._read: set[int] = set()
        self._met = 0
        self.code_bytes = 0

    @property
    def knows_some(self) -> bool:
        """Whether there are any."""
        return bool(self._kept) or (self._store is not None and len(self._store) > 0)

    def knows(self, stamp: int) -> bool:
        """Whether any of them lies on a page of this stamp."""
        return stamp in self._near or (self._store is not None and self._store.knows(stamp))

    def take(self, answer: Answer, entry: Entry | None = None) -> Placed | None:
        """Make a region executable; None where it cannot be, or adds nothing to what is here."""
        with self._lock:
            if self.code_bytes >= self._most or self._adds_nothing(answer):
                return None
            try:
                image = unpack(answer.image)
                start = image.symbols[SYMBOL]
                memory = CodeMemory(len(image.content))
                memory.seal(image.at(memory.address, {}), image.executable)
            except (OutOfSpaceError, PermissionDeniedError, ValueError, KeyError):  # interpreted it is as right, only slower
                return None
            region = Placed(memory.address + start, answer.entries, dict(answer.stamps), answer.places, answer.brief)
            self._kept[region.address] = _Kept(region, memory, entry, self._met)
            self.code_bytes += memory.size
            self._index(region)
            return region

    def _adds_nothing(self, answer: Answer) -> bool:
        """Whether better regions on no other pages begin everywhere where it does, or the same.

        Answers do not come in the order of what they cover.
        """
        best = [self._best.get((answer.stamps[place // PAGE_SIZE], place % PAGE_SIZE)) for place in answer.entries]
        stamps, places, rank = dict(answer.stamps), answer.places, rank_of(answer)
        same = [other is not None and other.stamps == stamps and other.places == places and rank_of(other) >= rank for other in best]
        larger = [other is not None and rank_of(other) > rank and other.stamps.items() <= stamps.items() for other in best]
        return all(one or other for one, other in zip(same, larger, strict=True))

    def _index(self, region: Placed) -> None:
        for delta, stamp in region.stamps.items():
            self._near.setdefault(stamp, {})[region.address] = delta
            start, end = delta * PAGE_SIZE, (delta + 1) * PAGE_SIZE
            covered = self._covered.setdefault(stamp, {})
            for place in region.places:
                if start <= place < end:
                    covered[place - start] = not region.brief or covered.get(place - start, False)
        for place in region.entries:
            key = region.stamps[place // PAGE_SIZE], place % PAGE_SIZE
            other = self._best.get(key)
            if other is None or rank_of(other) <= rank_of(region):
                self._best[key] = region

    def read(self, stamp: int, contents: Callable[[Entry, int], Mapping[int, bytes] | None]) -> int:
        """Take from disk what lies on a page of this stamp; how many regions.

        `contents` gives those of an entry's pages as they are mapped, the page with the stamp at a distance; None if they are not.
        """
        if self._store is None:
            return 0
        count = 0
        for entry in self._store.about(stamp):
            if entry.multi != self._multi or entry.offset in self._read:
                continue
            found = contents(entry, next(page.delta for page in entry.pages if page.stamp == stamp))
            if found is None:
                continue
            answer = self._store.load(entry, found)
            if answer is not None:
                self._read.add(entry.offset)
                count += self.take(answer, entry) is not None
        return count

    def near(self, stamp: int) -> list[tuple[Placed, int]]:
        """The regions with a page of this stamp, and that page's distance from their page 0: the best first, of equals the latest."""
        with self._lock:
            found = [(self._kept[address].region, delta) for address, delta in reversed(self._near.get(stamp, {}).items())]
        return sorted(found, key=lambda one: rank_of(one[0]), reverse=True)

    def meets(self, region: Placed) -> bool:
        """Whether it is here still. It is about to be placed."""
        with self._lock:
            kept = self._kept.get(region.address)
            if kept is None or kept.region is not region:
                return False
            self._met += 1
            kept.met = self._met
            return True

    def begins(self, region: Placed) -> list[int]:
        """The places where it is the best that begins there. It is about to be placed."""
        stamps, best = region.stamps, self._best
        here = region.entries if self.meets(region) else ()
        return [place for place in here if best.get((stamps[place // PAGE_SIZE], place % PAGE_SIZE)) is region]

    def covers(self, stamp: int, offset: int) -> bool:
        """Whether an instruction is in some region."""
        return offset in self._covered.get(stamp, ())

    def covers_briefly(self, stamp: int, offset: int) -> bool:
        """Whether an instruction is in brief regions only."""
        return not self._covered.get(stamp, {}).get(offset, True)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for more."""
        return self.code_bytes >= self._most

    @property
    def is_filling(self) -> bool:
        """Whether three quarters of the room are taken: time to see which regions are still placed."""
        return self.code_bytes >= self._most // 4 * 3

    def drop(self) -> list[CodeMemory]:
        """Forget the half that was placed longest ago; its memory, for whoever knows when nobody executes it any more."""
        with self._lock:
            oldest = sorted(self._kept.values(), key=lambda kept: kept.met)
            gone: list[CodeMemory] = []
            left = self.code_bytes // 2
            for kept in oldest:
                if left <= 0:
                    break
                left -= kept.memory.size
                gone.append(kept.memory)
                del self._kept[kept.region.address]
                if kept.entry is not None:
                    self._read.discard(kept.entry.offset)
            self._near, self._best, self._covered = {}, {}, {}
            for kept in self._kept.values():
                self._index(kept.region)
            return gone

    def freed(self, memories: list[CodeMemory]) -> None:
        """Give memory back that nobody executes any more."""
        for memory in memories:
            memory.close()
        with self._lock:
            self.code_bytes -= sum(memory.size for memory in memories)

    def close(self) -> None:
        """Note on disk what was used."""
        if self._store is not None:
            self._store.use([kept.entry for kept in self._kept.values() if kept.entry is not None and kept.met])
            self._store.close()
