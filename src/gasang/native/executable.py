"""From an object to a static executable (System V ABI, chapters 4 and 5): no loader, no library, nothing shared.

The image lies anywhere in memory unless the code holds whole addresses. No page is both written and executed: read-only data with the
headers, code, and variables are three segments, and the stack is not executable.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from gasang.core.errors import GasangError
from gasang.native.elf_object import ElfObject, Section
from gasang.native.program_start import START
from gasang.native.relocate import ABSOLUTE, KINDS, apply_relocation

_WRITTEN, _EXECUTED, _THREAD_LOCAL = 1, 4, 0x400
_UNUSED = (".eh_frame",)  # nobody unwinds
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_FIXED, _ANYWHERE = 2, 3
_LOADED, _STACK = 1, 0x6474_E551
_FIXED_BASE = 0x40_0000
_PAGES = {62: 0x1000, 183: 0x1_0000, 243: 0x1000}
_ACCESS = ((False, False, 4), (False, True, 5), (True, False, 6))
"""Segments in their order: written, executed, the flags of both with "read"."""


class ExecutableError(GasangError):
    """An object cannot be made a program."""

    def __init__(self, cause: str) -> None:
        super().__init__("compiled code", cause)


class _Layout:
    """Where everything lies: file offsets and addresses of sections, and the segments."""

    def __init__(self, sections: Iterable[Section], base: int, page: int) -> None:
        self.addresses: dict[int, int] = {}
        self.offsets: dict[int, int] = {}
        self.segments: list[tuple[int, ...]] = []
        self.base = base
        self.page = page
        kinds = [(flags, [section for section in sections if _access(section) == (w, x)]) for w, x, flags in _ACCESS]
        kinds = [(flags, found) for flags, found in kinds if found or flags == _ACCESS[0][2]]
        self.offset = _HEADER.size + _SEGMENT.size * (len(kinds) + 1)
        self.address = base + self.offset
        for number, (flags, found) in enumerate(kinds):
            self._segment(flags, found, number == 0)
        self.segments.append((_STACK, 6, 0, 0, 0, 0, 0, 16))

    def _segment(self, flags: int, sections: list[Section], first: bool) -> None:
        """Sections of one kind; an offset in the file and its address agree within a page, as mapping wants it."""
        if not first:
            self.address = -(-self.address // self.page) * self.page + self.offset % self.page
        start, where = (0, self.base) if first else (self.offset, self.address)
        for section in sorted(sections, key=_only_zeroes):
            step = -self.address % section.alignment
            self.address += step
            self.offset += 0 if _only_zeroes(section) else step
            self.addresses[section.index], self.offsets[section.index] = self.address, self.offset
            self.address += section.size
            self.offset += len(section.data)
        self.segments.append((_LOADED, flags, start, where, where, self.offset - start, self.address - where, self.page))


def _only_zeroes(section: Section) -> bool:
    return section.size > len(section.data)


def _access(section: Section) -> tuple[bool, bool]:
    return bool(section.flags & _WRITTEN), bool(section.flags & _EXECUTED)


def link_executable(made: ElfObject) -> bytes:
    """The executable whose first instruction is at the symbol `_start`.

    Raises RelocationError for references of an unknown kind and ExecutableError for undefined symbols and sections that cannot be laid out.
    """
    if made.machine not in KINDS:
        raise ExecutableError(f"it is for processor family {made.machine}, for which there is no linker here")
    sections = [section for section in made.sections.values() if section.name not in _UNUSED]
    for section in sections:
        if section.flags & _THREAD_LOCAL or _access(section) == (True, True):
            raise ExecutableError(f"its section {section.name} is for threads, or both written and executed")
    kept = {section.index for section in sections}
    relocations = [relocation for relocation in made.relocations if relocation.section in kept]
    fixed = any(relocation.kind in ABSOLUTE[made.machine] for relocation in relocations)
    layout = _Layout(sections, _FIXED_BASE if fixed else 0, _PAGES[made.machine])
    image = bytearray(layout.offset)
    for section in sections:
        image[layout.offsets[section.index] : layout.offsets[section.index] + len(section.data)] = section.data
    for relocation in relocations:
        symbol = relocation.symbol
        at, place = (table[relocation.section] + relocation.offset for table in (layout.offsets, layout.addresses))
        target = _address_of(layout, symbol.name, symbol.section, symbol.value) + relocation.addend
        apply_relocation(made.machine, relocation.kind, image, at, place, target, symbol.name)
    entries = [symbol for symbol in made.symbols if symbol.name == START]
    if not entries:
        raise ExecutableError(f"nothing in it is called {START}")
    entry = _address_of(layout, START, entries[0].section, entries[0].value)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    count = len(layout.segments)
    kind = _FIXED if fixed else _ANYWHERE
    _HEADER.pack_into(image, 0, identity, kind, made.machine, 1, entry, _HEADER.size, 0, 0, _HEADER.size, _SEGMENT.size, count, 64, 0, 0)
    for number, segment in enumerate(layout.segments):
        _SEGMENT.pack_into(image, _HEADER.size + number * _SEGMENT.size, *segment)
    return bytes(image)


def _address_of(layout: _Layout, name: str, section: int | None, value: int) -> int:
    if section is None:
        return value
    if section not in layout.addresses:
        raise ExecutableError(f"{name or 'a section'} is not in it")
    return layout.addresses[section] + value
