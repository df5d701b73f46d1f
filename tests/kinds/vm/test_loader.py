"""Kernels: those that fit are placed, all others are refused in one sentence that says why."""

from __future__ import annotations

import gzip
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.kinds.vm.loader import ALIGNMENT, Piece, kernel_architecture, load_kernel
from support.kernels import RAM_BASE, efi_image, elf, image

CODE = b"\x13\0\0\0" * 8
START = RAM_BASE + ALIGNMENT


def test_an_image_is_placed_where_its_header_says() -> None:
    data = image(CODE, size=0x5000, text_offset=0x40_0000)
    kernel = load_kernel(data, "Image", RAM_BASE)
    address = RAM_BASE + 0x40_0000
    assert kernel.entry == address
    assert kernel.pieces == (Piece(address, data, 0x5000),)
    assert kernel.end == address + 0x5000


def test_an_image_without_an_offset_goes_where_kernels_go() -> None:
    assert load_kernel(image(CODE, text_offset=0), "Image", RAM_BASE).entry == START


@pytest.mark.parametrize("data", [image(CODE), efi_image(CODE), elf(CODE)])
def test_what_is_compressed_is_the_same_kernel(data: bytes) -> None:
    assert load_kernel(gzip.compress(data), "Image.gz", RAM_BASE) == load_kernel(data, "Image", RAM_BASE)


def test_an_elf_file_is_placed_by_its_segments() -> None:
    kernel = load_kernel(elf(CODE, in_memory=0x2000, virtual=0xFFFF_FFFF_8000_0000, entry=0xFFFF_FFFF_8000_0010), "vmlinux", RAM_BASE)
    assert kernel.entry == START + 0x10
    assert kernel.pieces == (Piece(START, CODE, 0x2000),)
    assert kernel.end == START + 0x2000


def bzimage() -> bytes:
    return bytes(0x202) + b"HdrS" + bytes(100)


REFUSED = {
    "nothing": (b"", "neither a riscv64 Linux Image"),
    "text": (b"#!/bin/sh\n" * 20, "neither a riscv64 Linux Image"),
    "x86 bzImage": (bzimage(), "x86 bzImage, this machine is riscv64"),
    "arm64 Image": (image(CODE, magic=b"ARM\x64"), "arm64 Image, this machine is riscv64"),
    "gzip of an arm64 Image": (gzip.compress(image(CODE, magic=b"ARM\x64")), "arm64 Image"),
    "cut-off gzip": (gzip.compress(image(CODE))[:-9], "gzip data is cut off"),
    "corrupt gzip": (gzip.compress(image(CODE))[:-8] + bytes(8), "gzip data is damaged"),
    "gzip's magic alone": (b"\x1f\x8b", "gzip data is cut off"),
    "cut-off Image": (efi_image(CODE)[:-1], "the file is cut off"),
    "Image cut off in its header": (efi_image(CODE)[:90], "the file is cut off"),
    "Image of an absurd size": (image(CODE, size=1 << 40), "sizes that do not fit"),
    "Image of an absurd offset": (image(CODE, text_offset=1 << 63), "sizes that do not fit"),
    "Image larger than it says": (image(bytes(3 << 20), size=4096), "sizes that do not fit"),
    "ELF whose sections are nowhere": (
        elf(CODE)[:40] + struct.pack("<Q", 1 << 63) + elf(CODE)[48:58] + struct.pack("<HHH", 64, 3, 0) + elf(CODE)[64:],
        "its section table lies beyond its end",
    ),
    "ELF for x86-64": (elf(CODE, machine=62), "it is for x86-64, this machine is riscv64"),
    "ELF for something rare": (elf(CODE, machine=4711), "it is for processor 4711"),
    "32-bit ELF": (b"\x7fELF\x01\x01" + bytes(100), "it is not for a 64-bit little-endian processor"),
    "big-endian ELF": (b"\x7fELF\x02\x02" + bytes(100), "it is not for a 64-bit little-endian processor"),
    "ELF of half a header": (elf(CODE)[:40], "its header lies beyond its end"),
    "ELF of a header": (elf(CODE)[:64], "program header table lies beyond its end"),
    "ELF without its segment": (elf(CODE)[:-1], "a segment lies beyond its end"),
    "ELF whose program headers are nowhere": (
        elf(CODE)[:32] + struct.pack("<Q", 1 << 63) + elf(CODE)[40:],
        "program header table lies beyond its end",
    ),
    "ELF with nothing to load": (elf(CODE, kind=2), "no segment with its entry point"),
    "ELF that starts elsewhere": (elf(CODE, entry=START + 0x1000), "no segment with its entry point"),
    "ELF larger in the file than in memory": (elf(CODE, in_memory=4), "a segment is larger in the file than in memory"),
    "ELF of an absurd size": (elf(CODE, in_memory=1 << 40), "sizes make no sense"),
    "ELF beyond the address space": (elf(CODE, physical=(1 << 64) - 8), "sizes make no sense"),
    "ELF below memory": (elf(CODE, address=0x1_0000), "to be loaded at 0x10000, this machine's memory begins at 0x80000000"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_in_one_sentence(what: str) -> None:
    data, cause = REFUSED[what]
    with pytest.raises(BadInputError) as caught:
        load_kernel(data, "boot/thing", RAM_BASE)
    assert str(caught.value).startswith("kernel boot/thing: ")
    assert cause in caught.value.cause
    assert caught.value.hint == "give a riscv64 kernel with --kernel"
    assert "\n" not in str(caught.value)


def place(data: bytes) -> None:
    """Load; what is accepted lies within memory and holds bytes of the file."""
    try:
        kernel = load_kernel(data, "garbage", RAM_BASE)
    except BadInputError:
        return
    assert kernel.pieces
    assert all(piece.address >= RAM_BASE and len(piece.data) <= piece.size for piece in kernel.pieces)
    assert kernel.end == max(piece.address + piece.size for piece in kernel.pieces)
    assert any(piece.address <= kernel.entry < piece.address + piece.size for piece in kernel.pieces)


KINDS = {"image": image(CODE), "efi": efi_image(CODE), "elf": elf(CODE), "gzip": gzip.compress(image(CODE))}


@given(start=st.sampled_from([b"", b"\x1f\x8b\x08", b"\x7fELF\x02\x01", b"MZ"]), rest=st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_garbage_is_refused(start: bytes, rest: bytes) -> None:
    place(start + rest)


@given(kind=st.sampled_from(sorted(KINDS)), at=st.integers(0, 250), value=st.binary(min_size=1, max_size=8), cut=st.integers(0, 700))
@settings(max_examples=1000, deadline=None)
def test_damaged_kernels_are_placed_or_refused(kind: str, at: int, value: bytes, cut: int) -> None:
    data = KINDS[kind]
    place((data[:at] + value + data[at + len(value) :])[: max(len(data) - cut, 0) if cut < 300 else None])


@pytest.mark.parametrize(
    ("data", "architecture"),
    [
        (image(CODE), "riscv64"),
        (efi_image(CODE), "riscv64"),
        (elf(CODE), "riscv64"),
        (elf(CODE, machine=62), "amd64"),
        (elf(CODE, machine=183), ""),
        (bzimage(), "amd64"),
        (b"", ""),
        (b"\x1f\x8b", ""),
        (b"\x1f\x8b" + bytes(20), ""),
    ],
)
def test_whose_kernel_it_is(data: bytes, architecture: str) -> None:
    assert kernel_architecture(data) == architecture
    assert kernel_architecture(gzip.compress(data)) == architecture
