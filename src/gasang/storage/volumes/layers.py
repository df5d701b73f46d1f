"""The files of a volume's layers: opening those that stand on one another as one disk, making a new one, making one of two.

What reads and writes images is imported where it is used: a daemon that only tells of volumes has no time for it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gasang.host.files import open_file, sync
from gasang.storage.images.references import Trust
from gasang.storage.volumes.record import Record, new_key

if TYPE_CHECKING:
    from gasang.storage.images.image import Image
    from gasang.storage.images.qcow2.disk import Qcow2

_PIECE: Final = 1 << 20
Run = tuple[int, int]
"""Offset and length."""


def open_chain(folder: Path, record: Record, key: str, *, read_only: bool) -> Image:
    """The disk as a layer and those below it have it. Raises what opening an image raises."""
    from gasang.storage.images.table import open_image

    return open_image(folder / record.file(key), read_only=read_only, form=record.layers[key].form, trust=Trust(links=False))


def make_layer(folder: Path, record: Record, key: str, size: int) -> Path:
    """The file of a layer that has nothing yet, not on stable storage; what it stands on is not opened. Raises GasangError, OSError."""
    from gasang.storage.images.table import create_image

    layer, path = record.layers[key], folder / record.file(key)
    try:
        if layer.below:
            from gasang.storage.images.qcow2 import files
            from gasang.storage.images.store import File

            below = {"backing_file": record.file(layer.below), "backing_fmt": record.layers[layer.below].form}
            File.filled(path, lambda store: files.make(store, size, below)).close()
        else:
            create_image(path, layer.form, size).close()
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def stack(folder: Path, record: Record, below: Image) -> Image:
    """The top of a volume on the disk below it, which is open already, and closed on an error. Raises what opening an image raises."""
    from gasang.storage.images.qcow2 import files
    from gasang.storage.images.store import File

    try:
        top = File.open(folder / record.file(record.top), read_only=False, links=False)
    except BaseException:
        below.close()
        raise
    return files.load(top, lambda head: below)


def is_untouched(image: Image) -> bool:
    """Whether nothing was ever written to the top of a disk that has layers below."""
    from gasang.storage.images.qcow2.disk import Qcow2

    return isinstance(image, Qcow2) and image.backing is not None and not any(image.l1)


def changes(folder: Path, record: Record, key: str, base: str) -> list[Run]:
    """Where the disk at layer `key` may differ from what it is at `base`, which is below it; in order, in whole clusters.

    Reads the tables of the layers between them alone. Raises what opening an image raises.
    """
    found: list[Run] = []
    for each in record.chain(key):
        if each == base:
            break
        with contextlib.closing(alone(folder / record.file(each))) as image:
            found.extend((offset, length) for offset, length, _ in _written(image))
    return merged(found)


def merged(runs: Iterable[Run]) -> list[Run]:
    """Runs in order, those that overlap or touch as one."""
    whole: list[Run] = []
    for offset, length in sorted(runs):
        if whole and offset <= sum(whole[-1]):
            begin, had = whole[-1]
            whole[-1] = begin, max(had, offset + length - begin)
        else:
            whole.append((offset, length))
    return whole


def join(folder: Path, record: Record, lower: str, upper: str) -> None:
    """Have the file of layer `upper` hold what `lower`, which it stands on, holds; whoever has it open keeps the former one.

    Neither is written meanwhile. Raises GasangError, OSError; both are as they were then.
    """
    from gasang.storage.images.table import create_image

    place = folder / f"{new_key()}.qcow2.new"  # a name that nobody could have made a link of
    below = record.layers[lower].below
    with contextlib.ExitStack() as cleanup:
        sources = [cleanup.enter_context(contextlib.closing(alone(folder / record.file(key)))) for key in (lower, upper)]
        options = {"backing_file": record.file(below), "backing_fmt": record.layers[below].form} if below else {}
        place.unlink(missing_ok=True)
        cleanup.callback(lambda: place.unlink(missing_ok=True))
        made = create_image(place, "qcow2", sources[1].size, options)
        with contextlib.closing(made):
            for source in sources:
                _overlay(source, made)
        sync_file(place)
        place.replace(folder / record.file(upper))
    sync_file(folder)


def _overlay(source: Qcow2, made: Image) -> None:
    """Put what a layer alone has onto another disk, zeroes that hide what is below among it."""
    for offset, length, is_zero in _written(source):
        for at in range(offset, offset + length, _PIECE):
            step = min(_PIECE, offset + length - at)
            if is_zero:
                made.discard(at, step)
            else:
                made.write(at, source.read(at, step))


def _written(image: Qcow2) -> Iterator[tuple[int, int, bool]]:
    """(offset, length, whether it is zeroes) of what a layer has itself."""
    from gasang.storage.images.qcow2.mapped import HOLE, ZERO

    at = 0
    for kind, _, length in image.places(0, image.size):
        if kind != HOLE:
            yield at, length, kind == ZERO
        at += length


def alone(path: Path, *, read_only: bool = True) -> Qcow2:
    """A layer without those below it. Raises what opening an image raises."""
    from gasang.storage.images.qcow2 import files
    from gasang.storage.images.store import File

    return files.load(File.open(path, read_only=read_only, links=False))


def sync_file(path: Path) -> None:
    """Have a file or folder on stable storage. Raises OSError."""
    descriptor = open_file(path, read_only=True, links=False)
    try:
        os.fsync(descriptor) if path.is_dir() else sync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(paths: Sequence[Path]) -> None:
    """Have files on stable storage, all at once: a file system that keeps a journal then writes it once. Raises OSError."""
    failed: list[BaseException] = []

    def go(path: Path) -> None:
        try:
            sync_file(path)
        except BaseException as error:  # it is the caller's to raise
            failed.append(error)

    threads = [threading.Thread(target=go, args=(path,), name="sync") for path in paths[1:]]
    for thread in threads:
        thread.start()
    go(paths[0])
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def is_layer(name: str) -> bool:
    """Whether a file's name is a layer's, or one's that was being made."""
    return name.removesuffix(".new").rpartition(".")[2] in ("qcow2", "img")
