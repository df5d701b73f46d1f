"""Kernel modules and boot images made for tests."""

from __future__ import annotations

import struct


def module(info: bytes, machine: int = 243) -> bytes:
    """A minimal 64-bit ELF file whose .modinfo section is `info`."""
    names = b"\0.modinfo\0.shstrtab\0"
    body = info + names
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01" + bytes(9), 1, machine, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, 3, 2)
    sections = struct.pack("<IIQQQQIIQQ", *[0] * 10)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, 2, 0, 64, len(info), 0, 0, 1, 0)
    sections += struct.pack("<IIQQQQIIQQ", 10, 3, 0, 0, 64 + len(info), len(names), 0, 0, 1, 0)
    return header + body + sections


def riscv_image(body: bytes = b"code") -> bytes:
    """A flat Image with the header of Documentation/arch/riscv/boot-image-header.rst."""
    return b"MZ" + bytes(0x36) + b"RSC\x05" + bytes(4) + body


def zboot(payload: bytes, kind: bytes = b"gzip") -> bytes:
    """An EFI zboot program that carries a compressed payload."""
    return b"MZ\0\0zimg" + struct.pack("<II", 64, len(payload)) + bytes(8) + kind.ljust(40, b"\0") + payload
