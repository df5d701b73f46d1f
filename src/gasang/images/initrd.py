"""Initial RAM disks checked before a kernel is given one: it would panic over a damaged one, and tell neither the file nor the cause.

What Linux takes (init/initramfs.c, init/do_mounts_rd.c; Documentation/driver-api/early-userspace/buffer-format.rst): cpio archives,
plain ones at multiples of four bytes and compressed ones anywhere, one after the other with zeroes between; or a file system's image.
Pure: from bytes to a size. Nothing is kept of what is expanded, so a large one costs time and no memory.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Iterator
from contextlib import suppress
from struct import Struct

from gasang.core.errors import BadInputError
from gasang.images.compression import STEP, expand_first, sniff

_HINT = "give a complete one with --initrd"
_HEADER = 110
_MAGICS = (b"070701", b"070702")
_NUMBERS = Struct(">13I")
_SIZE, _LENGTH = 6, 11
"""Of a file, and of its name: which of the numbers."""
_TRAILER = b"TRAILER!!!\0"
_LONGEST_NAME = 4096
"""PATH_MAX, with the zero byte at its end."""
_NOT_EXPANDED = (b"BZh", b"\x5d\0\0", b"\x89LZO", b"\x02\x21\x4c\x18")
"""What bzip2, LZMA, LZO and LZ4 begin with: kernels know them, and we cannot look inside."""
_FILE_SYSTEMS = (
    (0x438, b"\x53\xef"),
    (0, b"hsqs"),
    (0, b"\x45\x3d\xcd\x28"),
    (0, b"-rom1fs-"),
    (0x410, b"\x7f\x13"),
    (0x410, b"\x8f\x13"),
)
"""Where an image of ext2, squashfs, cramfs, romfs and minix has its magic number."""
_HEAD = 0x440


def unpacked_size(data: bytes, name: str) -> int:
    """How many bytes of files the initial RAM disk `data` holds, as far as we can look into it.

    Raise BadInputError, about the file `name`, for what no kernel could unpack: it is foreign, damaged, or cut off.
    """
    subject = f"initrd {name}"
    try:
        return _size(data, subject)
    except BadInputError as fault:
        raise BadInputError(subject, fault.cause, _HINT) from fault


def _size(data: bytes, subject: str) -> int:
    if not data.strip(b"\0"):
        raise BadInputError(subject, "it is empty")
    if _is_file_system(data):
        return len(data)
    total = 0
    rest = data
    while rest := rest.lstrip(b"\0"):
        position = len(data) - len(rest)
        if rest.startswith(_MAGICS) and position % 4 == 0:
            size, rest = _plain(rest, subject)
        elif form := sniff(rest[:6]):
            size, rest = _compressed(rest, form, subject)
        elif rest.startswith(_NOT_EXPANDED):
            break
        else:
            what = f"what stands at byte {position} is no archive" if position else "it is neither a cpio archive nor a file system's image"
            raise BadInputError(subject, what)
        total += size
    return total


def _is_file_system(head: bytes) -> bool:
    return any(head[offset : offset + len(magic)] == magic for offset, magic in _FILE_SYSTEMS)


def _plain(data: bytes, subject: str) -> tuple[int, bytes]:
    """The size of what the archive holds that `data` begins with, and what stands behind it."""
    source = _Source((data[start : start + STEP] for start in range(0, len(data), STEP)), subject)
    return _archive(source, subject), data[source.position :]


def _compressed(data: bytes, form: str, subject: str) -> tuple[int, bytes]:
    """The same for the compressed stream that `data` begins with."""
    behind: list[bytes] = []

    def pieces() -> Iterator[bytes]:
        behind.append((yield from expand_first(data, form, subject)))

    source = _Source(pieces(), subject)
    total = 0
    if _is_file_system(source.peek(_HEAD)):
        while source.peek(1):
            total += source.skip(STEP, exactly=False)
    while source.after_zeroes():
        total += _archive(source, subject)
    return total, behind[0]


class _Source:
    """Bytes in pieces, taken in order."""

    def __init__(self, pieces: Iterator[bytes], subject: str) -> None:
        self._pieces = pieces
        self._subject = subject
        self._here = b""
        self._offset = 0
        self.position = 0

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end."""
        while len(self._here) - self._offset < count:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._here, self._offset = self._here[self._offset :] + piece, 0
        return self._here[self._offset : self._offset + count]

    def take(self, count: int) -> bytes:
        """The next `count` bytes, which may be few; raise BadInputError where the end comes before."""
        data = self.peek(count)
        self._advance(len(data))
        if len(data) < count:
            raise BadInputError(self._subject, "its archive ends early")
        return data

    def skip(self, count: int, *, exactly: bool = True) -> int:
        """Pass over `count` bytes, however many; how many that were. Raise BadInputError where the end comes before, unless it may."""
        left = count
        while left and self.peek(1):
            step = min(left, len(self._here) - self._offset)
            self._advance(step)
            left -= step
        if left and exactly:
            raise BadInputError(self._subject, "its archive ends early")
        return count - left

    def after_zeroes(self) -> bool:
        """Pass over zeroes; whether something follows."""
        while self.peek(1) == b"\0":
            zeroes = len(self._here) - self._offset - len(self._here[self._offset :].lstrip(b"\0"))
            self._advance(zeroes)
        return self.peek(1) != b""

    def _advance(self, count: int) -> None:
        self._offset += count
        self.position += count


def _archive(source: _Source, subject: str) -> int:
    """Pass over one archive; the bytes of its files."""
    total = 0
    while True:
        start = source.position
        header = source.take(_HEADER)
        fields = _fields(header)
        if not 0 < fields[_LENGTH] <= _LONGEST_NAME:
            raise BadInputError(subject, "a header in its archive is damaged")
        size, length = fields[_SIZE], fields[_LENGTH]
        if source.take(length) == _TRAILER:
            return total
        source.skip(-(source.position - start) % 4)
        source.skip(size + -size % 4)
        total += size


def _fields(header: bytes) -> tuple[int, ...]:
    """A header's thirteen numbers; zeroes, which no header has, where it is none."""
    if header.startswith(_MAGICS):
        with suppress(ValueError):
            return _NUMBERS.unpack(unhexlify(header[6:]))
    return (0,) * 13
