"""Kernels: what is in the file, and where it goes (Linux: Documentation/arch/riscv/boot.rst and boot-image-header.rst).

Pure functions from bytes to values. The file is the user's, but damaged and foreign ones are told apart and refused in one sentence.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from gasang.core.errors import BadInputError

IMAGE_MAGIC = b"RSC\x05"
GZIP_MAGIC = b"\x1f\x8b"
ELF_MAGIC = b"\x7fELF"
BZIMAGE_MAGIC = b"HdrS"
DOS_MAGIC = b"MZ"
"""Begins an Image that is an EFI program too."""
MAX_KERNEL = 1 << 30
ALIGNMENT = 2 << 20
_HEAD = 1 << 12
"""Bytes that tell what a kernel is."""


Content = bytes | memoryview
"""Of a file: as it was read, or as it is mapped."""


@dataclass(frozen=True)
class Piece:
    """Bytes to place: `address` is guest-physical; memory up to `size` behind them is zeroed."""

    address: int
    data: Content
    size: int


@dataclass(frozen=True)
class Kernel:
    """A kernel ready to be placed."""

    entry: int
    pieces: tuple[Piece, ...]
    end: int
    """First guest-physical address behind it."""


def load_kernel(data: Content, name: str, ram_base: int) -> Kernel:
    """Recognise Image, Image.gz and ELF. Raises BadInputError naming the file."""
    if _begins(data, GZIP_MAGIC):
        data = expanded(data, name, _refuse)
    if _begins(data, ELF_MAGIC):
        return _elf(bytes(data), name, ram_base)
    if data[0x38:0x3C] == IMAGE_MAGIC:
        return _image(data, name, ram_base)
    raise _refuse(name, _foreign(data) or "it is neither a riscv64 Linux Image, an Image.gz, nor an ELF file")


def kernel_architecture(data: Content) -> str:
    """Whose kernel it is, by its first bytes: "riscv64", "amd64", or "" where that cannot be told or no machine here is of it.

    A packed one is looked into; whether it is whole is not asked.
    """
    if _begins(data, GZIP_MAGIC):
        with suppress(zlib.error):
            data = zlib.decompressobj(wbits=31).decompress(data, _HEAD)
    if _begins(data, ELF_MAGIC):
        return {243: "riscv64", 62: "amd64"}.get(int.from_bytes(data[18:20], "little"), "")
    if data[0x38:0x3C] == IMAGE_MAGIC:
        return "riscv64"
    return "amd64" if data[0x202:0x206] == BZIMAGE_MAGIC else ""


def _begins(data: Content, magic: bytes) -> bool:
    return data[: len(magic)] == magic


def _refuse(name: str, cause: str) -> BadInputError:
    return BadInputError(f"kernel {name}", cause, "give a riscv64 kernel with --kernel")


def _foreign(data: Content) -> str:
    if data[0x202:0x206] == BZIMAGE_MAGIC:
        return "it is an x86 bzImage, this machine is riscv64"
    if data[0x38:0x3C] == b"ARM\x64":
        return "it is an arm64 Image, this machine is riscv64"
    return ""


def expanded(data: Content, name: str, refuse: Callable[[str, str], BadInputError]) -> bytes:
    """What a kernel packed with gzip holds. Raises what `refuse` makes of the name and a cause."""
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(data, MAX_KERNEL)
    except zlib.error as error:
        raise refuse(name, f"its gzip data is damaged ({error})") from error
    if not stream.eof:
        raise refuse(name, "its gzip data is cut off" if not stream.unconsumed_tail else "it is larger than 1 GiB")
    return plain


def _image(data: Content, name: str, ram_base: int) -> Kernel:
    text_offset, image_size = struct.unpack_from("<QQ", data, 8)
    if image_size < len(data) - ALIGNMENT or image_size > MAX_KERNEL or text_offset > MAX_KERNEL:
        raise _refuse(name, "its header gives sizes that do not fit it")
    # Memory behind the file's end is .bss: that header cannot tell a cut-off file, the EFI one can.
    if len(data) < _efi_size(data):
        raise _refuse(name, "the file is cut off")
    address = ram_base + (text_offset or ALIGNMENT)
    return Kernel(address, (Piece(address, data, max(image_size, len(data))),), address + max(image_size, len(data)))


def _efi_size(data: Content) -> int:
    """How long an Image is by its sections as an EFI program (PE format, section table); 0 for one that is none."""
    if not _begins(data, DOS_MAGIC):
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
    """The segments to load, at their physical addresses; core.elf has checked that they lie within the file."""
    from gasang.core.elf import PT_LOAD, RISCV, parse_elf  # most kernels are no ELF files, and a start has no time for it

    try:
        elf = parse_elf(data, name)
    except BadInputError as error:
        raise _refuse(name, error.cause) from error
    if elf.machine != RISCV:
        raise _refuse(name, f"it is for {elf.machine_name}, this machine is riscv64")
    loaded = [segment for segment in elf.segments if segment.kind == PT_LOAD and segment.memory_size]
    if sum(segment.memory_size for segment in loaded) > MAX_KERNEL or any(s.physical + s.memory_size > 1 << 64 for s in loaded):
        raise _refuse(name, "an ELF segment's sizes make no sense")
    starts = [s.physical + elf.entry - s.address for s in loaded if s.address <= elf.entry < s.address + s.memory_size]
    if not starts:
        raise _refuse(name, "the ELF file has no segment with its entry point")
    lowest = min(segment.physical for segment in loaded)
    if lowest < ram_base:
        raise _refuse(name, f"it is to be loaded at {lowest:#x}, this machine's memory begins at {ram_base:#x}")
    pieces = tuple(Piece(segment.physical, segment.data, segment.memory_size) for segment in loaded)
    return Kernel(starts[-1], pieces, max(piece.address + piece.size for piece in pieces))
