"""SHA-256 of streams that come at the same time: each one's pieces wait until several streams' can be hashed side by side."""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gasang.images.digests.library import load
from gasang.images.digests.state import BLOCK, INITIAL, LANES, WIDE, Eight
from gasang.native import ctype_of

WAITING = 1 << 21
"""Bytes of a stream that may wait; who has more hashes until little is left."""
WORTHWHILE = 3
"""Streams from which on all lanes at once are faster than one after the other (measured: eight take as long as two to three)."""
FEW_STREAMS = 4
FEW_BYTES = 32 << 20
"""Below either, the program is not worth being loaded."""
_State = ctypes.c_uint32 * 8


class Digest(Protocol):
    """What hashlib's objects do."""

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""

    def hexdigest(self) -> str:
        """The digest of all of them; after it, nothing more may come."""


NewDigest = Callable[[], Digest]


def hashing(streams: int, size: int) -> NewDigest:
    """How to hash so many streams at the same time, of so many bytes in all.

    One after the other by hashlib where they are few, and where the processor has instructions for SHA-256 or no vectors as wide as ours.
    """
    if streams < FEW_STREAMS or size < FEW_BYTES or not _lanes_pay():
        return hashlib.sha256
    return Together().new


def _lanes_pay() -> bool:
    flags = _flags()
    return "avx2" in flags and "sha_ni" not in flags


def _flags() -> set[str]:
    """What the processor has, as Linux names it; nothing where no Linux tells."""
    try:
        return set(Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split())
    except OSError:
        return set()


class Together:
    """Streams that are hashed side by side, by whichever thread has too much waiting."""

    def __init__(self) -> None:
        functions = load().functions
        self._one, self._all = functions["hash_one"], functions["hash_eight_wide" if _flags().issuperset(WIDE) else "hash_eight"]
        self._eight = ctype_of(Eight)()
        self._idle = _State()
        self._busy = threading.Lock()
        self._streams: list[Joined] = []

    def new(self) -> Joined:
        """One more stream."""
        stream = Joined(self)
        with self._busy:
            self._streams.append(stream)
        return stream

    def work(self, wanted: Joined, rest: int) -> None:
        """Hash until no more than `rest` bytes, or less than a block, of a stream wait; of the others what comes along."""
        with self._busy:
            while wanted.waiting > rest and wanted.whole():
                ready = [stream for stream in self._streams if stream.whole()]
                if len(ready) < WORTHWHILE:
                    wanted.advance(wanted.whole(), self._one)
                else:
                    ready.sort(key=lambda stream: stream.waiting, reverse=True)
                    self._advance([wanted, *(stream for stream in ready if stream is not wanted)][:LANES])

    def _advance(self, chosen: list[Joined]) -> None:
        blocks = min(stream.whole() for stream in chosen)
        eight = self._eight
        for lane in range(LANES):
            stream = chosen[lane] if lane < len(chosen) else None
            eight.data[lane] = (stream or chosen[0]).address()
            eight.states[lane] = ctypes.addressof(stream.state if stream else self._idle)
        self._all(eight, blocks)
        for stream in chosen:
            stream.consume(blocks)

    def forget(self, stream: Joined) -> None:
        """It has ended."""
        with self._busy:
            self._streams.remove(stream)


class Joined:
    """One of several streams. One thread gives it bytes; whoever hashes has the company's lock."""

    def __init__(self, company: Together) -> None:
        self.state = _State(*INITIAL)
        self._company = company
        self._pieces: deque[bytes] = deque()
        self._at = 0
        self._next = 0  # where the piece behind the first goes on
        self._given = 0
        self._done = 0

    def update(self, data: bytes) -> None:
        """Take the next bytes; hash, where too many wait."""
        if data:
            self._pieces.append(data)  # first: who hashes relies on all that is given being there
            self._given += len(data)
            if self.waiting > WAITING:
                self._company.work(self, WAITING // 4)

    def hexdigest(self) -> str:
        """The digest of all (FIPS 180-4, 5.1.1: a bit, zeroes, the length in bits)."""
        bits = self._given * 8
        end = b"\x80" + bytes(-(self._given + 9) % BLOCK) + bits.to_bytes(8, "big")
        self._pieces.append(end)
        self._given += len(end)
        self._company.work(self, 0)
        self._company.forget(self)
        return b"".join(word.to_bytes(4, "big") for word in self.state).hex()

    @property
    def waiting(self) -> int:
        """Bytes that are not hashed yet."""
        return self._given - self._done

    def whole(self) -> int:
        """Blocks that lie in one piece and can be hashed next; none where less than a block has come."""
        if not self._pieces:
            return 0
        there = len(self._pieces[0]) - self._at
        return there // BLOCK if there >= BLOCK else self._join()

    def _join(self) -> int:
        """Make one block of the rest of a piece and what follows it; how many blocks that makes."""
        if self.waiting < BLOCK:
            return 0
        block = b""
        while len(block) < BLOCK:
            part = self._pieces[0][self._at : self._at + BLOCK - len(block)]
            block += part
            self._skip(len(part))
        self._pieces.appendleft(block)
        self._at, self._next = 0, self._at
        return 1

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at == len(self._pieces[0]):
            self._pieces.popleft()
            self._at, self._next = self._next, 0

    def address(self) -> int:
        """Where the next block lies, while nothing is consumed."""
        start = ctypes.cast(ctypes.c_char_p(self._pieces[0]), ctypes.c_void_p).value
        assert start is not None
        return start + self._at

    def advance(self, blocks: int, one: Callable[[object, int, int], None]) -> None:
        """Hash so many blocks of this stream alone."""
        one(self.state, self.address(), blocks)
        self.consume(blocks)

    def consume(self, blocks: int) -> None:
        """So many blocks are hashed."""
        self._done += blocks * BLOCK
        self._skip(blocks * BLOCK)
