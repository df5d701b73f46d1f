"""Relocatable ELF objects (System V ABI, chapter 4, "Sections", "Symbol Table", "Relocation"): any bytes give an answer or ValueError."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_IDENTITY = b"\x7fELF\x02\x01"  # 64-bit, little-endian
_RELOCATABLE = 1
_SYMBOL_TABLE, _RELOCATIONS, _NO_BITS = 2, 4, 8
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_TYPE_AT, _MACHINE_AT, _SECTIONS_AT, _SECTION_COUNTS_AT = 0x10, 0x12, 0x28, 0x3A
_ALLOCATED = 2
_ABSOLUTE, _LARGEST_SIZE, _LARGEST_ALIGNMENT = 0xFFF1, 1 << 32, 1 << 16


@dataclass(frozen=True)
class Section:
    """A section that takes memory. `data` is empty where only zeroes are wanted."""

    index: int
    name: str
    flags: int
    alignment: int
    size: int
    data: bytes


@dataclass(frozen=True)
class Symbol:
    """A name for an offset in a section. Section 0 is "not here", None an absolute value."""

    name: str
    section: int | None
    value: int


@dataclass(frozen=True)
class Relocation:
    """At `offset` of section `section`, put what `kind` makes of a symbol and an addend."""

    section: int
    offset: int
    kind: int
    symbol: Symbol
    addend: int


@dataclass(frozen=True)
class ElfObject:
    """What a linker needs of an object."""

    machine: int
    sections: dict[int, Section]
    symbols: list[Symbol]
    relocations: list[Relocation]


def undefined_symbols(data: bytes) -> set[str]:
    """Names of the undefined symbols of a 64-bit little-endian object. Raises ValueError if it is none, or damaged."""
    headers = _headers(data)
    tables = [header for header in headers if header[1] == _SYMBOL_TABLE]
    if not tables:
        raise ValueError("damaged object: no symbols")
    return {symbol.name for table in tables for symbol in _symbols(data, headers, table) if symbol.name and symbol.section == 0}


def read_object(data: bytes) -> ElfObject:
    """Sections, symbols and relocations of a 64-bit little-endian object. Raises ValueError if it is none, or damaged."""
    headers = _headers(data)
    names = _strings(data, headers, _number(data, _SECTION_COUNTS_AT + 4, "<H"))
    sections = {
        index: _section(data, index, _text(names, header[0]), header)
        for index, header in enumerate(headers)
        if header[2] & _ALLOCATED and header[1] not in (_SYMBOL_TABLE, _RELOCATIONS)
    }
    tables = {index: _symbols(data, headers, header) for index, header in enumerate(headers) if header[1] == _SYMBOL_TABLE}
    relocations = [
        made
        for header in headers
        if header[1] == _RELOCATIONS and header[7] in sections
        for made in _relocations(data, header, sections, tables)
    ]
    return ElfObject(_number(data, _MACHINE_AT, "<H"), sections, [symbol for table in tables.values() for symbol in table], relocations)


def _headers(data: bytes) -> list[tuple[Any, ...]]:
    if not data.startswith(_IDENTITY) or _number(data, _TYPE_AT, "<H") != _RELOCATABLE:
        raise ValueError("no 64-bit ELF object")
    size, count = _number(data, _SECTION_COUNTS_AT, "<H"), _number(data, _SECTION_COUNTS_AT + 2, "<H")
    if size != _SECTION.size:
        raise ValueError("damaged object: sections of an odd size")
    return list(_records(data, _number(data, _SECTIONS_AT, "<Q"), count * size, _SECTION))


def _section(data: bytes, index: int, name: str, header: tuple[Any, ...]) -> Section:
    _, kind, flags, _, offset, size, _, _, alignment, _ = header
    if size > _LARGEST_SIZE or alignment > _LARGEST_ALIGNMENT or alignment & (alignment - 1):
        raise ValueError(f"damaged object: a section of {size} bytes aligned to {alignment}")
    return Section(index, name, flags, max(alignment, 1), size, b"" if kind == _NO_BITS else _slice(data, offset, size))


def _strings(data: bytes, headers: list[tuple[Any, ...]], index: int) -> bytes:
    if index >= len(headers):
        raise ValueError("damaged object: symbols without names")
    return _slice(data, headers[index][4], headers[index][5])


def _symbols(data: bytes, headers: list[tuple[Any, ...]], table: tuple[Any, ...]) -> list[Symbol]:
    texts = _strings(data, headers, table[6])
    return [
        Symbol(_text(texts, name) if name else "", None if section == _ABSOLUTE else section, value)
        for name, _, _, section, value, _ in _records(data, table[4], table[5], _SYMBOL)
    ]


def _relocations(
    data: bytes, header: tuple[Any, ...], sections: dict[int, Section], tables: dict[int, list[Symbol]]
) -> Iterator[Relocation]:
    symbols = tables.get(header[6])
    if symbols is None:
        raise ValueError("damaged object: relocations without symbols")
    for offset, what, addend in _records(data, header[4], header[5], _RELOCATION):
        number = what >> 32
        if number >= len(symbols) or offset >= len(sections[header[7]].data):
            raise ValueError("damaged object: a relocation of nothing")
        yield Relocation(header[7], offset, what & 0xFFFF_FFFF, symbols[number], addend)


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
