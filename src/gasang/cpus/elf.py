"""ELF64 files: headers, segments, sections and symbols, every offset and size checked against the file.

Pure functions from bytes to values. It knows nothing of what the code in a file means.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

from gasang.core.errors import BadInputError

MAGIC = b"\x7fELF"
CLASS_64, LITTLE_ENDIAN, VERSION = 2, 1, 1
RISCV = 243
MACHINES = {RISCV: "riscv", 62: "x86-64", 183: "aarch64", 3: "i386", 40: "arm", 21: "ppc64", 22: "s390x", 258: "loongarch"}

PT_LOAD = 1
SHT_SYMTAB, SHT_NOBITS, SHT_DYNSYM = 2, 8, 11
SHN_XINDEX = 0xFFFF
STT_FUNC = 2
EXECUTABLE_SECTION = 4
NAMED_PLACES = frozenset({0, 1, 2})
"""Symbol types that name a place: none, object, function."""

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")


@dataclass(frozen=True)
class Segment:
    """A part of the program: `data` at `address`, followed by zeroes up to `memory_size` bytes."""

    address: int
    physical: int
    data: memoryview
    memory_size: int
    readable: bool
    writable: bool
    executable: bool


@dataclass(frozen=True)
class Section:
    """A part of the file for linkers and debuggers."""

    name: str
    kind: int
    flags: int
    address: int
    data: memoryview
    link: int

    @property
    def executable(self) -> bool:
        """Whether it holds code."""
        return bool(self.flags & EXECUTABLE_SECTION)


@dataclass(frozen=True)
class Symbol:
    """A named address."""

    name: str
    address: int
    size: int
    function: bool


@dataclass(frozen=True)
class Elf:
    """A file taken apart."""

    machine: int
    entry: int
    segments: tuple[Segment, ...]
    """The loadable ones."""
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    """Sorted by address; of several at one address the functions last."""

    @cached_property
    def _addresses(self) -> list[int]:
        return [symbol.address for symbol in self.symbols]

    def symbol_at(self, address: int) -> Symbol | None:
        """The last symbol at or below `address`, or None."""
        index = bisect_right(self._addresses, address)
        return self.symbols[index - 1] if index else None


class _File:
    """Checked access to the bytes of a file."""

    def __init__(self, name: str, data: bytes | memoryview) -> None:
        self.name = name
        self.data = memoryview(data).cast("B")

    def damaged(self, cause: str) -> BadInputError:
        return BadInputError(self.name, cause, "the file is damaged or not an ELF file for this machine; fetch or build it again")

    def bytes_at(self, offset: int, size: int, what: str) -> memoryview:
        """`size` bytes at `offset`; BadInputError unless the file has them."""
        if offset + size > len(self.data):
            raise self.damaged(f"{what} lies at {offset:#x}+{size:#x}, beyond the file's end at {len(self.data):#x}")
        return self.data[offset : offset + size]

    def rows(self, layout: struct.Struct, offset: int, count: int, size: int, what: str) -> list[tuple[int, ...]]:
        """`count` records of `size` bytes each."""
        if count and size != layout.size:
            raise self.damaged(f"{what} has entries of {size} bytes, not {layout.size}")
        return list(layout.iter_unpack(self.bytes_at(offset, count * layout.size, what)))


def read_elf(data: bytes | memoryview, name: str, machine: int | None = RISCV) -> Elf:
    """Take an ELF64 file apart; `name` names it in errors.

    Raises BadInputError if it is damaged, no little-endian ELF64 file, or not for `machine` (None: any).
    """
    file = _File(name, data)
    if bytes(file.data[:4]) != MAGIC:
        raise file.damaged("it does not start with ELF's magic number")
    head: tuple[bytes, int, int, int, int, int, int, int, int, int, int, int, int, int]
    head = _HEADER.unpack(file.bytes_at(0, _HEADER.size, "the header"))  # type: ignore[assignment]
    identity, _, found, _, entry, programs_at, sections_at, _, _, program_size, programs, section_size, sections, names = head
    if (identity[4], identity[5], identity[6]) != (CLASS_64, LITTLE_ENDIAN, VERSION):
        raise file.damaged("it is not a little-endian 64-bit ELF file")
    if machine is not None and found != machine:
        cause = f"it is for {MACHINES.get(found, f'machine {found}')}, not {MACHINES.get(machine, f'machine {machine}')}"
        raise BadInputError(name, cause, "use a file built for this machine")
    segments = _segments(file, file.rows(_PROGRAM_HEADER, programs_at, programs, program_size, "the program header table"))
    headers = file.rows(_SECTION_HEADER, sections_at, sections, section_size, "the section header table")
    parts = _sections(file, headers, names)
    return Elf(found, entry, segments, parts, _symbols(file, parts))


def _segments(file: _File, headers: list[tuple[int, ...]]) -> tuple[Segment, ...]:
    found = []
    for kind, flags, offset, address, physical, size, memory_size, _ in headers:
        if kind != PT_LOAD:
            continue
        if memory_size < size or address + memory_size > 1 << 64 or physical + memory_size > 1 << 64:
            raise file.damaged(f"the segment at {address:#x} has {size:#x} bytes of file and {memory_size:#x} of memory")
        data = file.bytes_at(offset, size, f"the segment at {address:#x}")
        found.append(Segment(address, physical, data, memory_size, bool(flags & 4), bool(flags & 2), bool(flags & 1)))
    return tuple(found)


def _sections(file: _File, headers: list[tuple[int, ...]], names_index: int) -> tuple[Section, ...]:
    if not headers:
        return ()
    if names_index >= len(headers):
        raise file.damaged(f"its section names are in section {names_index} of {len(headers)}")
    names = _contents(file, headers[names_index])
    found = []
    for header in headers:
        name, kind, flags, address, _, _, link, _, _, _ = header
        found.append(Section(_text(file, names, name), kind, flags, address, _contents(file, header), link))
    return tuple(found)


def _contents(file: _File, header: tuple[int, ...]) -> memoryview:
    _, kind, _, _, offset, size, *_ = header
    return file.data[:0] if kind in (0, SHT_NOBITS) else file.bytes_at(offset, size, "a section")


def _symbols(file: _File, sections: tuple[Section, ...]) -> tuple[Symbol, ...]:
    """Symbols of the full table, or of the dynamic one where that is all there is."""
    table = next((section for kind in (SHT_SYMTAB, SHT_DYNSYM) for section in sections if section.kind == kind), None)
    if table is None:
        return ()
    if table.link >= len(sections):
        raise file.damaged(f"the names of its symbols are in section {table.link} of {len(sections)}")
    names = sections[table.link].data
    whole = len(table.data) // _SYMBOL.size * _SYMBOL.size
    found = []
    for name, info, _, section, address, size in _SYMBOL.iter_unpack(table.data[:whole]):
        text = _text(file, names, name)
        if section and info & 15 in NAMED_PLACES and text and not text.startswith(("$", ".L")):
            found.append(Symbol(text, address, size, info & 15 == STT_FUNC))
    return tuple(sorted(found, key=lambda symbol: (symbol.address, symbol.function)))


def _text(file: _File, table: memoryview, offset: int) -> str:
    """A name from a string table, harmless to print."""
    if offset >= len(table) and offset:
        raise file.damaged(f"a name lies at {offset:#x} of {len(table):#x} bytes of names")
    text = bytes(table[offset : offset + LONGEST_NAME]).split(b"\0", 1)[0].decode(errors="replace")
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)


LONGEST_NAME = 4096
"""Bytes of a symbol's name that are kept; mangled C++ names reach a few thousand."""
