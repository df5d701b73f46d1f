"""Relocations: what to put where an object refers to a symbol (System V ABI supplements for x86-64 and AArch64, RISC-V ELF psABI)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

from gasang.core.errors import GasangError
from gasang.native.elf_object import ElfObject, Relocation

Apply = Callable[[bytearray, int, int, int], None]
"""Change the bytes at an offset, given the place's address and the target's (with the addend)."""
_PAGE = 0xFFF


class RelocationError(GasangError):
    """An object refers to a symbol in a way this linker does not know, or from too far away."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__("compiled code", f"its reference to {name or 'a section'} {cause}")


def _word(layout: str, relative: bool) -> Apply:
    bits = struct.calcsize(layout) * 8

    def apply(data: bytearray, at: int, place: int, target: int) -> None:
        value = target - place if relative else target
        if relative and not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            raise OverflowError
        struct.pack_into(layout, data, at, value & ((1 << bits) - 1))

    return apply


def _load_to_address(data: bytearray, at: int, place: int, target: int) -> None:
    """`mov symbol@GOT(%rip), register`: the address is at hand, so it becomes `lea symbol(%rip), register`."""
    if at < 2 or data[at - 2] != 0x8B:
        raise ValueError("is no load from the global offset table")
    data[at - 2] = 0x8D
    _word("<I", True)(data, at, place, target)


def _field(data: bytearray, at: int, value: int, bits: int, shift: int) -> None:
    """Put the low bits of a value into an instruction."""
    mask = ((1 << bits) - 1) << shift
    (word,) = struct.unpack_from("<I", data, at)
    struct.pack_into("<I", data, at, word & ~mask & 0xFFFF_FFFF | (value << shift) & mask)


def _branch(bits: int, shift: int) -> Apply:
    def apply(data: bytearray, at: int, place: int, target: int) -> None:
        distance = target - place
        if distance & 3 or not -(1 << (bits + 1)) <= distance < 1 << (bits + 1):
            raise OverflowError
        _field(data, at, distance >> 2, bits, shift)

    return apply


def _address(pages: bool) -> Apply:
    """ADR and ADRP: two low bits of the distance at 29, the rest at 5."""

    def apply(data: bytearray, at: int, place: int, target: int) -> None:
        distance = (target >> 12) - (place >> 12) if pages else target - place
        if not -(1 << 20) <= distance < 1 << 20:
            raise OverflowError
        _field(data, at, distance, 2, 29)
        _field(data, at, distance >> 2, 19, 5)

    return apply


def _low_bits(scale: int) -> Apply:
    """The address within its page, in units of the access's size."""

    def apply(data: bytearray, at: int, place: int, target: int) -> None:
        if target & ((1 << scale) - 1):
            raise ValueError("is not aligned for its instruction")
        _field(data, at, (target & _PAGE) >> scale, 12 - scale, 10)

    return apply


def _upper(data: bytearray, at: int, place: int, target: int) -> None:
    """AUIPC: the distance in units of 4 KiB, rounded so that what is left is a signed number of 12 bits."""
    distance = target - place
    if not -(1 << 31) <= distance + 0x800 < 1 << 31:
        raise OverflowError
    _field(data, at, distance + 0x800 >> 12, 20, 12)


def _lower(data: bytearray, at: int, place: int, target: int) -> None:
    """The rest, in a load, an addition or a jump."""
    _field(data, at, target - place, 12, 20)


def _lower_of_store(data: bytearray, at: int, place: int, target: int) -> None:
    _field(data, at, target - place, 5, 7)
    _field(data, at, target - place >> 5, 7, 25)


def _far_call(data: bytearray, at: int, place: int, target: int) -> None:
    _upper(data, at, place, target)
    _lower(data, at + 4, place, target)


def _add(layout: str, sign: int) -> Apply:
    """One side of a difference between two symbols."""
    mask = (1 << struct.calcsize(layout) * 8) - 1

    def apply(data: bytearray, at: int, place: int, target: int) -> None:
        (value,) = struct.unpack_from(layout, data, at)
        struct.pack_into(layout, data, at, value + sign * target & mask)

    return apply


MACHINES = {"x86_64": 62, "aarch64": 183, "riscv64": 243}
ABSOLUTE = {62: (1,), 183: (257,), 243: (2,)}
"""Kinds that put a whole address, so that the program must lie where it was linked to."""
KINDS: dict[int, dict[int, Apply]] = {
    62: {
        1: _word("<Q", False), 2: _word("<I", True), 4: _word("<I", True), 24: _word("<Q", True),
        41: _load_to_address, 42: _load_to_address,
    },
    183: {
        257: _word("<Q", False), 260: _word("<Q", True), 261: _word("<I", True), 274: _address(False), 275: _address(True),
        277: _low_bits(0), 278: _low_bits(0), 279: _branch(14, 5), 280: _branch(19, 5), 282: _branch(26, 0), 283: _branch(26, 0),
        284: _low_bits(1), 285: _low_bits(2), 286: _low_bits(3), 299: _low_bits(4),
    },
    243: {
        2: _word("<Q", False), 18: _far_call, 19: _far_call, 23: _upper, 24: _lower, 25: _lower_of_store, 57: _word("<I", True),
        35: _add("<I", 1), 39: _add("<I", -1), 36: _add("<Q", 1), 40: _add("<Q", -1),
    },
}  # fmt: skip


UPPER, LOWER = 23, (24, 25)
"""RISC-V's halves of a distance: the lower names the instruction with the upper, not the target (psABI, "PC-Relative Symbol Addresses")."""


def with_targets(made: ElfObject) -> ElfObject:
    """The object with RISC-V's lower halves referring to the target itself, as seen from the upper half's place.

    Raises RelocationError where there is no upper half.
    """
    if made.machine != MACHINES["riscv64"]:
        return made
    uppers = {(entry.section, entry.offset): entry for entry in made.relocations if entry.kind == UPPER}

    def target_of(entry: Relocation) -> Relocation:
        if entry.kind not in LOWER:
            return entry
        upper = uppers.get((entry.section, entry.symbol.value)) if entry.symbol.section == entry.section else None
        if upper is None:
            raise RelocationError(entry.symbol.name, "is half a distance without the other half")
        return replace(entry, symbol=upper.symbol, addend=upper.addend + entry.offset - upper.offset)

    return replace(made, relocations=[target_of(entry) for entry in made.relocations])


def apply_relocation(machine: int, kind: int, data: bytearray, at: int, place: int, target: int, name: str) -> None:
    """Change the bytes at `at` (address `place`) to refer to `target`. Raises RelocationError naming the symbol."""
    apply = KINDS[machine].get(kind)
    if apply is None:
        raise RelocationError(name, f"is of kind {kind}, which programs cannot have")
    try:
        apply(data, at, place, target)
    except (OverflowError, struct.error) as error:
        raise RelocationError(name, "reaches too far, or out of its section") from error
    except ValueError as error:
        raise RelocationError(name, str(error)) from error
