"""What a hart has had decoded, as marks that outlive the decoded code: by them it is decoded again before it is needed.

Decoding a page costs more than executing it once. A machine that goes on from a snapshot, or a twin, would decode what its forebear had
decoded; who knows the marks does it where nobody waits.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from gasang.cpus.riscv64.block import RECORDS

if TYPE_CHECKING:
    from gasang.accel.soft.hart import Hart

Marks = dict[int, int]
"""RAM page → a bit for each record that is decoded."""
MARK_BYTES: Final = RECORDS // 8
_ENTRY: Final = struct.Struct(f"<HI{MARK_BYTES}s")
ENTRY_SIZE: Final = _ENTRY.size
"""Bytes of a page's marks, packed."""
_Buffer = ctypes.c_uint8 * MARK_BYTES


def marks_of(hart: Hart) -> Marks:
    """Those of what is decoded now; the hart may run."""
    look, buffer = hart.machine.processor.functions["decoded_marks"], _Buffer()
    found: Marks = {}
    for number in range(int(hart.cpu.blocks_used)):
        page = look(hart.address, number, ctypes.addressof(buffer))
        if page:
            found[page - 1] = int.from_bytes(buffer, "little")
    return found


def join(marks: Marks, more: Mapping[int, int]) -> None:
    """Add marks to others."""
    for page, bits in more.items():
        marks[page] = marks.get(page, 0) | bits


def decode_again(hart: Hart, marks: Mapping[int, int]) -> None:
    """Have what is marked decoded, from memory as it is now. The hart stands still. Pages outside RAM are passed over."""
    decode, buffer = hart.machine.processor.functions["decode_ahead"], _Buffer()
    last = hart.machine.ram.size >> 12
    for page, bits in marks.items():
        if page < last:
            ctypes.memmove(buffer, bits.to_bytes(MARK_BYTES, "little"), MARK_BYTES)
            decode(hart.address, page, ctypes.addressof(buffer))


def packed(harts: Mapping[int, Mapping[int, int]]) -> bytes:
    """Marks by the harts' numbers, as bytes."""
    return b"".join(
        _ENTRY.pack(number, page, bits.to_bytes(MARK_BYTES, "little")) for number, marks in harts.items() for page, bits in marks.items()
    )


def unpacked(content: bytes) -> dict[int, Marks]:
    """What was packed; of odd bytes what can be."""
    harts: dict[int, Marks] = {}
    for number, page, bits in _ENTRY.iter_unpack(content[: len(content) // _ENTRY.size * _ENTRY.size]):
        harts.setdefault(number, {})[page] = int.from_bytes(bits, "little")
    return harts
