"""Tar archives as we write them: ustar, with a pax header before an entry that needs one (POSIX.1-2017 pax)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gasang.images.layers.header_fields import BLOCK, encode_header, fits, split_name

FILE, HARD_LINK, SYMBOLIC_LINK, CHARACTER, BLOCK_DEVICE, FOLDER, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_PAX = b"x"
_PIECE = 1 << 18
_END = bytes(2 * BLOCK)
_GATHER = 1 << 17
"""Bytes that are collected before the sink is given them: headers are short."""


@dataclass
class Entry:
    """An entry; `name` has no leading slash, `mtime` is in seconds."""

    name: bytes
    kind: bytes = FILE
    mode: int = 0o644
    user: int = 0
    group: int = 0
    size: int = 0
    mtime: int = 0
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


class TarWriter:
    """Gives the archive to `sink`, piece by piece. Its bytes depend on the entries alone."""

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self._sink = sink
        self._pending: list[bytes] = []
        self._size = 0

    def _put(self, data: bytes) -> None:
        self._pending.append(data)
        self._size += len(data)
        if self._size >= _GATHER:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._pending)
        self._pending, self._size = [], 0
        self._sink(data)

    def add(self, entry: Entry, content: Iterable[bytes] = ()) -> None:
        """An entry with its content, which is cut or filled with zeroes to `entry.size` bytes."""
        name = entry.name + b"/" if entry.kind == FOLDER and not entry.name.endswith(b"/") else entry.name
        size = entry.size if entry.kind == FILE else 0
        records = _records(entry, name, size)
        if records:
            raw = b"".join(_record(key, value) for key, value in records)
            self._put(encode_header(b"PaxHeaders/x", 0o644, 0, 0, len(raw), 0, _PAX) + _padded(raw))
        self._put(_main_header(entry, name, size))
        left = size
        for piece in content:
            taken = piece[:left]
            self._put(taken)
            left -= len(taken)
            if not left:
                break
        while left:
            self._put(bytes(min(left, _PIECE)))
            left -= min(left, _PIECE)
        if size % BLOCK:
            self._put(bytes(-size % BLOCK))

    def close(self) -> None:
        """The archive's end."""
        self._put(_END)
        self._flush()


def _records(entry: Entry, name: bytes, size: int) -> list[tuple[bytes, bytes]]:
    """What the main header cannot say."""
    records: list[tuple[bytes, bytes]] = []
    if not split_name(name)[1] or not name.isascii():
        records.append((b"path", name))
    if len(entry.link) > 100 or not entry.link.isascii():
        records.append((b"linkpath", entry.link))
    for key, value, width in ((b"size", size, 12), (b"uid", entry.user, 8), (b"gid", entry.group, 8), (b"mtime", entry.mtime, 12)):
        if not fits(value, width):
            records.append((key, b"%d" % value))
    records += [(b"SCHILY.xattr." + os.fsencode(key), value) for key, value in sorted(entry.xattrs.items())]
    return records


def _main_header(entry: Entry, name: bytes, size: int) -> bytes:
    short = name if split_name(name)[1] else name[-99:].lstrip(b"/")
    numbers = [value if fits(value, width) else 0 for value, width in ((entry.user, 8), (entry.group, 8), (size, 12), (entry.mtime, 12))]
    return encode_header(
        short, entry.mode & 0o7777, numbers[0], numbers[1], numbers[2], numbers[3], entry.kind, entry.link[:100], entry.device
    )


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE` with a newline, where the length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % BLOCK)
