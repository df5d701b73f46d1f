"""Compressed clusters: raw deflate with a window of 4 KiB, or Zstandard (docs/interop/qcow2.txt, "Compressed Clusters Descriptor")."""

from __future__ import annotations

import zlib

from gasang.core.errors import BadInputError
from gasang.storage.images.qcow2.header import ZSTD


def expand(data: bytes, size: int, kind: int, name: str) -> bytes:
    """The `size` bytes of a cluster. Sectors behind the compressed bytes are ignored. Raises BadInputError for damaged ones."""
    try:
        made = _zstd(data, size) if kind == ZSTD else zlib.decompressobj(-12).decompress(data, size)
    except (zlib.error, ValueError) as error:
        raise BadInputError(f"disk {name}", f"a compressed cluster is damaged ({error})", "check the image") from error
    if len(made) != size:
        raise BadInputError(f"disk {name}", "a compressed cluster is cut short", "check the image")
    return made


def _zstd(data: bytes, size: int) -> bytes:
    """Frames until `size` bytes are there; a window larger than a cluster can need is refused. Raises ValueError for damaged ones."""
    import zstandard  # most images have no such clusters

    made = b""
    source = zstandard.ZstdDecompressor(max_window_size=1 << 23).stream_reader(data, read_across_frames=True)
    try:
        while len(made) < size:
            piece = source.read(size - len(made))
            if not piece:
                break
            made += piece
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    return made


def shrink(data: bytes, kind: int) -> bytes | None:
    """A cluster compressed, None where it would be no smaller."""
    if kind == ZSTD:
        import zstandard

        packed = zstandard.ZstdCompressor(level=3).compress(data)
    else:
        worker = zlib.compressobj(6, zlib.DEFLATED, -12, 9)
        packed = worker.compress(data) + worker.flush()
    return packed if len(packed) < len(data) - 512 else None
