"""Small ELF kernels for a PC, with and without a note of an entry by PVH."""

from __future__ import annotations

import struct

ADDRESS = 0x100_0000
_HEADERS = 64 + 2 * 56


def vmlinux(code: bytes, pvh: bytes = b"", address: int = ADDRESS, in_memory: int | None = None) -> bytes:
    """`code` at `address`, which is the entry, and a note with `pvh` as the address of the other one where that is not empty."""
    note = struct.pack("<III4s", 4, len(pvh), 18, b"Xen\0") + pvh.ljust(8, b"\0") if pvh else b""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, address, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    start = _HEADERS + len(note)
    size = len(code) if in_memory is None else in_memory
    notes = struct.pack("<IIQQQQQQ", 4, 4, _HEADERS, 0, 0, len(note), len(note), 4)
    loaded = struct.pack("<IIQQQQQQ", 1, 5, start, address, address, len(code), size, 4096)
    return ident + header + notes + loaded + note + code
