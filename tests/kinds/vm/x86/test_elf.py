"""ELF kernels for a PC: how they are entered, and the ones that are refused."""

from __future__ import annotations

import gzip
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.kinds.vm.x86 import layout
from gasang.kinds.vm.x86.boot_parameters import Area
from gasang.kinds.vm.x86.kernel import PcKernel, Protocol, load_pc_kernel
from gasang.kinds.vm.x86.pvh import start_info
from support.bzimages import bzimage
from support.kernels import elf, image
from support.vmlinuxes import ADDRESS, vmlinux


def loaded(data: bytes) -> PcKernel:
    return load_pc_kernel(data, "vmlinux")


def test_one_without_a_note_is_entered_as_linux_is() -> None:
    kernel = loaded(vmlinux(b"\xf4" * 64))
    assert (kernel.protocol, kernel.entry, kernel.end) == (Protocol.LINUX, ADDRESS, ADDRESS + 64)
    assert kernel.header[0x202 - 0x1F1 :][:4] == b"HdrS"
    assert kernel.header[0x1FE - 0x1F1 :][:2] == b"\x55\xaa"


@pytest.mark.parametrize("width", [4, 8])
def test_one_with_a_note_is_entered_where_it_says(width: int) -> None:
    kernel = loaded(gzip.compress(vmlinux(b"\xf4" * 64, pvh=(ADDRESS + 32).to_bytes(width, "little"))))
    assert (kernel.protocol, kernel.entry) == (Protocol.PVH, ADDRESS + 32)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (elf(), "it is for riscv, this machine is amd64"),
        (image(), "it is a riscv64 Image, this machine is amd64"),
        (b"\x1f\x8b" + bytes(20), "its gzip data is damaged"),
        (b"#!/bin/sh\n" + bytes(600), "it is neither a bzImage nor an ELF file"),
        (vmlinux(b"\xf4", address=0x8000), "below 1 MiB"),
        (vmlinux(b"\xf4", in_memory=2 << 30), "an ELF segment's sizes make no sense"),
        (vmlinux(b"\xf4", pvh=(5).to_bytes(8, "little")), "the ELF file has no segment with its entry point"),
        (vmlinux(b"\xf4")[:70], "lies beyond its end"),
    ],
)
def test_others(data: bytes, says: str) -> None:
    with pytest.raises(BadInputError, match=rf"kernel vmlinux: .*{says}.*; give an x86-64 Linux kernel"):
        loaded(data)


def test_a_bzimage_is_one_too() -> None:
    assert loaded(bzimage()).protocol is Protocol.LINUX


@settings(max_examples=300)
@given(st.dictionaries(st.integers(0, 250), st.integers(0, 255), max_size=8))
def test_damaged_ones(changes: dict[int, int]) -> None:
    data = bytearray(vmlinux(b"\xf4" * 64, pvh=ADDRESS.to_bytes(8, "little")))
    for offset, value in changes.items():
        data[offset] = value
    try:
        kernel = loaded(bytes(data))
    except BadInputError:
        return
    assert kernel.pieces[0].address >= layout.HIGH
    assert kernel.end <= layout.HOLE


def test_what_pvh_is_handed() -> None:
    areas = [Area(0, 0x9F000, 1), Area(0x10_0000, 64 << 20, 1)]
    page = start_info(layout.BOOT_PARAMETERS, areas, 0xE0040, (0x300_0000, 5000))
    magic, version, _, modules, module_at, command_line, rsdp, map_at, entries, _ = struct.unpack_from("<IIIIQQQQII", page)
    assert (magic, version, modules, command_line, rsdp, entries) == (0x336E_C578, 1, 1, layout.COMMAND_LINE, 0xE0040, 2)
    assert struct.unpack_from("<QQ", page, module_at - layout.BOOT_PARAMETERS) == (0x300_0000, 5000)
    assert struct.unpack_from("<QQI", page, map_at - layout.BOOT_PARAMETERS + 24) == (0x10_0000, 64 << 20, 1)
    assert struct.unpack_from("<IIIIQ", start_info(0, areas, 0, None))[3:] == (0, 0)
