"""Sparse files in tar archives: GNU's old form and the three of pax (GNU tar manual, "Storing Sparse Files")."""

from __future__ import annotations

import os
from collections.abc import Callable

from gasang.core.errors import BadInputError
from gasang.images.layers.header_fields import decode_number

BLOCK = 512
MAP_MAX = 1 << 17
"""Runs of the longest map."""
Run = tuple[int, int]
"""Offset and length of data."""
ReadMap = Callable[[bytes], "tuple[list[Run], int] | None"]
"""From the beginning of an entry's content: its runs and how much of the content is the map; None if more of it is needed."""


def _damaged(subject: str) -> BadInputError:
    return BadInputError(subject, "a sparse file's map in it is damaged", "pull it again, or make it anew")


def check_map(numbers: list[int], size: int, subject: str) -> list[Run]:
    """Pairs of offset and length, in order and inside the file. Raises BadInputError."""
    runs = list(zip(numbers[::2], numbers[1::2], strict=False))
    end = 0
    for offset, length in runs:
        if offset < end or length < 0 or offset + length > size:
            raise _damaged(subject)
        end = offset + length
    if len(numbers) % 2 or len(runs) > MAP_MAX or size < 0 or size >> 62:
        raise _damaged(subject)
    return runs


def pax_map(records: dict[str, str], subject: str) -> tuple[int, ReadMap]:
    """(the file's size, what reads its map), from the GNU.sparse records. Raises BadInputError."""
    size = _decimal(records.get("realsize") or records.get("size") or "", subject)
    if records.get("major") == "1":
        return size, lambda head: _map_in_content(head, size, subject)
    runs = check_map([_decimal(text, subject) for text in records["map"].split(",")] if records.get("map") else [], size, subject)
    return size, lambda head: (runs, 0)


def _decimal(text: str, subject: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _damaged(subject)
    return int(text)


def _map_in_content(head: bytes, size: int, subject: str) -> tuple[list[Run], int] | None:
    """Format 1.0: decimal lines (how many runs, then each one's offset and length), padded to whole blocks, before the data."""
    first, newline, rest = head.partition(b"\n")
    if not newline and len(first) < 20:
        return None
    count = 2 * _decimal(first.decode("latin-1"), subject)
    if count > 2 * MAP_MAX:
        raise _damaged(subject)
    lines = rest.split(b"\n", count)
    if len(lines) <= count:
        if len(rest) > count * 20:
            raise _damaged(subject)
        return None
    used = len(head) - len(lines[-1])
    whole = -(-used // BLOCK) * BLOCK
    if len(head) < whole:
        return None
    return check_map([_decimal(line.decode("latin-1"), subject) for line in lines[:count]], size, subject), whole


def old_map(header: bytes, subject: str) -> tuple[int, int, ReadMap]:
    """(the file's size, bytes of map blocks known to follow, what reads the map), of GNU's old form. Raises BadInputError."""
    size = decode_number(header[483:495], subject)
    numbers = _pairs(header[386:482], subject)
    if not header[482]:
        runs = check_map(numbers, size, subject)
        return size, 0, lambda head: (runs, 0)
    return size, BLOCK, lambda head: _map_in_blocks(head, numbers, size, subject)


def _map_in_blocks(head: bytes, numbers: list[int], size: int, subject: str) -> tuple[list[Run], int] | None:
    found = list(numbers)
    for at in range(0, len(head) - BLOCK + 1, BLOCK):
        found += _pairs(head[at : at + 504], subject)
        if len(found) > 2 * MAP_MAX:
            raise _damaged(subject)
        if not head[at + 504]:
            return check_map(found, size, subject), at + BLOCK
    return None


def _pairs(field: bytes, subject: str) -> list[int]:
    numbers = []
    for at in range(0, len(field), 24):
        if not field[at]:
            break
        numbers += [decode_number(field[at : at + 12], subject), decode_number(field[at + 12 : at + 24], subject)]
    return numbers


class SparseContent:
    """Takes an entry's content piece by piece and puts the data where the map says; what is between stays a hole."""

    def __init__(self, descriptor: int, size: int, read_map: ReadMap, subject: str) -> None:
        self._descriptor = descriptor
        self._size = size
        self._read_map = read_map
        self._subject = subject
        self._runs: list[Run] | None = None
        self._head = b""
        self._index = 0
        self._inside = 0

    @property
    def reading_map(self) -> bool:
        """Whether the map is not complete yet."""
        return self._runs is None

    @property
    def pending(self) -> int:
        """Bytes of the map that are there."""
        return len(self._head)

    def take(self, data: bytes) -> None:
        """The next piece. Raises BadInputError for content beyond the map, OSError where the host fails."""
        if self._runs is None:
            self._head += data
            found = self._read_map(self._head)
            if found is None:
                return
            self._runs, used = found
            data, self._head = self._head[used:], b""
        self._put(memoryview(data))

    def _put(self, data: memoryview) -> None:
        assert self._runs is not None
        while data:
            if self._index >= len(self._runs):
                raise _damaged(self._subject)
            offset, length = self._runs[self._index]
            count = min(len(data), length - self._inside)
            done = os.pwrite(self._descriptor, data[:count], offset + self._inside) if count else 0
            data = data[done:]
            self._inside += done
            if self._inside == length:
                self._index, self._inside = self._index + 1, 0

    def finish(self) -> None:
        """No more comes. Raises BadInputError where some is missing."""
        self.take(b"")
        if self._runs is None or any(length for _, length in self._runs[self._index :]):
            raise _damaged(self._subject)
        os.ftruncate(self._descriptor, self._size)
