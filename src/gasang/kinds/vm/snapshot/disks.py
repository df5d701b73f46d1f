"""A machine's disks into a snapshot and back.

What a guest has written lies in an overlay over a file that never changes: the overlay's content is kept, and which file it belongs to. A
disk that the guest writes directly is kept whole. A disk that it cannot write is only named. Restored, each gets a throw-away layer of
its own: a snapshot's files are never written.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

from gasang.core.errors import BadInputError, NotFoundError, UnsupportedError
from gasang.core.protocols import Block
from gasang.devices.virtio.block import VirtioBlock
from gasang.host.files import open_file, read_at, write_at
from gasang.host.holes import data_runs
from gasang.kinds.vm.snapshot.document import AGAIN, DiskRecord
from gasang.kinds.vm.snapshot.folder import DISK, DOCUMENT
from gasang.storage.overlay import Overlay
from gasang.storage.raw import Raw

_STEP: Final = 1 << 16
_ZEROES: Final = bytes(_STEP)
IDENTITY: Final = b"snapshot"
_BASE: Final = "base-"
_LAYER: Final = "layer-"
"""What files are called until their digests are known."""


def capture(devices: Sequence[VirtioBlock], folder: Path) -> list[DiskRecord]:
    """Copy what the disks hold into `folder`; the machine and its disks' workers stand still. The digests follow (`settle`).

    Raises UnsupportedError for a disk that cannot be kept, OSError.
    """
    return [_capture(device.block, device.read_only, folder, str(number)) for number, device in enumerate(devices)]


def _capture(block: Block, read_only: bool, folder: Path, number: str) -> DiskRecord:
    if isinstance(block, Overlay) and isinstance(block.base, Raw):
        with _new(folder / f"{_LAYER}{number}") as file:
            block.save(file.fileno(), IDENTITY)
        return _record(block.base, folder, read_only)
    if isinstance(block, Raw) and read_only:
        return _record(block, folder, read_only)
    if isinstance(block, Raw):
        with _new(folder / f"{_BASE}{number}") as file:
            _copy(block, file.fileno())
        return DiskRecord("", block.size, 0, "", "", read_only)
    from gasang.storage.volumes.volume import Volume  # nothing that has no volume has time for it

    if isinstance(block, Volume):
        hint = f"keep it by itself: gasang volume snapshot --create NAME {block.folder.name}"
        raise UnsupportedError(f"volume {block.folder.name}", "a machine's snapshot does not keep volumes", hint)
    raise UnsupportedError(f"disk of {type(block).__name__}", "a snapshot cannot keep a disk of this form", "use a raw one")


def _new(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+b", buffering=0)


def _record(base: Raw, folder: Path, read_only: bool) -> DiskRecord:
    """Of a base that stays where it is, or that another snapshot has: then it is shared with that one."""
    path = Path(os.path.abspath(base.name))
    info = path.stat()
    if path.name.startswith(DISK) and (path.parent / DOCUMENT).exists():
        os.link(path, folder / path.name)
        return DiskRecord("", base.size, 0, path.name.removeprefix(DISK), "", read_only)
    return DiskRecord(str(path), base.size, info.st_mtime_ns, "", "", read_only)


def _copy(block: Raw, descriptor: int) -> None:
    os.ftruncate(descriptor, block.size)
    for offset, length in block.data():
        for start in range(offset, offset + length, _STEP):
            data = block.read(start, min(_STEP, offset + length - start))
            if data != _ZEROES[: len(data)]:
                write_at(descriptor, data, start)


def settle(records: Sequence[DiskRecord], folder: Path) -> tuple[DiskRecord, ...]:
    """Name the copied files by their digests. Raises OSError."""
    return tuple(
        replace(record, base=record.base or _settled(folder, f"{_BASE}{number}"), layer=_settled(folder, f"{_LAYER}{number}"))
        for number, record in enumerate(records)
    )


def _settled(folder: Path, name: str) -> str:
    path = folder / name
    if not path.exists():
        return ""
    digest = file_digest(path)
    path.replace(folder / f"{DISK}{digest}")
    return digest


def file_digest(path: Path) -> str:
    """Of a sparse file: its size and every piece of 64 KiB that is not all zero, wherever its holes are. Raises OSError."""
    descriptor = open_file(path, read_only=True)
    try:
        size = os.fstat(descriptor).st_size
        total = hashlib.sha256(size.to_bytes(8, "little"))
        done = 0
        for start, length in data_runs(descriptor, size):
            for offset in range(max(start // _STEP * _STEP, done), start + length, _STEP):
                done = offset + _STEP
                data = read_at(descriptor, min(_STEP, size - offset), offset)
                if data != _ZEROES[: len(data)]:
                    total.update(offset.to_bytes(8, "little") + data)
        return total.hexdigest()
    finally:
        os.close(descriptor)


def check(records: Sequence[DiskRecord], subject: str) -> None:
    """Whether the files that disks are based on are what they were. Raises NotFoundError or BadInputError."""
    for record in records:
        if not record.path:
            continue
        try:
            info = os.stat(record.path)
        except OSError as error:
            cause = f"it cannot be read ({error.strerror})"
            raise NotFoundError(f"{subject}, disk {record.path}", cause, "pull its image again") from error
        if (info.st_size, info.st_mtime_ns) != (record.size, record.modified):
            raise BadInputError(f"{subject}, disk {record.path}", "it has been changed since the snapshot was made", AGAIN)


def open_disk(record: DiskRecord, folder: Path, layers: Path) -> Block:
    """The disk as it was, with a throw-away layer in the folder `layers`. Raises what `check`, Raw.open and Overlay.over raise."""
    base = Raw.open(Path(record.path) if record.path else folder / f"{DISK}{record.base}", read_only=True)
    try:
        if record.read_only:
            return base
        layers.mkdir(parents=True, exist_ok=True)
        if record.layer:
            return Overlay.over(base, folder / f"{DISK}{record.layer}", IDENTITY, str(layers))
        return Overlay(base, str(layers))
    except BaseException:
        base.close()
        raise
