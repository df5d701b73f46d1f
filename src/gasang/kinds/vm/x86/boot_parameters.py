"""The boot parameters ("zero page") that Linux is handed: Documentation/arch/x86/zero-page.rst, asm/bootparam.h."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gasang.core.errors import UsageError
from gasang.kinds.vm.x86 import layout
from gasang.kinds.vm.x86.bzimage import HEADER
from gasang.kinds.vm.x86.kernel import PcKernel

SIZE: Final = 4096
_RSDP: Final = 0x70
_E820_COUNT: Final = 0x1E8
_E820: Final = 0x2D0
_E820_MOST: Final = 128
_LOADER: Final = 0x210
_UNKNOWN_LOADER: Final = 0xFF
_INITRD: Final = 0x218
_COMMAND_LINE: Final = 0x228

RAM: Final = 1
RESERVED: Final = 2


@dataclass(frozen=True)
class Area:
    """A range of physical addresses and what it is."""

    base: int
    size: int
    kind: int


def memory_map(ram: Sequence[tuple[int, int]]) -> list[Area]:
    """What the kernel may use: all RAM but the part below 1 MiB that a PC's firmware keeps."""
    (_, low), *rest = ram
    return [
        Area(0, layout.LOW_END, RAM),
        Area(layout.LOW_END, layout.HIGH - layout.LOW_END, RESERVED),
        Area(layout.HIGH, low - layout.HIGH, RAM),
        *(Area(base, size, RAM) for base, size in rest),
        Area(layout.ECAM_BASE, layout.ECAM_SIZE, RESERVED),
    ]


def boot_parameters(image: PcKernel, areas: Sequence[Area], rsdp: int, initrd: tuple[int, int] | None) -> bytes:
    """The page for `image`: memory map, where the ACPI tables' root lies, and the initrd's (address, bytes)."""
    page = bytearray(SIZE)
    page[HEADER : HEADER + len(image.header)] = image.header
    page[_LOADER] = _UNKNOWN_LOADER
    if initrd is not None:
        struct.pack_into("<II", page, _INITRD, *initrd)
    struct.pack_into("<I", page, _COMMAND_LINE, layout.COMMAND_LINE)
    struct.pack_into("<Q", page, _RSDP, rsdp)
    assert len(areas) <= _E820_MOST
    page[_E820_COUNT] = len(areas)
    for number, area in enumerate(areas):
        struct.pack_into("<QQI", page, _E820 + 20 * number, area.base, area.size, area.kind)
    return bytes(page)


def command_line(image: PcKernel, text: str) -> bytes:
    """The kernel's command line with its end. Raises UsageError where this kernel has no room for it."""
    data = text.encode()
    if len(data) > image.command_line_size:
        raise UsageError("--append", f"{len(data)} bytes are too long for this kernel, which takes {image.command_line_size}", "shorten it")
    return data + b"\0"
