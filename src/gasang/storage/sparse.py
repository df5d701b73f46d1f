"""Disks with holes: copying them, and packing them into a compressed stream and back.

A packed disk is a Zstandard stream of: the magic, the size (u64), then for each run of data its offset and length (u64 each) and the
bytes; a run of length 0 at offset `size`; the CRC-32 of all that (u32). Numbers are little-endian. Runs ascend and do not overlap.
`unpack` takes nothing of that on trust.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from gasang.core.errors import BadInputError, NotFoundError, PermissionDeniedError
from gasang.host.holes import data_runs
from gasang.storage.made import new_file

Progress = Callable[[int, int], None]
"""Told how many bytes of the disk are done, holes included, and its size."""

SIZE_MAX = 16 << 40
"""The largest disk that `unpack` makes unless told otherwise."""

_MAGIC = b"gasang disk\0\0\0\0\1"
_RUN = struct.Struct("<QQ")
_CHUNK = 1 << 20
_GRAIN = 1 << 16
"""Zeroes are looked for in pieces of this size: finer ones cost more in calls than they save."""
_ZEROES = bytes(_GRAIN)
_LEVEL = 3
_WINDOW_MAX = 1 << 27


def copy_sparse(src: Path, dst: Path, progress: Progress | None = None) -> None:
    """Copy a disk; holes and runs of zeroes become holes. `dst` appears only when complete.

    Raises NotFoundError, PermissionDeniedError or BadInputError for a source that cannot be read, OutOfSpaceError where the host's
    disk is full, OSError where it fails otherwise.
    """
    with _source(src) as source, new_file(dst) as target:
        size = _size(source)
        target.truncate(size)
        for offset, data in _data(source, size):
            target.seek(offset)
            target.write(data)
            _tell(progress, offset + len(data), size)
        _tell(progress, size, size)


def pack(raw: Path, out: BinaryIO, progress: Progress | None = None) -> None:
    """Write the disk `raw` to `out`, packed. The same content gives the same bytes, wherever its holes are.

    Raises NotFoundError, PermissionDeniedError or BadInputError for a disk that cannot be read, OSError where the host fails.
    """
    compressor = zstandard.ZstdCompressor(level=_LEVEL, threads=max(1, min(os.cpu_count() or 1, 8)))
    with _source(raw) as source, compressor.stream_writer(out, closefd=False) as stream:
        size = _size(source)
        total = _put(stream, _MAGIC + struct.pack("<Q", size), 0)
        for offset, data in _data(source, size):
            total = _put(stream, _RUN.pack(offset, len(data)), total)
            total = _put(stream, data, total)
            _tell(progress, offset + len(data), size)
        total = _put(stream, _RUN.pack(size, 0), total)
        stream.write(struct.pack("<I", total))
        _tell(progress, size, size)


def unpack(in_: BinaryIO, raw: Path, progress: Progress | None = None, *, limit: int = SIZE_MAX) -> None:
    """Make the disk `raw` of at most `limit` bytes from what `pack` wrote. `raw` appears only when complete and verified.

    Raises BadInputError for a stream that is cut short, damaged, foreign or lies, OutOfSpaceError where the host's disk is full.
    """
    reader = _Reader(in_, f"packed disk for {raw}")
    with new_file(raw) as target:
        size = reader.header(limit)
        target.truncate(size)
        end = 0
        while (run := reader.run(end, size)) is not None:
            offset, length = run
            end = offset + length
            target.seek(offset)
            while offset < end:
                data = reader.take(min(end - offset, _CHUNK))
                _write_data(target, offset, data)
                offset += len(data)
                _tell(progress, offset, size)
        reader.finish()
        _tell(progress, size, size)


class _Reader:
    """The checked accessor to a packed stream: every number it returns is within what the stream promised before."""

    def __init__(self, in_: BinaryIO, subject: str) -> None:
        # Reading across frames makes whatever follows the first frame either data or an error, never ignored.
        self._stream = zstandard.ZstdDecompressor(max_window_size=_WINDOW_MAX).stream_reader(in_, read_across_frames=True, closefd=False)
        self._subject = subject
        self._total = 0

    def _bad(self, cause: str) -> BadInputError:
        return BadInputError(self._subject, cause, "fetch or make it again")

    def take(self, length: int) -> bytes:
        """Exactly `length` bytes; raise BadInputError if there are fewer."""
        parts = []
        left = length
        while left:
            try:
                data = self._stream.read(left)
            except zstandard.ZstdError as error:
                raise self._bad("it is damaged, or no packed disk") from error
            if not data:
                raise self._bad("it ends early")
            parts.append(data)
            left -= len(data)
        result = b"".join(parts)
        self._total = zlib.crc32(result, self._total)
        return result

    def header(self, limit: int) -> int:
        """The disk's size."""
        if self.take(len(_MAGIC)) != _MAGIC:
            raise self._bad("it is no packed disk")
        (size,) = struct.unpack("<Q", self.take(8))
        if size > limit:
            raise self._bad(f"it claims to hold {size} bytes, more than the {limit} allowed")
        return int(size)

    def run(self, end: int, size: int) -> tuple[int, int] | None:
        """The next run after `end`, None at the end of them."""
        offset, length = _RUN.unpack(self.take(_RUN.size))
        if offset == size and not length:
            return None
        if offset < end or not length or offset + length > size:
            raise self._bad(f"its run of {length} bytes at {offset} cannot be")
        return offset, length

    def finish(self) -> None:
        """Check the sum, and that nothing follows."""
        total = self._total
        if self.take(4) != struct.pack("<I", total):
            raise self._bad("its checksum is wrong")
        try:
            rest = self._stream.read(1)
        except zstandard.ZstdError as error:
            raise self._bad("something foreign follows its end") from error
        if rest:
            raise self._bad("something foreign follows its end")


def _put(stream: zstandard.ZstdCompressionWriter, data: bytes, total: int) -> int:
    stream.write(data)
    return zlib.crc32(data, total)


def _data(source: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """The pieces of a disk that are not zero, cut the same way wherever the file's holes are."""
    for start, length in _merged(data_runs(source.fileno(), size), size):
        for offset in range(start, start + length, _CHUNK):
            source.seek(offset)
            data = source.read(min(_CHUNK, start + length - offset))
            if len(data) < min(_CHUNK, start + length - offset):
                raise OSError(errno.EIO, f"{source.name} has become shorter")
            yield from _non_zero(offset, data)


def _merged(runs: Iterator[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """The runs widened to whole chunks, no chunk twice."""
    done = 0
    for start, length in runs:
        first = max(start // _CHUNK * _CHUNK, done)
        done = min(-(-(start + length) // _CHUNK) * _CHUNK, size)
        if first < done:
            yield first, done - first


def _non_zero(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """The runs of grains of `data`, which lies at `offset`, that are not all zero."""
    start = -1
    for at in range(0, len(data) + 1, _GRAIN):
        grain = data[at : at + _GRAIN]
        if grain and grain != _ZEROES[: len(grain)]:
            start = at if start < 0 else start
        elif start >= 0:
            yield offset + start, data[start:at]
            start = -1
    if start >= 0:
        yield offset + start, data[start:]


def _write_data(target: BinaryIO, offset: int, data: bytes) -> None:
    for at, piece in _non_zero(offset, data):
        target.seek(at)
        target.write(piece)


def _tell(progress: Progress | None, done: int, size: int) -> None:
    if progress:
        progress(done, size)


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _source(path: Path) -> BinaryIO:
    try:
        return open(path, "rb", buffering=0)
    except FileNotFoundError as error:
        raise NotFoundError(f"disk {path}", "there is no such file", "check its path") from error
    except PermissionError as error:
        raise PermissionDeniedError(f"disk {path}", "it cannot be opened", "change its permissions") from error
    except OSError as error:
        raise BadInputError(f"disk {path}", f"it cannot be opened ({error.strerror})", "name a disk image") from error
