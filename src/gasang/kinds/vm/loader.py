"""Kernels: what is in the file, and where it goes (Linux: Documentation/arch/riscv/boot.rst and boot-image-header.rst; ELF: gABI).

Pure functions from bytes to values. The file is the user's, but damaged and foreign ones are told apart and refused in one sentence.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from gasang.core.errors import BadInputError

IMAGE_MAGIC = b"RSC\x05"
GZIP_MAGIC = b"\x1f\x8b"
ELF_MAGIC = b"\x7fELF"
DOS_MAGIC = b"MZ"
"""Begins an Image that is an EFI program too."""
MACHINE_RISCV = 243
MAX_KERNEL = 1 << 30
MACHINES = {3: "i386", 62: "x86-64", 183: "arm64", 40: "arm", 21: "ppc64", 22: "s390x", 8: "mips", 258: "loongarch64"}
ALIGNMENT = 2 << 20


@dataclass(frozen=True)
class Piece:
    """Bytes to place: `address` is guest-physical; memory up to `size` behind them is zeroed."""

    address: int
    data: bytes
    size: int


@dataclass(frozen=True)
class Kernel:
    """A kernel ready to be placed."""

    entry: int
    pieces: tuple[Piece, ...]
    end: int
    """First guest-physical address behind it."""


def load_kernel(data: bytes, name: str, ram_base: int) -> Kernel:
    """Recognise Image, Image.gz and ELF. Raises BadInputError naming the file."""
    if data.startswith(GZIP_MAGIC):
        data = _gunzip(data, name)
    if data.startswith(ELF_MAGIC):
        return _elf(data, name, ram_base)
    if data[0x38:0x3C] == IMAGE_MAGIC:
        return _image(data, name, ram_base)
    raise _refuse(name, _foreign(data) or "it is neither a riscv64 Linux Image, an Image.gz, nor an ELF file")


def _refuse(name: str, cause: str) -> BadInputError:
    return BadInputError(f"kernel {name}", cause, "give a riscv64 kernel with --kernel")


def _foreign(data: bytes) -> str:
    if data[0x202:0x206] == b"HdrS":
        return "it is an x86 bzImage, this machine is riscv64"
    if data[0x38:0x3C] == b"ARM\x64":
        return "it is an arm64 Image, this machine is riscv64"
    return ""


def _gunzip(data: bytes, name: str) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(data, MAX_KERNEL)
    except zlib.error as error:
        raise _refuse(name, f"its gzip data is damaged ({error})") from error
    if not stream.eof:
        raise _refuse(name, "its gzip data is cut off" if not stream.unconsumed_tail else "it is larger than 1 GiB")
    return plain


def _image(data: bytes, name: str, ram_base: int) -> Kernel:
    text_offset, image_size = struct.unpack_from("<QQ", data, 8)
    if image_size < len(data) - ALIGNMENT or image_size > MAX_KERNEL or text_offset > MAX_KERNEL:
        raise _refuse(name, "its header gives sizes that do not fit it")
    # Memory behind the file's end is .bss: that header cannot tell a cut-off file, the EFI one can.
    if len(data) < _efi_size(data):
        raise _refuse(name, "the file is cut off")
    address = ram_base + (text_offset or ALIGNMENT)
    return Kernel(address, (Piece(address, data, max(image_size, len(data))),), address + max(image_size, len(data)))


def _efi_size(data: bytes) -> int:
    """How long an Image is by its sections as an EFI program (PE format, section table); 0 for one that is none."""
    if not data.startswith(DOS_MAGIC):
        return 0
    try:
        (header,) = struct.unpack_from("<I", data, 0x3C)
        count, optional = struct.unpack_from("<H12xH", data, header + 6)
        first = header + 24 + optional
        sections = [struct.unpack_from("<II", data, first + 40 * index + 16) for index in range(count)]
    except struct.error:
        return len(data) + 1
    return max((size + offset for size, offset in sections), default=0)


def _elf(data: bytes, name: str, ram_base: int) -> Kernel:
    try:
        kernel = _elf_pieces(data, name)
    except (struct.error, OverflowError) as error:
        raise _refuse(name, "the ELF file is cut off or its header is damaged") from error
    lowest = min(piece.address for piece in kernel.pieces)
    if lowest < ram_base:
        raise _refuse(name, f"it is to be loaded at {lowest:#x}, this machine's memory begins at {ram_base:#x}")
    return kernel


def _elf_pieces(data: bytes, name: str) -> Kernel:
    if data[4:6] != b"\x02\x01":
        raise _refuse(name, "it is no 64-bit little-endian ELF file")
    (machine,) = struct.unpack_from("<H", data, 18)
    if machine != MACHINE_RISCV:
        raise _refuse(name, f"it is for {MACHINES.get(machine, f'ELF machine {machine}')}, this machine is riscv64")
    entry, table = struct.unpack_from("<QQ", data, 24)
    entry_size, count = struct.unpack_from("<HH", data, 54)
    pieces: list[Piece] = []
    total = 0
    start = None
    for index in range(count):
        kind, _, offset, virtual, physical, in_file, in_memory = struct.unpack_from("<IIQQQQQ", data, table + index * max(entry_size, 56))
        if kind != 1 or in_memory == 0:
            continue
        if offset + in_file > len(data):
            raise _refuse(name, "the ELF file is cut off")
        total += in_memory
        if in_file > in_memory or total > MAX_KERNEL or physical + in_memory > 1 << 64:
            raise _refuse(name, "an ELF segment's sizes make no sense")
        pieces.append(Piece(physical, data[offset : offset + in_file], in_memory))
        if virtual <= entry < virtual + in_memory:
            start = physical + entry - virtual
    if not pieces or start is None:
        raise _refuse(name, "the ELF file has no segment with its entry point")
    return Kernel(start, tuple(pieces), max(piece.address + piece.size for piece in pieces))
