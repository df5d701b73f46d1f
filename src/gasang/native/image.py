"""Linked code as bytes that any process can map: what only a process knows is left open, and listed.

That is the image's own address, to be added to some words, and the addresses of the host's functions. An image is kept in the cache, so
that a start neither reads relocations nor loads LLVM.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

_SEPARATOR = b"\n\n"
_CODE, _SYMBOL, _HOST, _ABSOLUTE = "code", "symbol", "host", "absolute"
_WORD = 8


class Image(NamedTuple):
    """Whole pages: the first `executable` bytes are code, the others constants."""

    content: bytes
    executable: int
    symbols: dict[str, int]
    """Offsets of what can be asked for by name."""
    hosts: dict[int, str]
    """Offsets of words that are the address of a function of the host, by its name."""
    absolutes: tuple[int, ...]
    """Offsets of words to which the image's address is added."""

    def at(self, base: int, hosts: Mapping[str, int]) -> bytearray:
        """The bytes to lie at address `base`. Raises KeyError for a function that is not among `hosts`."""
        placed = bytearray(self.content)
        for offset in self.absolutes:
            word = int.from_bytes(placed[offset : offset + _WORD], "little") + base
            placed[offset : offset + _WORD] = (word & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(_WORD, "little")
        for offset, name in self.hosts.items():
            placed[offset : offset + _WORD] = hosts[name].to_bytes(_WORD, "little")
        return placed

    def pack(self) -> bytes:
        """As bytes."""
        lines = [f"{_CODE} {self.executable}", f"{_ABSOLUTE} {len(self.absolutes)}"]
        lines += [f"{_SYMBOL} {name} {offset}" for name, offset in self.symbols.items()]
        lines += [f"{_HOST} {name} {offset}" for offset, name in self.hosts.items()]
        return b"".join(["\n".join(lines).encode(), _SEPARATOR, struct.pack(f"<{len(self.absolutes)}I", *self.absolutes), self.content])


def unpack(raw: bytes) -> Image:
    """What `Image.pack` made. Raises ValueError for anything that does not fit together."""
    text, _, rest = raw.partition(_SEPARATOR)
    numbers = {_CODE: -1, _ABSOLUTE: 0}
    symbols: dict[str, int] = {}
    hosts: dict[int, str] = {}
    for line in text.decode().split("\n"):
        what, _, more = line.partition(" ")
        name, _, number = more.rpartition(" ")
        if what in numbers:
            numbers[what] = int(number)
        elif what == _SYMBOL:
            symbols[name] = int(number)
        elif what == _HOST:
            hosts[int(number)] = name
        else:
            raise ValueError(f"no such line: {what}")
    table = struct.Struct(f"<{numbers[_ABSOLUTE]}I") if 0 <= numbers[_ABSOLUTE] <= len(rest) else None
    if table is None or table.size > len(rest):
        raise ValueError("an image cut off")
    image = Image(rest[table.size :], numbers[_CODE], symbols, hosts, table.unpack(rest[: table.size]))
    last = len(image.content) - _WORD
    inside = all(0 <= offset <= last for offset in (*image.absolutes, *hosts))
    if not inside or not 0 <= image.executable <= len(image.content) or not all(0 <= at <= len(image.content) for at in symbols.values()):
        raise ValueError("an image that reaches out of itself")
    return image
