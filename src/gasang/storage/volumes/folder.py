"""The folder of a disk volume: its record, its making, and what is told of it, whoever has it open (volume.py).

What a power cut leaves is the volume before or after a change: a layer is on stable storage before the record names it, and the record is
replaced whole.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import BadInputError, NotFoundError, OutOfSpaceError, StateError, UsageError
from gasang.host.files import NO_LINKS, open_file
from gasang.storage.images.image import SECTOR
from gasang.storage.made import FULL
from gasang.storage.volumes import layers
from gasang.storage.volumes.record import FORMS, MOST_BYTES, QCOW2, Kept, Layer, Record, new_key, parse

RECORD: Final = "volume.json"
LEAST: Final = 16 << 20
"""Bytes of the smallest volume: ext4 has room for files there."""
MOST: Final = 16 << 40
"""Bytes of the largest: of the file systems that are made here (storage/ext4.py)."""


def read_record(folder: Path) -> Record:
    """The record of a volume, whoever has it. Raises NotFoundError, BadInputError."""
    subject = f"volume {folder.name}"
    try:
        with open(open_file(folder / RECORD, read_only=True, links=False), "rb") as file:
            return parse(file.read(MOST_BYTES + 1), subject)
    except FileNotFoundError as error:
        raise NotFoundError(subject, "there is no disk in its folder", "make it anew: gasang volume create NAME --size SIZE") from error
    except OSError as error:
        raise BadInputError(subject, f"its record cannot be read ({error.strerror})", "check the disk that it lies on") from error


def write_record(folder: Path, record: Record, made: Path | None = None) -> None:
    """Replace it; on stable storage, with the layer `made` that it names now, when this returns. Raises OSError."""
    fresh = folder / f".{RECORD}"
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | NO_LINKS, 0o600)
    with open(descriptor, "wb") as file:
        file.write(record.make())
    layers.sync_files([fresh] if made is None else [made, fresh])
    fresh.replace(folder / RECORD)
    layers.sync_file(folder)


def check_size(size: int) -> int:
    """The bytes that a volume of `size` has: whole sectors. Raises UsageError."""
    if not LEAST <= size <= MOST:
        raise UsageError(f"volume of {size} bytes", f"it has {LEAST >> 20} MiB to {MOST >> 40} TiB", "choose another --size")
    return -(-size // SECTOR) * SECTOR


def create(folder: Path, size: int, form: str = QCOW2) -> None:
    """An empty volume in a new folder. Raises UsageError, OutOfSpaceError, OSError."""
    if form not in FORMS:
        raise UsageError(f"volume format {form[:40]!r}", "a volume is not kept in it", f"choose {' or '.join(FORMS)}")
    key = new_key()
    _begin(folder, Record(form, key, {key: Layer(form)}), check_size(size))


def clone(source: Path, layer: str, size: int, folder: Path) -> None:
    """A volume in a new folder that begins as `source` is at `layer`, which is not written any more; it shares the layers' files.

    Raises OutOfSpaceError, StateError, UsageError, OSError, and there is no folder then.
    """
    record = read_record(source)
    if layer not in record.layers or layer == record.top:
        raise StateError(f"volume {source.name}", f"layer {layer[:20]!r}, which it is to begin with, is gone", "try again")
    key, size = new_key(), check_size(size)
    shared = {each: record.layers[each] for each in record.chain(layer)}
    fresh = Record(record.form, layer, shared, file_system=record.file_system).on(layer, key)
    _begin(folder, fresh, size, [source / record.file(each) for each in shared])


def heir(source: Path, layer: str, size: int, folder: Path) -> None:
    """As `clone`, for a twin (machine_disk.py): what is being written to `source` now is linked too, should the twin begin with that.

    Raises as `clone` does.
    """
    clone(source, layer, size, folder)
    record = read_record(source)
    try:
        os.link(source / record.file(record.top), folder / record.file(record.top))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise StateError(f"volume {source.name}", "it was changed while its clone for a twin was being made", "try again") from error


def _begin(folder: Path, record: Record, size: int, shared: list[Path] | None = None) -> None:
    folder.mkdir(parents=True, mode=0o700)
    try:
        for path in shared or ():
            os.link(path, folder / path.name)
        made = layers.make_layer(folder, record, record.top, size)
        (folder / RECORD).write_bytes(record.make())
        layers.sync_files([made, folder / RECORD, folder, folder.parent])  # in any order: nobody relies on it yet
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in FULL:
            raise OutOfSpaceError(f"volume {folder.name}", "the host's disk is full", "free some space there") from error
        if isinstance(error, FileNotFoundError):
            raise StateError(f"volume {folder.name}", "what it was to begin with is gone", "try again") from error
        raise


def kept_of(record: Record, name: str, subject: str) -> Kept:
    """A snapshot. Raises NotFoundError."""
    if name not in record.snapshots:
        raise NotFoundError(f"snapshot {name[:40]}", f"{subject} has none of that name", "gasang volume snapshot VOLUME lists them")
    return record.snapshots[name]


def size_of(folder: Path, record: Record) -> int:
    """Bytes of the disk, whoever has it. Raises BadInputError."""
    path = folder / record.file(record.top)
    try:
        if record.layers[record.top].form != QCOW2:
            return path.lstat().st_size
        with open(open_file(path, read_only=True, links=False), "rb") as file:
            return int.from_bytes(file.read(32)[24:32], "big")  # docs/interop/qcow2.txt, "Header"
    except OSError as error:
        raise BadInputError(f"volume {folder.name}", f"its disk cannot be read ({error.strerror})", "restore it from a backup") from error


def describe(folder: Path) -> dict[str, Any]:
    """What is told of a volume: plain values. Raises NotFoundError, BadInputError."""
    record = read_record(folder)
    paths = [folder / record.file(key) for key in record.layers]
    return {
        "Size": size_of(folder, record),
        "Format": record.form,
        "FileSystem": record.file_system,
        "Used": sum(path.lstat().st_blocks * 512 for path in paths if path.exists()),
        "Layers": sum(1 for _ in record.chain(record.top)),
        "Snapshots": [{"Name": name, "Size": kept.size, "Created": kept.created} for name, kept in record.snapshots.items()],
    }
