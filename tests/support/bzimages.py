"""Small bzImages, whole or with changes in their headers."""

from __future__ import annotations

import struct

BODY = bytes(range(256)) * 16
CHANGES = {
    0x201: ("<B", 0x6A), 0x202: ("<4s", b"HdrS"), 0x206: ("<H", 0x20F), 0x1F1: ("<B", 3), 0x1F4: ("<I", len(BODY) // 16), 0x211: ("<B", 1),
    0x22C: ("<I", 0x7FFF_FFFF), 0x230: ("<I", 0x20_0000), 0x236: ("<H", 1), 0x238: ("<I", 2047), 0x258: ("<Q", 0x100_0000),
    0x260: ("<I", 0x10_0000),
}  # fmt: skip


def bzimage(changes: dict[int, tuple[str, object]] | None = None) -> bytes:
    """A kernel of 4 KiB behind four sectors."""
    data = bytearray(4 * 512) + BODY
    for offset, (form, value) in {**CHANGES, **(changes or {})}.items():
        struct.pack_into(form, data, offset, value)
    return bytes(data)
