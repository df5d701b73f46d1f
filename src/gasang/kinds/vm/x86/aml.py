"""ACPI machine language, as far as a board's description needs it: values and the bytes they become (ACPI 6.5, chapter 20).

Everything here is a pure function to bytes; names are checked, for a wrong one would be a silent mistake in a table.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import Final

_SEGMENT: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,3}")
_LARGEST_PIECES: Final = ((1, 6), (2, 12), (3, 20), (4, 28))
"""Bytes of a package length → bits it holds."""
_INTEGERS: Final = ((0x0A, "B"), (0x0B, "H"), (0x0C, "I"), (0x0E, "Q"))
"""Prefix and format of integer constants, smallest first (20.2.3)."""

ALWAYS: Final = 0x0F
"""_STA of a device that is there, works and is shown."""


def name_string(path: str) -> bytes:
    """A name: segments of four characters, a backslash in front for the root (20.2.2)."""
    root = b"\\" if path.startswith("\\") else b""
    segments = path.removeprefix("\\").split(".")
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError(f"{path!r} is no ACPI name")
    names = b"".join(segment.ljust(4, "_").encode() for segment in segments)
    prefix = {1: b"", 2: b"\x2e"}.get(len(segments), b"\x2f" + bytes([len(segments)]))
    return root + prefix + names


def integer(value: int) -> bytes:
    """The shortest constant (20.2.3)."""
    if value in (0, 1):
        return bytes([value])
    for prefix, form in _INTEGERS:
        if value < 1 << 8 * struct.calcsize(form):
            return bytes([prefix]) + struct.pack(f"<{form}", value)
    raise ValueError(f"{value:#x} is no 64-bit number")


def string(text: str) -> bytes:
    """A string constant."""
    return b"\x0d" + text.encode("ascii") + b"\0"


def eisa_id(text: str) -> bytes:
    """Three letters and four hex digits, as a compressed integer (19.3.4)."""
    if not re.fullmatch(r"[A-Z]{3}[0-9A-F]{4}", text):
        raise ValueError(f"{text!r} is no EISA id")
    letters = sum((ord(letter) - 0x40) << shift for letter, shift in zip(text, (10, 5, 0), strict=False))
    return b"\x0c" + struct.pack(">HH", letters, int(text[3:], 16))


def package_length(size: int) -> bytes:
    """The length that stands in front of `size` bytes and counts itself (20.2.4)."""
    for count, bits in _LARGEST_PIECES:
        total = size + count
        if total < 1 << bits:
            if count == 1:
                return bytes([total])
            rest = total >> 4
            return bytes([(count - 1) << 6 | total & 0x0F, *(rest >> 8 * number & 0xFF for number in range(count - 1))])
    raise ValueError(f"{size} bytes are too many for one package")


def _sized(opcode: bytes, body: bytes) -> bytes:
    return opcode + package_length(len(body)) + body


def package(items: Iterable[bytes]) -> bytes:
    """A package of values."""
    parts = list(items)
    return _sized(b"\x12", bytes([len(parts)]) + b"".join(parts))


def buffer(data: bytes) -> bytes:
    """A buffer of bytes."""
    return _sized(b"\x11", integer(len(data)) + data)


def named(path: str, value: bytes) -> bytes:
    """Name (path, value)."""
    return b"\x08" + name_string(path) + value


def scope(path: str, *body: bytes) -> bytes:
    """What stands below an object that is there already."""
    return _sized(b"\x10", name_string(path) + b"".join(body))


def device(path: str, *body: bytes) -> bytes:
    """A device."""
    return _sized(b"\x5b\x82", name_string(path) + b"".join(body))


def method(path: str, arguments: int, *body: bytes) -> bytes:
    """A method that runs once at a time (20.2.5.2)."""
    return _sized(b"\x14", name_string(path) + bytes([arguments | 1 << 3]) + b"".join(body))


def notify(path: str, value: int) -> bytes:
    """Tell an object's driver of something (20.2.5.3)."""
    return b"\x86" + name_string(path) + integer(value)


# resources (6.4)


def resources(*items: bytes) -> bytes:
    """A resource template, ended as it must be."""
    return buffer(b"".join(items) + b"\x79\x00")


def memory(base: int, size: int) -> bytes:
    """A fixed range of memory below 4 GiB that can be written to (6.4.3.4)."""
    return b"\x86" + struct.pack("<HBII", 9, 1, base, size)


def ports(base: int, size: int) -> bytes:
    """A fixed range of ports, all 16 bits decoded (6.4.2.5)."""
    return b"\x47" + struct.pack("<BHHBB", 1, base, base, 0, size)


def interrupt(number: int, *, edge: bool = False) -> bytes:
    """A global system interrupt of this device, active high and its own (6.4.3.6)."""
    return b"\x89" + struct.pack("<HBBI", 6, 1 | (2 if edge else 0), 1, number)


def bus_numbers(first: int, last: int) -> bytes:
    """The buses behind a bridge (6.4.3.5.3)."""
    return b"\x88" + struct.pack("<HBBBHHHHH", 13, 2, 0x0C, 0, 0, first, last, 0, last - first + 1)


def memory_window(base: int, size: int) -> bytes:
    """Addresses below 4 GiB that a bridge passes on, not cached, to be written to (6.4.3.5.2)."""
    return b"\x87" + struct.pack("<HBBBIIIII", 23, 0, 0x0C, 1, 0, base, base + size - 1, 0, size)
