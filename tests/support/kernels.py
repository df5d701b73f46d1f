"""Kernels made for tests: the headers of an Image and of an ELF file around a few bytes."""

from __future__ import annotations

import struct

RAM_BASE = 0x8000_0000


def image(code: bytes = b"\x13\0\0\0", size: int | None = None, text_offset: int = 0x20_0000, magic: bytes = b"RSC\x05") -> bytes:
    """A flat Image that is no EFI program; `code` stands behind its header of 64 bytes, which jumps there."""
    whole = 64 + len(code)
    jump = struct.pack("<I", 0x0400_006F)  # j +64
    return jump + bytes(4) + struct.pack("<QQ", text_offset, whole if size is None else size) + bytes(32) + magic + bytes(4) + code


def efi_image(code: bytes) -> bytes:
    """An Image that is an EFI program of two sections too."""
    table = b"".join(
        name.ljust(8, b"\0") + struct.pack("<IIII", size, address, size, address) + bytes(16)
        for name, size, address in ((b".text", 256, 256), (b".data", len(code), 512))
    )
    header = bytearray(image(b"", 512 + len(code) + 4096))
    header[0:2] = b"MZ"
    header[0x3C:0x40] = struct.pack("<I", 64)
    programs = b"PE\0\0" + struct.pack("<HH12xHH", 0x5064, 2, 0, 0) + table
    return (bytes(header) + programs).ljust(512, b"\0") + code


def elf(code: bytes = b"\x13\0\0\0", machine: int = 243, address: int = RAM_BASE + 0x20_0000, **changed: int) -> bytes:
    """An ELF executable of one segment; `changed` are fields of its program header, or `entry`."""
    segment = {"kind": 1, "flags": 5, "offset": 120, "virtual": address, "physical": address, "in_file": len(code), "in_memory": len(code)}
    entry = changed.pop("entry", address)
    segment |= changed
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return ident + header + struct.pack("<IIQQQQQQ", *segment.values(), 4096) + code
