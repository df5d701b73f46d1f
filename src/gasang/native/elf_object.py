"""Relocatable ELF objects, as LLVM makes them: sections, symbols, relocations (System V ABI, chapter 4).

Any bytes may come here: what does not fit together raises ValueError. Rows are plain tuples in the order of the specification, for an
object has many and a start reads them all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

_IDENTITY = b"\x7fELF\x02\x01"  # 64-bit, little-endian
_RELOCATABLE = 1
SYMBOL_TABLE, NO_BITS, RELOCATIONS = 2, 8, 4
"""Kinds of sections: symbols, zeroes without bytes in the file, relocations with addends."""
UNDEFINED = 0
"""The section number of symbols that are somewhere else."""
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QIIq")
_TYPE_AT, _MACHINE_AT, _SECTIONS_AT, _SECTION_COUNTS_AT, _NAMES_AT = 0x10, 0x12, 0x28, 0x3A, 0x3E


class ElfObject:
    """A 64-bit little-endian object. Raises ValueError if it is none, or damaged.

    `sections` are (name, type, flags, address, offset, size, link, info, alignment, entry size), `symbols` (name, section, value).
    """

    def __init__(self, data: bytes) -> None:
        if not data.startswith(_IDENTITY) or _number(data, _TYPE_AT, "<H") != _RELOCATABLE:
            raise ValueError("no 64-bit ELF object")
        size, count = _number(data, _SECTION_COUNTS_AT, "<H"), _number(data, _SECTION_COUNTS_AT + 2, "<H")
        if size != _SECTION.size:
            raise ValueError("damaged object: sections of an odd size")
        self._data = data
        self.machine = _number(data, _MACHINE_AT, "<H")
        self.sections = list(_records(data, _number(data, _SECTIONS_AT, "<Q"), count * size, _SECTION))
        tables = [index for index, section in enumerate(self.sections) if section[1] == SYMBOL_TABLE]
        if len(tables) != 1:
            raise ValueError(f"damaged object: {len(tables) or 'no'} symbol tables")
        self.symbols = self._read_symbols(self.sections[tables[0]])

    def section_name(self, number: int) -> str:
        """A section's name."""
        names = _number(self._data, _NAMES_AT, "<H")
        if names >= len(self.sections):
            raise ValueError("damaged object: sections without names")
        return _text(self.content(self.sections[names]), self.sections[number][0])

    def content(self, section: tuple[Any, ...]) -> bytes:
        """A section's bytes."""
        return bytes(section[5]) if section[1] == NO_BITS else _slice(self._data, section[4], section[5])

    def relocations(self, section: tuple[Any, ...]) -> Iterator[tuple[int, int, str, int, int, int]]:
        """Of a section of relocations: (offset, type, symbol's name, its section, its value, addend)."""
        for offset, kind, symbol, addend in _records(self._data, section[4], section[5], _RELOCATION):
            if symbol >= len(self.symbols):
                raise ValueError("damaged object: a relocation without its symbol")
            yield offset, kind, *self.symbols[symbol], addend

    def _read_symbols(self, table: tuple[Any, ...]) -> list[tuple[str, int, int]]:
        if table[6] >= len(self.sections):
            raise ValueError("damaged object: symbols without names")
        texts = self.content(self.sections[table[6]])
        rows = _records(self._data, table[4], table[5], _SYMBOL)
        return [(_text(texts, name), section, value) for name, _, _, section, value, _ in rows]


def undefined_symbols(data: bytes) -> set[str]:
    """Names of the undefined symbols of an object. Raises ValueError if it is none, or damaged."""
    return {name for name, section, _ in ElfObject(data).symbols if name and section == UNDEFINED}


def _slice(data: bytes, offset: int, size: int) -> bytes:
    """The one way to a part of the file."""
    if offset + size > len(data):
        raise ValueError(f"damaged object: {size} bytes at {offset} of {len(data)}")
    return data[offset : offset + size]


def _number(data: bytes, offset: int, layout: str) -> int:
    (number,) = struct.unpack(layout, _slice(data, offset, struct.calcsize(layout)))
    return int(number)


def _records(data: bytes, offset: int, size: int, layout: struct.Struct) -> Iterator[tuple[Any, ...]]:
    if size % layout.size:
        raise ValueError("damaged object: part of a record")
    return layout.iter_unpack(_slice(data, offset, size))


def _text(texts: bytes, start: int) -> str:
    end = texts.find(b"\0", start)
    if end < 0:
        raise ValueError("damaged object: a name without end")
    return texts[start:end].decode("utf-8", "surrogateescape")
