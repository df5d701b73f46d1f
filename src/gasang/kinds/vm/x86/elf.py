"""A vmlinux: an ELF file entered at its beginning by Linux's 64-bit boot protocol, or where a note of Xen's tells (PVH).

The note is XEN_ELFNOTE_PHYS32_ENTRY of xen/include/public/elfnote.h: the physical address of a 32-bit entry.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from gasang.core.elf import PT_LOAD, Elf, Segment, parse_elf
from gasang.core.errors import BadInputError
from gasang.kinds.vm.loader import MAX_KERNEL, Piece
from gasang.kinds.vm.x86 import layout
from gasang.kinds.vm.x86.kernel import PcKernel, Protocol, refuse

X86_64: Final = 62
PT_NOTE: Final = 4
PVH_ENTRY: Final = 18
_OWNER: Final = b"Xen\0"
_NOTE: Final = struct.Struct("<III")
_NOTES_MOST: Final = 256
COMMAND_LINE_SIZE: Final = 2047
"""COMMAND_LINE_SIZE of Linux's asm/setup.h, without the zero byte."""
INITRD_LIMIT: Final = 0x7FFF_FFFF
"""INITRD_ADDR_MAX of every bzImage's header; a vmlinux has none to ask."""
HEADER_VERSION: Final = 0x20F


def parse_vmlinux(data: bytes, name: str) -> PcKernel:
    """The kernel in an ELF file. Raises BadInputError naming the file."""
    try:
        elf = parse_elf(data, name)
    except BadInputError as error:
        raise refuse(name, error.cause) from error
    if elf.machine != X86_64:
        raise refuse(name, f"it is for {elf.machine_name}, this machine is amd64")
    loaded = [segment for segment in elf.segments if segment.kind == PT_LOAD and segment.memory_size]
    if sum(segment.memory_size for segment in loaded) > MAX_KERNEL or any(s.physical + s.memory_size > layout.HOLE for s in loaded):
        raise refuse(name, "an ELF segment's sizes make no sense")
    if min((segment.physical for segment in loaded), default=0) < layout.HIGH:
        raise refuse(name, "it has no segments, or one to be loaded below 1 MiB, where its boot parameters lie")
    entry = _pvh_entry(elf)
    protocol = Protocol.LINUX if entry is None else Protocol.PVH
    address = _entry(elf, loaded) if entry is None else entry
    if not any(s.physical <= address < s.physical + s.memory_size for s in loaded):
        raise refuse(name, "the ELF file has no segment with its entry point")
    pieces = tuple(Piece(segment.physical, segment.data, segment.memory_size) for segment in loaded)
    end = max(piece.address + piece.size for piece in pieces)
    return PcKernel(address, pieces, end, protocol, _header(), COMMAND_LINE_SIZE, INITRD_LIMIT)


def _entry(elf: Elf, loaded: list[Segment]) -> int:
    """The physical address of the entry, which Linux gives as such already and others as a virtual one."""
    return next((s.physical + elf.entry - s.address for s in loaded if s.address <= elf.entry < s.address + s.memory_size), elf.entry)


def _pvh_entry(elf: Elf) -> int | None:
    for segment in elf.segments:
        if segment.kind == PT_NOTE:
            for owner, kind, content in _notes(segment.data):
                if owner == _OWNER and kind == PVH_ENTRY and len(content) in (4, 8):
                    return int.from_bytes(content, "little")
    return None


def _notes(data: memoryview) -> Iterator[tuple[bytes, int, bytes]]:
    """(owner, type, content), as long as they lie within the segment."""
    at = 0
    for _ in range(_NOTES_MOST):
        if at + _NOTE.size > len(data):
            return
        owner_size, size, kind = _NOTE.unpack_from(data, at)
        start = at + _NOTE.size + -(-owner_size // 4) * 4
        if start + size > len(data):
            return
        yield bytes(data[at + _NOTE.size : at + _NOTE.size + owner_size]), kind, bytes(data[start : start + size])
        at = start + -(-size // 4) * 4


def _header() -> bytes:
    """A setup header as a boot loader makes it for a kernel that has none in its file (Documentation/arch/x86/boot.rst)."""
    header = bytearray(0x268 - 0x1F1)
    for offset, form, value in (
        (0x1FE, "<H", 0xAA55), (0x202, "<4s", b"HdrS"), (0x206, "<H", HEADER_VERSION), (0x211, "<B", 1), (0x22C, "<I", INITRD_LIMIT),
        (0x230, "<I", 0x20_0000), (0x236, "<H", 1), (0x238, "<I", COMMAND_LINE_SIZE),
    ):  # fmt: skip
        struct.pack_into(form, header, offset - 0x1F1, value)
    return bytes(header)
