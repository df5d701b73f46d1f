"""Which symbols a relocatable ELF object leaves undefined (System V ABI, chapter 4, "Sections" and "Symbol Table")."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

_IDENTITY = b"\x7fELF\x02\x01"  # 64-bit, little-endian
_RELOCATABLE = 1
_SYMBOL_TABLE = 2
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_TYPE_AT, _SECTIONS_AT, _SECTION_COUNTS_AT = 0x10, 0x28, 0x3A


def undefined_symbols(data: bytes) -> set[str]:
    """Names of the undefined symbols of a 64-bit little-endian object. Raises ValueError if it is none, or damaged."""
    if not data.startswith(_IDENTITY) or _number(data, _TYPE_AT, "<H") != _RELOCATABLE:
        raise ValueError("no 64-bit ELF object")
    size, count = _number(data, _SECTION_COUNTS_AT, "<H"), _number(data, _SECTION_COUNTS_AT + 2, "<H")
    if size != _SECTION.size:
        raise ValueError("damaged object: sections of an odd size")
    sections = list(_records(data, _number(data, _SECTIONS_AT, "<Q"), count * size, _SECTION))
    names: set[str] = set()
    tables = [section for section in sections if section[1] == _SYMBOL_TABLE]
    if not tables:
        raise ValueError("damaged object: no symbols")
    for table in tables:
        if table[6] >= len(sections):
            raise ValueError("damaged object: symbols without names")
        texts = _slice(data, sections[table[6]][4], sections[table[6]][5])
        names |= {_text(texts, name) for name, _, _, index, _, _ in _records(data, table[4], table[5], _SYMBOL) if name and not index}
    return names


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
