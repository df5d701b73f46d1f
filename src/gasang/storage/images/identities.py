"""UUIDs (RFC 9562), as disk images carry them: of random bits, in the standard's order of bytes or in Microsoft's."""

from __future__ import annotations

import os


def new_identity() -> bytes:
    """A random UUID, version 4, in the standard's order of bytes (section 5.4)."""
    made = bytearray(os.urandom(16))
    made[6] = made[6] & 0x0F | 0x40
    made[8] = made[8] & 0x3F | 0x80
    return bytes(made)


def turned(identity: bytes) -> bytes:
    """From the one order of bytes to the other: Microsoft's has the first three fields in little endian."""
    return identity[3::-1] + identity[5:3:-1] + identity[7:5:-1] + identity[8:]


def from_text(text: str) -> bytes:
    """A UUID as it is written, with dashes, in the standard's order of bytes."""
    return bytes.fromhex(text.replace("-", ""))


def as_text(identity: bytes) -> str:
    """A UUID in the standard's order of bytes as it is written, with dashes."""
    return "-".join(identity[begin:end].hex() for begin, end in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 16)))
