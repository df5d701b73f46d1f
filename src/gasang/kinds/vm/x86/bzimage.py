"""Linux's bzImage, entered by the 64-bit boot protocol (Documentation/arch/x86/boot.rst).

The file is a setup part for real mode, whose header tells how the rest wants to be loaded, and the kernel proper, which unpacks
itself. Only the header is read here; nothing of real mode ever runs.
"""

from __future__ import annotations

import struct
from typing import Final

from gasang.kinds.vm.loader import Piece
from gasang.kinds.vm.x86.kernel import PcKernel, Protocol, foreign, refuse

SECTOR: Final = 512
HEADER: Final = 0x1F1
"""Where the setup header begins, in the file and in the boot parameters."""
MAGIC: Final = b"HdrS"
NEWEST_NEEDED: Final = 0x20C
"""The protocol of Linux 3.8, which brought the 64-bit entry."""
ENTRY_64: Final = 0x200
"""Bytes from the kernel's begin to its 64-bit entry."""

_LOADED_HIGH: Final = 1
_KERNEL_64: Final = 1
_LARGEST: Final = 1 << 30


def is_bzimage(data: bytes) -> bool:
    """Whether this is a Linux kernel for a PC."""
    return data[0x202:0x206] == MAGIC


def parse_bzimage(data: bytes, name: str) -> PcKernel:
    """The kernel in a bzImage; its `end` is what it needs to unpack itself. Raises BadInputError naming the file."""
    try:
        return _parse(data, name)
    except struct.error as error:
        raise refuse(name, "the file is cut off in its header") from error


def _parse(data: bytes, name: str) -> PcKernel:
    if not is_bzimage(data):
        raise refuse(name, foreign(data) or "it is no bzImage")
    (version,) = struct.unpack_from("<H", data, 0x206)
    if version < NEWEST_NEEDED:
        raise refuse(name, f"its boot protocol is {version >> 8}.{version & 0xFF:02}, 2.12 or newer is needed (Linux 3.8)")
    (loadflags,) = struct.unpack_from("<B", data, 0x211)
    (xloadflags,) = struct.unpack_from("<H", data, 0x236)
    if not loadflags & _LOADED_HIGH or not xloadflags & _KERNEL_64:
        raise refuse(name, "it is a 32-bit kernel, this machine starts 64-bit ones")
    preferred, needed = struct.unpack_from("<QI", data, 0x258)
    (alignment,) = struct.unpack_from("<I", data, 0x230)
    if preferred % max(alignment, 1) or not SECTOR <= needed <= _LARGEST or preferred > _LARGEST:
        raise refuse(name, "its header gives addresses that make no sense")
    start = ((data[HEADER] or 4) + 1) * SECTOR
    length = struct.unpack_from("<I", data, 0x1F4)[0] * 16
    body = memoryview(data)[start:]
    if len(body) < length or length <= ENTRY_64:
        raise refuse(name, "the file is cut off")
    end = preferred + max(needed, len(body))
    header = data[HEADER : 0x202 + data[0x201]]
    (command_line_size,), (initrd_limit,) = struct.unpack_from("<I", data, 0x238), struct.unpack_from("<I", data, 0x22C)
    return PcKernel(
        preferred + ENTRY_64, (Piece(preferred, body, len(body)),), end, Protocol.LINUX, header, command_line_size, initrd_limit
    )
