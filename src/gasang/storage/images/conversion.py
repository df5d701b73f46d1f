"""Copying a disk from one image to another, and comparing two: only what may be other than zero is looked at, in large pieces.

One thread finds and reads, another writes. What lies in a file as it is, the host copies into the other one: of that only the begin of
each grain is read. Where pieces are compressed, as many threads as there are processors do that.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from gasang.core.errors import UnsupportedError
from gasang.storage.images.ahead import ahead
from gasang.storage.images.image import Compressing, Image
from gasang.storage.images.pieces import GRAIN, filled, is_zero, joined
from gasang.storage.images.stretch import Located, Stretch, Taking

if TYPE_CHECKING:
    from concurrent.futures import Future

PIECE: Final = 1 << 19
"""What is read and written at a time: it stays in the processor's cache in between."""

COPIED: Final = 1 << 23
"""What the host is told to copy at a time."""

_AHEAD: Final = 2
"""Pieces that are found while others are written."""

Told = Callable[[int], None]
"""Told how many bytes more of the disk are done."""


def _nobody(done: int) -> None:
    """Nobody wants to know."""


def aligned(runs: Iterable[tuple[int, int]], grain: int, size: int) -> Iterator[tuple[int, int]]:
    """Runs made larger to whole grains, those that touch as one; the last ends with the disk."""

    def larger() -> Iterator[tuple[int, int]]:
        last = 0
        for offset, length in runs:
            begin = max(offset // grain * grain, last)
            last = min(-(-(offset + length) // grain) * grain, size)
            if last > begin:
                yield begin, last - begin

    return joined(larger())


def pieces(runs: Iterable[tuple[int, int]], most: int) -> Iterator[tuple[int, int]]:
    """Runs cut where multiples of `most` are."""
    for offset, length in runs:
        end = offset + length
        while offset < end:
            step = min(most - offset % most, end - offset)
            yield offset, step
            offset += step


def read_all(image: Image, wanted: Iterable[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """The pieces `wanted`, in order, by one thread: the same memory is used again and again, and stays in the processor's cache."""
    for offset, length in wanted:
        yield offset, image.read(offset, length)


def convert(source: Image, target: Image, *, compress: bool = False, told: Told = _nobody) -> None:
    """Copy the disk `source` into the new image `target`, at least as large. Zeroes are not written.

    Raises UnsupportedError if `target` cannot compress and should, GasangError and OSError as the images do.
    """
    if compress and not isinstance(target, Compressing):
        raise UnsupportedError("this format", "it has no compressed pieces", "take qcow2, or vmdk with subformat=streamOptimized")
    grain = target.compressed_piece if isinstance(target, Compressing) else GRAIN
    unit = max(grain, GRAIN)
    runs = aligned(source.data(), unit, source.size)
    if compress and isinstance(target, Compressing):
        _compressed(read_all(source, _reporting(pieces(runs, PIECE), source.size, told)), target, target)
        return
    small = max(grain, 4096) if isinstance(target, Compressing) else GRAIN
    taking = target if isinstance(target, Taking) else None
    located = source if taking and isinstance(source, Located) else None
    for offset, data in ahead(_found(source, located, _reporting(pieces(runs, COPIED), source.size, told), unit, small), _AHEAD):
        if not isinstance(data, Stretch):
            target.write(offset, data)
        elif taking:
            taking.take(offset, data)


def _found(
    source: Image, located: Located | None, wanted: Iterable[tuple[int, int]], unit: int, grain: int
) -> Iterator[tuple[int, bytes | memoryview | Stretch]]:
    """What of the ranges `wanted` is not all zeroes, in steps of `grain`, in order: bytes, or where they lie."""
    for offset, length in wanted:
        for at, span, stretch in _parts(located, offset, length, unit):
            if stretch is None:
                for place, data in read_all(source, pieces([(at, span)], PIECE)):
                    for begin, step in filled(data, grain):
                        yield place + begin, data if step == len(data) else memoryview(data)[begin : begin + step]
            else:
                for begin, step in stretch.present(grain):
                    yield at + begin, stretch[begin : begin + step]


def _parts(source: Located | None, offset: int, length: int, unit: int) -> Iterator[tuple[int, int, Stretch | None]]:
    """The parts of a range that begins with a unit and ends with one or the disk: (offset, length, where they lie).

    Whole units that lie in one place of a file are told as they lie there; whatever is in between has to be read.
    """
    end, at, done = offset + length, offset, offset
    for stretch, span in source.stretches(offset, length) if source else ():
        first, last = -(-at // unit) * unit, at + span
        if last != end:
            last = last // unit * unit
        if stretch is not None and last > first:
            if first > done:
                yield done, first - done, None
            yield first, last - first, stretch[first - at : last - at]
            done = last
        at += span
    if end > done:
        yield done, end - done, None


def _reporting(wanted: Iterable[tuple[int, int]], size: int, told: Told) -> Iterator[tuple[int, int]]:
    last = 0
    for offset, length in wanted:
        yield offset, length
        told(offset + length - last)
        last = offset + length
    told(size - last)


def _compressed(found: Iterable[tuple[int, bytes]], image: Image, target: Compressing) -> None:
    from concurrent.futures import ThreadPoolExecutor  # most copies have no time for it

    step = target.compressed_piece
    with ThreadPoolExecutor(os.cpu_count() or 1, "compress") as workers:
        under_way: deque[tuple[int, bytes, Future[bytes | None]]] = deque()

        def finish() -> None:
            offset, data, packed = under_way.popleft()
            small = packed.result()
            if small is None:
                image.write(offset, data)
            else:
                target.write_compressed(offset, small)

        for offset, data in found:
            for at in range(0, len(data), step):
                part = data[at : at + step]
                if not is_zero(part):
                    under_way.append((offset + at, part, workers.submit(target.compress, part)))
                    if len(under_way) > 4 * (os.cpu_count() or 1) + PIECE // step:
                        finish()
        while under_way:
            finish()


def difference(one: Image, other: Image, *, told: Told = _nobody) -> int | None:
    """Where two disks begin to differ, None if they do not; what only one has counts as zeroes in the other."""
    larger, smaller = (one, other) if one.size >= other.size else (other, one)
    runs = joined(_merged(aligned(larger.data(), 512, larger.size), aligned(smaller.data(), 512, smaller.size)))
    for offset, length in _reporting(pieces(runs, PIECE), larger.size, told):
        have = max(0, min(length, smaller.size - offset))
        data = larger.read(offset, length)
        against = smaller.read(offset, have).ljust(length, b"\0") if have else bytes(length)
        if data != against:
            return offset + next(at for at, (here, there) in enumerate(zip(data, against, strict=True)) if here != there)
    return None


def _merged(one: Iterator[tuple[int, int]], other: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The union of runs, in order and without overlaps."""
    from heapq import merge

    last = 0
    for offset, length in merge(one, other):
        begin, end = max(offset, last), offset + length
        if end > begin:
            yield begin, end - begin
            last = end
