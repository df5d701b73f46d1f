"""ELF files of 64-bit little-endian processors, read from bytes (System V ABI, edition 4.1, chapters 4 and 5).

Pure, and made for hostile files: each offset, length and count is checked against the file in `_Reader`, counts are bounded,
and whatever does not fit raises BadInputError about the file. Sections and segments are windows on the file, not copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from gasang.core.errors import BadInputError

MACHINES: Final = {3: "i386", 40: "arm", 62: "x86-64", 183: "aarch64", 243: "riscv", 258: "loongarch"}
"""e_machine to a name people know."""
RISCV: Final = 243
PT_LOAD: Final = 1
SHT_SYMTAB, SHT_NOBITS, SHT_DYNSYM = 2, 8, 11
SHF_ALLOC, SHF_EXECINSTR = 2, 4
PF_X: Final = 1
STT_FUNC: Final = 2

_MAXIMUM_ENTRIES: Final = 1 << 20
_HEADER: Final = Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = Struct("<IIQQQQQQ")
_SECTION: Final = Struct("<IIQQQQIIQQ")
_SYMBOL: Final = Struct("<IBBHQQ")


@dataclass(frozen=True)
class Segment:
    """A part of the file that is loaded: `data` at `address`, then zeroes up to `memory_size` bytes."""

    kind: int
    flags: int
    address: int
    physical: int
    data: memoryview
    memory_size: int


@dataclass(frozen=True)
class Section:
    """A named part of the file; without data for those that are zeroes."""

    name: str
    kind: int
    flags: int
    address: int
    data: memoryview


@dataclass(frozen=True)
class Symbol:
    """A name for an address. `section` is the index of the section it lies in, 0 for none."""

    name: str
    address: int
    size: int
    kind: int
    section: int


@dataclass(frozen=True)
class Elf:
    """What an ELF file holds."""

    machine: int
    kind: int
    flags: int
    entry: int
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]

    @property
    def machine_name(self) -> str:
        """The processor it is for, in words."""
        return MACHINES.get(self.machine, f"processor {self.machine}")


def is_elf(data: bytes | memoryview) -> bool:
    """Whether a file that starts with `data` claims to be ELF."""
    return bytes(data[:4]) == b"\x7fELF"


def parse_elf(data: bytes | memoryview, subject: str) -> Elf:
    """What the ELF file `data` holds; raise BadInputError, about `subject`, if it is none, is damaged or is not 64-bit little-endian."""
    return _Reader(memoryview(data), subject).read()


class _Reader:
    """The one place that takes offsets, lengths and counts from the file."""

    def __init__(self, data: memoryview, subject: str) -> None:
        self._data = data
        self._subject = subject

    def _bad(self, cause: str) -> BadInputError:
        return BadInputError(self._subject, cause, "give a complete ELF file")

    def _window(self, offset: int, size: int, what: str) -> memoryview:
        if offset > len(self._data) or size > len(self._data) - offset:
            raise self._bad(f"{what} lies beyond its end")
        return self._data[offset : offset + size]

    def _table(self, layout: Struct, offset: int, stride: int, count: int, what: str) -> list[tuple[int, ...]]:
        if count == 0:
            return []
        if stride != layout.size or count > _MAXIMUM_ENTRIES:
            raise self._bad(f"{what} has {count} entries of {stride} bytes")
        return list(layout.iter_unpack(self._window(offset, stride * count, what)))

    def read(self) -> Elf:
        if not is_elf(self._data):
            raise self._bad("it is no ELF file")
        identity = self._window(0, 16, "its header")
        if bytes(identity[4:6]) != b"\x02\x01":
            raise self._bad("it is not for a 64-bit little-endian processor")
        fields = _HEADER.unpack(self._window(0, _HEADER.size, "its header"))
        _, kind, machine, _, entry, ph_offset, sh_offset, flags, _, ph_size, ph_count, sh_size, sh_count, names = fields
        segments = self._table(_SEGMENT, ph_offset, ph_size, ph_count, "its program header table")
        sections = self._sections(self._table(_SECTION, sh_offset, sh_size, sh_count, "its section table"), names)
        return Elf(machine, kind, flags, entry, tuple(map(self._segment, segments)), tuple(sections), self._symbols)

    def _segment(self, fields: tuple[int, ...]) -> Segment:
        kind, flags, offset, address, physical, file_size, memory_size, _ = fields
        if kind == PT_LOAD and file_size > memory_size:
            raise self._bad("a segment is larger in the file than in memory")
        return Segment(kind, flags, address, physical, self._window(offset, file_size, "a segment"), memory_size)

    def _sections(self, rows: list[tuple[int, ...]], names_index: int) -> list[Section]:
        contents = [self._data[:0] if row[1] == SHT_NOBITS else self._window(row[4], row[5], "a section") for row in rows]
        names = contents[names_index] if names_index < len(contents) else self._data[:0]
        sections = [Section(self._text(names, row[0]), row[1], row[2], row[3], data) for row, data in zip(rows, contents, strict=True)]
        self._symbols = tuple(self._read_symbols(rows, contents))
        return sections

    def _read_symbols(self, rows: list[tuple[int, ...]], contents: list[memoryview]) -> list[Symbol]:
        """Those of the symbol table, or of the dynamic one where a file has no other."""
        tables = [index for kind in (SHT_SYMTAB, SHT_DYNSYM) for index, row in enumerate(rows) if row[1] == kind]
        if not tables:
            return []
        index = tables[0]
        data, link, stride = contents[index], rows[index][6], rows[index][9]
        if link >= len(contents) or stride != _SYMBOL.size or len(data) // stride > _MAXIMUM_ENTRIES:
            raise self._bad("its symbol table is damaged")
        entries = _SYMBOL.iter_unpack(data[: len(data) // stride * stride])
        names = contents[link]
        return [Symbol(self._text(names, name), value, size, info & 15, section) for name, info, _, section, value, size in entries]

    @staticmethod
    def _text(names: memoryview, offset: int) -> str:
        """The name at `offset` of a string table, up to 255 bytes; "" beyond its end."""
        return bytes(names[offset : offset + 256]).partition(b"\0")[0][:255].decode("utf-8", "backslashreplace")
