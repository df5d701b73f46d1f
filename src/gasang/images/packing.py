"""Raw disks packed for the store: one Zstandard stream; runs of zeroes cost next to nothing in it and become holes again when unpacked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from gasang.core.errors import BadInputError
from gasang.images.spool import out_of_space

CHUNK = 1 << 20
HOLE = 1 << 16
_ZEROES = bytes(HOLE)


class Writer(Protocol):
    """Where packed bytes go."""

    def write(self, data: bytes, /) -> int:
        """Take bytes."""
        ...


def pack(disk: Path, out: Writer, advance: Callable[[int], None] = lambda done: None) -> None:
    """Pack a raw disk. `advance` hears of bytes of the disk done."""
    worker = zstandard.ZstdCompressor(level=3, threads=-1).compressobj(size=disk.stat().st_size)
    with disk.open("rb") as stream:
        while data := stream.read(CHUNK):
            packed = worker.compress(data)
            if packed:
                out.write(packed)
            advance(len(data))
    out.write(worker.flush())


def unpack(packed: Path, disk: Path, size: int, subject: str, advance: Callable[[int], None] = lambda done: None) -> None:
    """Make the raw disk again, `size` bytes, with holes.

    Raises BadInputError for a damaged or cut-off stream, OutOfSpaceError on a full disk; no half-made disk stays.
    """
    temporary = disk.with_name(f".new-{disk.name}-{os.getpid()}")
    try:
        with packed.open("rb") as stream, temporary.open("wb") as out:
            total = _copy(stream, out, size, advance)
            if total != size:
                raise BadInputError(subject, f"its disk is {total} bytes, not {size}", "remove it and pull it again")
            out.truncate(size)
        temporary.replace(disk)
    except zstandard.ZstdError as error:
        raise BadInputError(subject, f"its disk is damaged ({error})", "remove it and pull it again") from error
    except OSError as error:
        raise out_of_space(error, disk.parent) from error
    finally:
        temporary.unlink(missing_ok=True)


def _copy(stream: BinaryIO, out: BinaryIO, size: int, advance: Callable[[int], None]) -> int:
    total = 0
    reader = zstandard.ZstdDecompressor().stream_reader(stream)
    while data := reader.read(HOLE):
        total += len(data)
        if total > size:
            break
        if data == _ZEROES[: len(data)]:
            out.seek(len(data), os.SEEK_CUR)
        else:
            out.write(data)
        advance(len(data))
    return total
