"""What a kernel that is entered by PVH is handed: Xen's xen/include/public/arch-x86/hvm/start_info.h.

A page: the start information, the one module (the initrd), the map of memory. The processor is in 32-bit protected mode, flat, paging
off, and ebx points to the page.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from gasang.kinds.vm.x86 import layout
from gasang.kinds.vm.x86.boot_parameters import Area

MAGIC: Final = 0x336E_C578
_START: Final = struct.Struct("<IIIIQQQQII")
_MODULE: Final = struct.Struct("<QQQQ")
_AREA: Final = struct.Struct("<QQII")
_MODULE_AT: Final = 64
_AREAS_AT: Final = 128
SIZE: Final = 4096


def start_info(address: int, areas: Sequence[Area], rsdp: int, initrd: tuple[int, int] | None) -> bytes:
    """The page as it lies at `address`: memory map, where the ACPI tables' root lies, and the initrd's (address, bytes)."""
    page = bytearray(SIZE)
    assert _AREAS_AT + len(areas) * _AREA.size <= SIZE
    modules = (1, address + _MODULE_AT) if initrd is not None else (0, 0)
    _START.pack_into(page, 0, MAGIC, 1, 0, modules[0], modules[1], layout.COMMAND_LINE, rsdp, address + _AREAS_AT, len(areas), 0)
    if initrd is not None:
        _MODULE.pack_into(page, _MODULE_AT, *initrd, 0, 0)
    for number, area in enumerate(areas):
        _AREA.pack_into(page, _AREAS_AT + number * _AREA.size, area.base, area.size, area.kind, 0)
    return bytes(page)
