"""bzImages that are whole, foreign, old and damaged, and what their kernel is handed."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, UsageError
from gasang.kinds.vm.x86 import layout
from gasang.kinds.vm.x86.boot_parameters import RAM, RESERVED, Area, boot_parameters, command_line, memory_map
from gasang.kinds.vm.x86.bzimage import parse_bzimage
from gasang.kinds.vm.x86.kernel import PcKernel
from support.bzimages import BODY, bzimage


def parsed() -> PcKernel:
    return parse_bzimage(bzimage(), "vmlinuz")


def test_a_whole_one() -> None:
    image = parsed()
    (piece,) = image.pieces
    assert (piece.address, bytes(piece.data)) == (0x100_0000, BODY)
    assert (image.entry, image.end) == (0x100_0200, 0x110_0000)
    assert (image.command_line_size, image.initrd_limit, len(image.header)) == (2047, 0x7FFF_FFFF, 0x202 + 0x6A - 0x1F1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({0x202: ("<4s", b"HdrX")}, "it is no bzImage"),
        ({0x206: ("<H", 0x20B)}, "its boot protocol is 2.11, 2.12 or newer"),
        ({0x236: ("<H", 0)}, "it is a 32-bit kernel"),
        ({0x211: ("<B", 0)}, "it is a 32-bit kernel"),
        ({0x258: ("<Q", 1 << 40)}, "its header gives addresses that make no sense"),
        ({0x258: ("<Q", 0x100_1000)}, "its header gives addresses that make no sense"),
        ({0x260: ("<I", 0xFFFF_FFFF)}, "its header gives addresses that make no sense"),
        ({0x1F4: ("<I", 0xFFFF_FFFF)}, "the file is cut off"),
        ({0x1F4: ("<I", 1)}, "the file is cut off"),
    ],
)
def test_others(changes: dict[int, tuple[str, object]], says: str) -> None:
    with pytest.raises(BadInputError, match=f"kernel vmlinuz: {says}.*; give an x86-64 Linux kernel"):
        parse_bzimage(bzimage(changes), "vmlinuz")


@pytest.mark.parametrize("length", [0, 0x205, 0x207, 0x210, 0x240, 0x260, 2000, 4 * 512, 4 * 512 + 4000])
def test_pieces_of_one(length: int) -> None:
    with pytest.raises(BadInputError):
        parse_bzimage(bzimage()[:length], "vmlinuz")


@settings(max_examples=300)
@given(st.dictionaries(st.integers(0x1F1, 0x270), st.integers(0, 255), max_size=8))
def test_damaged_headers(changes: dict[int, int]) -> None:
    data = bytearray(bzimage())
    for offset, value in changes.items():
        data[offset] = value
    try:
        image = parse_bzimage(bytes(data), "vmlinuz")
    except BadInputError:
        return
    assert image.end <= 2 << 30


@pytest.mark.parametrize("size", [64 << 20, 3 << 30, 8 << 30])
def test_the_memory_map_covers_the_ram_once(size: int) -> None:
    ranges = layout.ram_ranges(size)
    areas = memory_map(ranges)
    assert sum(area.size for area in areas if area.kind == RAM) == size - (layout.HIGH - layout.LOW_END)
    ordered = sorted(areas, key=lambda area: area.base)
    assert all(one.base + one.size <= other.base for one, other in pairwise(ordered))
    assert Area(layout.LOW_END, layout.HIGH - layout.LOW_END, RESERVED) in areas
    assert all(base + length <= layout.HOLE or base >= layout.HOLE_END for base, length in ranges)


def test_what_the_kernel_is_handed() -> None:
    page = boot_parameters(parsed(), memory_map(((0, 64 << 20),)), 0xE_0400, (0x300_0000, 1234))
    assert page[0x202:0x206] == b"HdrS"
    assert struct.unpack_from("<Q", page, 0x70) == (0xE_0400,)
    assert struct.unpack_from("<II", page, 0x218) == (0x300_0000, 1234)
    assert struct.unpack_from("<I", page, 0x228) == (layout.COMMAND_LINE,)
    assert page[0x1E8] == 4
    assert struct.unpack_from("<QQI", page, 0x2D0) == (0, layout.LOW_END, RAM)
    assert command_line(parsed(), "quiet") == b"quiet\0"
    with pytest.raises(UsageError, match="3000 bytes are too long for this kernel, which takes 2047"):
        command_line(parsed(), "x" * 3000)
