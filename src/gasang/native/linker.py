"""Links an object of x86-64 code: its sections side by side, and what they say of each other's addresses (x86-64 psABI, chapter 4.4).

LLVM has a linker of its own, but to load LLVM takes longer than all else that a start does. This one knows the few relocations that
compiled `native` functions need and refuses everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gasang.native.elf_object import NO_BITS, RELOCATIONS, UNDEFINED, ElfObject

X86_64 = 62
PAGE = 4096
PROGRAM_BITS = 1
WRITE, ALLOCATE, EXECUTE = 1, 2, 4
"""Flags of sections."""
CONSTANT_AFTER_LINKING = ".data.rel.ro"
"""What the linker alone writes. Native functions have no variables of their own."""
ABSOLUTE, RELATIVE, CALL = 1, 2, 4
"""R_X86_64_64, _PC32 and _PLT32: the address, the distance to it, the distance to what leads there."""
_JUMP = b"\xff\x25\0\0\0\0"
"""jmp *0(%rip): to the address that follows the instruction."""
_STUB = 16
_LARGEST = 1 << 28


class UnlinkableError(ValueError):
    """The object has something that this linker does not know."""


@dataclass(frozen=True)
class Layout:
    """Where an object's sections lie in its image: executable ones first, then, from a new page, the constants."""

    size: int
    executable: int
    """Bytes from the start that are code; whole pages."""
    places: dict[int, int]
    """Offset of each section that has one, by its number."""
    stubs: dict[str, int]
    """Offset of the jump to each function that is not the object's own."""


def lay_out(linked: ElfObject) -> Layout:
    """Give every section its place. Raises UnlinkableError for one that cannot have one."""
    if linked.machine != X86_64:
        raise UnlinkableError(f"code for ELF machine {linked.machine}")
    code: list[int] = []
    constants: list[int] = []
    for number, (_, kind, flags, _, _, size, _, _, alignment, _) in enumerate(linked.sections):
        if flags & ALLOCATE:
            constant = not flags & WRITE or linked.section_name(number).startswith(CONSTANT_AFTER_LINKING)
            if kind not in (PROGRAM_BITS, NO_BITS) or alignment > PAGE or size > _LARGEST or not constant:
                raise UnlinkableError(f"section {number} is of type {kind}, flags {flags}, {size} bytes, aligned to {alignment}")
            (code if flags & EXECUTE else constants).append(number)
    places: dict[int, int] = {}
    end = _place(linked, code, places, 0)
    strangers = sorted({name for name, section, _ in linked.symbols if name and section == UNDEFINED})
    stubs = {name: _aligned(end, _STUB) + _STUB * index for index, name in enumerate(strangers)}
    executable = _aligned(_aligned(end, _STUB) + _STUB * len(strangers), PAGE)
    return Layout(_aligned(_place(linked, constants, places, executable), PAGE), executable, places, stubs)


def _place(linked: ElfObject, numbers: list[int], places: dict[int, int], offset: int) -> int:
    for number in numbers:
        section = linked.sections[number]
        places[number] = _aligned(offset, max(section[8], 1))
        offset = places[number] + section[5]
    return offset


def image_of(linked: ElfObject, layout: Layout, base: int, strangers: Mapping[str, int]) -> bytearray:
    """The bytes to lie at address `base`; `strangers` are the addresses of functions that are not the object's own.

    Raises UnlinkableError for a relocation or a function it does not know, ValueError for a damaged object.
    """
    image = bytearray(layout.size)
    for number, place in layout.places.items():
        content = linked.content(linked.sections[number])
        image[place : place + len(content)] = content
    for name, place in layout.stubs.items():
        if name not in strangers:
            raise UnlinkableError(f"it calls {name}")
        image[place : place + _STUB] = (_JUMP + strangers[name].to_bytes(8, "little")).ljust(_STUB, b"\xcc")
    for section in linked.sections:
        if section[1] == RELOCATIONS and section[7] in layout.places:
            _relocate(linked, layout, base, section, image)
    return image


def _relocate(linked: ElfObject, layout: Layout, base: int, table: tuple[int, ...], image: bytearray) -> None:
    start, size = layout.places[table[7]], linked.sections[table[7]][5]
    for offset, kind, name, section, value, addend in linked.relocations(table):
        width = 8 if kind == ABSOLUTE else 4
        if offset + width > size:
            raise ValueError("damaged object: a relocation outside its section")
        place = start + offset
        target = _offset(layout, name, section, value, kind) + addend
        if kind == ABSOLUTE:
            number = (base + target) % (1 << 64)
        elif kind in (RELATIVE, CALL) and -(1 << 31) <= target - place < 1 << 31:
            number = (target - place) % (1 << 32)
        else:
            raise UnlinkableError(f"a relocation of type {kind}, distance {target - place}")
        image[place : place + width] = number.to_bytes(width, "little")


def _offset(layout: Layout, name: str, section: int, value: int, kind: int) -> int:
    """Where a symbol is in the image."""
    if section == UNDEFINED and name in layout.stubs and kind == CALL:
        return layout.stubs[name]
    if section not in layout.places or value > layout.size:
        raise UnlinkableError(f"{name or 'a symbol'} lies in section {section}")
    return layout.places[section] + value


def offsets(linked: ElfObject, layout: Layout, names: list[str]) -> list[int]:
    """Offsets of symbols by name. Raises ValueError where one is missing."""
    found = {name: layout.places[section] + value for name, section, value in linked.symbols if section in layout.places}
    missing = [name for name in names if found.get(name, layout.size + 1) > layout.size]
    if missing:
        raise ValueError(f"damaged object: no {missing[0]}")
    return [found[name] for name in names]


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment
