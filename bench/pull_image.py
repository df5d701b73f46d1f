"""The image that pulls are measured with: ten layers, 22,000 files, 225 MiB compressed; the same bytes each time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime

from gasang.images.containers import Containers
from gasang.images.content.content import Content
from gasang.images.layers.pack import Layer, LayerWriter
from gasang.images.layers.write import FOLDER, SYMBOLIC_LINK, Entry, TarWriter
from gasang.images.reference import parse_reference

LAYERS = 10
FILES = 22_000
TARGET = 225 << 20
"""Bytes, compressed."""
WORDS = 4096
_TIME = 1_700_000_000


def make_image(content: Content, name: str, *, scale: float = 1.0) -> int:
    """Have the image in the store under a name, its layers not unpacked; its compressed size."""
    containers = Containers(content)
    with content.leases.take() as lease:
        layers = [_layer(content, lease.hold, index, scale) for index in range(LAYERS)]
        config = {
            "created": datetime.fromtimestamp(_TIME, UTC).isoformat(), "architecture": "amd64", "os": "linux",
            "config": {"Cmd": ["/bin/true"]}, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }  # fmt: skip
        manifest = containers.add(config, [layer.blob for layer in layers], lease.hold)
        containers.tag(manifest, parse_reference(name))
    return sum(layer.blob.size for layer in layers)


def _layer(content: Content, hold: object, index: int, scale: float) -> Layer:
    writer = LayerWriter(content, hold)  # type: ignore[arg-type]
    try:
        archive = TarWriter(writer.write)
        for entry, data in _entries(random.Random(index), index, scale):
            archive.add(entry, [data])
        archive.close()
        return writer.finish()
    finally:
        writer.close()


def _share(index: int) -> float:
    """A layer's share of the whole: the first is large, as a distribution's base and a language's packages are."""
    weights = (8, 5, 4, 3, 2, 2, 1, 1, 1, 1)
    return weights[index] / sum(weights)


def _entries(source: random.Random, index: int, scale: float) -> Iterator[tuple[Entry, bytes]]:
    """A layer like a distribution's: many small files of words, some large ones, links."""
    words = [source.randbytes(source.randint(2, 11)) for _ in range(WORDS)]
    files = round(FILES * _share(index) * scale)
    budget = 2.43 * TARGET * _share(index) * scale
    yield Entry(b"usr", FOLDER, 0o755, mtime=_TIME), b""
    yield Entry(b"usr/layer%d" % index, FOLDER, 0o755, mtime=_TIME), b""
    for number in range(files):
        folder = b"usr/layer%d/%03d" % (index, number // 24)
        if number % 24 == 0:
            yield Entry(folder, FOLDER, 0o755, mtime=_TIME), b""
        name = folder + b"/file-%05d" % number
        if number % 12 == 11:
            yield Entry(name, SYMBOLIC_LINK, 0o777, mtime=_TIME, link=b"file-%05d" % (number - 1)), b""
            continue
        size = round(budget / files * 12 / 11 * source.choice((0.02, 0.05, 0.1, 0.2, 0.4, 5.23)))
        yield Entry(name, mode=0o755 if number % 40 == 0 else 0o644, size=size, mtime=_TIME + number), _data(source, words, size)


def _data(source: random.Random, words: list[bytes], size: int) -> bytes:
    """Text-like bytes that compress to somewhat less than half."""
    paragraphs = [b"".join(source.choices(words[: 64 << source.randint(3, 6)], k=700)) for _ in range(max(1, size // 14_000))]
    data = b"".join(source.choices(paragraphs, k=size // 4200 + 1))
    return data[:size].ljust(size, b"x")
