"""A kernel for a PC: what is in the file, and how it is entered.

A bzImage is entered by Linux's 64-bit boot protocol (bzimage.py). An ELF file is a vmlinux: entered as PVH has it where a note of it gives
such an entry (elf.py), else by the 64-bit boot protocol too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gasang.core.errors import BadInputError
from gasang.kinds.vm.loader import ELF_MAGIC, GZIP_MAGIC, Kernel, expanded


class Protocol(Enum):
    """How a kernel is entered."""

    LINUX = "Linux's 64-bit boot protocol"
    PVH = "PVH"


@dataclass(frozen=True)
class PcKernel(Kernel):
    """`header` is the setup header that goes into Linux's boot parameters."""

    protocol: Protocol
    header: bytes
    command_line_size: int
    initrd_limit: int
    """The highest address an initrd's last byte may have."""


def load_pc_kernel(data: bytes, name: str) -> PcKernel:
    """Recognise bzImage and ELF, packed with gzip or not. Raises BadInputError naming the file."""
    from gasang.kinds.vm.x86.bzimage import is_bzimage, parse_bzimage
    from gasang.kinds.vm.x86.elf import parse_vmlinux

    if data.startswith(GZIP_MAGIC):
        data = expanded(data, name, refuse)
    if data.startswith(ELF_MAGIC):
        return parse_vmlinux(data, name)
    if is_bzimage(data):
        return parse_bzimage(data, name)
    raise refuse(name, foreign(data) or "it is neither a bzImage nor an ELF file")


def foreign(data: bytes) -> str:
    """What it is instead, as a sentence's part; "" where that is not known."""
    if data[0x38:0x3C] == b"RSC\x05":
        return "it is a riscv64 Image, this machine is amd64"
    if data[0x38:0x3C] == b"ARM\x64":
        return "it is an arm64 Image, this machine is amd64"
    return ""


def refuse(name: str, cause: str) -> BadInputError:
    """The error about a kernel that is none for us."""
    return BadInputError(f"kernel {name}", cause, "give an x86-64 Linux kernel (vmlinuz or vmlinux) with --kernel")
