"""From an object of x86-64 code to an image: sections side by side, code first, constants from a new page (x86-64 psABI, chapter 4.4).

LLVM has a linker of its own, but to load LLVM takes a third of a start's time. What this one does not know it refuses.
"""

from __future__ import annotations

from collections.abc import Iterable

from gasang.native.elf_object import ElfObject, Section, Symbol
from gasang.native.image import Image
from gasang.native.relocate import ABSOLUTE, MACHINES, apply_relocation

X86_64 = MACHINES["x86_64"]
PAGE = 4096
_WRITTEN, _EXECUTED, _THREAD_LOCAL = 1, 4, 0x400
_CONSTANT_AFTER_LINKING = ".data.rel.ro"
"""What the linker alone writes. Native functions have no variables of their own."""
_UNUSED = ".eh_frame"
"""Nobody unwinds."""
_CALL = 4
_JUMP = b"\xff\x25\0\0\0\0"
"""jmp *0(%rip): to the address that follows the instruction."""
_STUB = 16


class UnlinkableError(ValueError):
    """The object has something that this linker does not know."""


def link_image(linked: ElfObject, names: Iterable[str], hosts: Iterable[str]) -> Image:
    """The image of an object, with the symbols `names`; it may call the functions `hosts`.

    Raises UnlinkableError for an object and RelocationError for a reference of a kind it does not know, ValueError if a name is missing.
    """
    layout = _Layout(linked, set(hosts))
    image = bytearray(layout.size)
    for section, place in layout.sections:
        image[place : place + len(section.data)] = section.data
    for place in layout.stubs.values():
        image[place : place + _STUB] = _JUMP.ljust(_STUB, b"\xcc")
    absolutes = []
    for relocation in linked.relocations:
        if relocation.section not in layout.places:
            continue
        place = layout.places[relocation.section] + relocation.offset
        target = layout.offset(relocation.symbol, relocation.kind == _CALL) + relocation.addend
        apply_relocation(linked.machine, relocation.kind, image, place, place, target, relocation.symbol.name)
        if relocation.kind in ABSOLUTE[linked.machine]:
            absolutes.append(place)
    found = {symbol.name: layout.offset(symbol, False) for symbol in linked.symbols if symbol.section in layout.places}
    symbols = {name: found.get(name, layout.size + 1) for name in names}
    missing = [name for name, offset in symbols.items() if offset > layout.size]
    if missing:
        raise ValueError(f"damaged object: no {missing[0]}")
    calls = {place + len(_JUMP): name for name, place in layout.stubs.items()}
    return Image(bytes(image), layout.executable, symbols, calls, tuple(absolutes))


class _Layout:
    """Where everything lies, as offsets in the image. Behind the code there is a jump for each function of the host that it calls."""

    def __init__(self, linked: ElfObject, hosts: set[str]) -> None:
        if linked.machine != X86_64:
            raise UnlinkableError(f"code for ELF machine {linked.machine}")
        kept = [section for section in linked.sections.values() if section.name != _UNUSED]
        for section in kept:
            _check(section)
        self.sections: list[tuple[Section, int]] = []
        end = self._place([section for section in kept if section.flags & _EXECUTED], 0)
        called = sorted({symbol.name for symbol in linked.symbols if symbol.name and symbol.section == 0})
        strangers = [name for name in called if name not in hosts]
        if strangers:
            raise UnlinkableError(f"it calls {strangers[0]}")
        self.stubs = {name: _aligned(end, _STUB) + _STUB * index for index, name in enumerate(called)}
        self.executable = _aligned(_aligned(end, _STUB) + _STUB * len(called), PAGE)
        end = self._place([section for section in kept if not section.flags & _EXECUTED], self.executable)
        self.size = _aligned(end, PAGE)
        self.places = {section.index: place for section, place in self.sections}

    def _place(self, sections: list[Section], offset: int) -> int:
        for section in sections:
            place = _aligned(offset, section.alignment)
            self.sections.append((section, place))
            offset = place + section.size
        return offset

    def offset(self, symbol: Symbol, called: bool) -> int:
        """Where a symbol is. Raises UnlinkableError for one that is nowhere."""
        if called and symbol.section == 0 and symbol.name in self.stubs:
            return self.stubs[symbol.name]
        if symbol.section not in self.places:
            raise UnlinkableError(f"{symbol.name or 'a symbol'} is not in it")
        return self.places[symbol.section] + symbol.value


def _check(section: Section) -> None:
    constant = not section.flags & _WRITTEN or section.name.startswith(_CONSTANT_AFTER_LINKING)
    if section.flags & _THREAD_LOCAL or not constant or section.alignment > PAGE or section.size > 1 << 28:
        raise UnlinkableError(f"its section {section.name} has flags {section.flags}, {section.size} bytes, alignment {section.alignment}")


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment
