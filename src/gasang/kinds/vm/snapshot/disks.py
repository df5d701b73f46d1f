"""A machine's disks into a snapshot and back.

What a guest has written lies in an overlay over a file that never changes: the overlay's content is kept, and which file it belongs to. A
disk that the guest writes directly is kept whole. A disk that it cannot write is only named. Restored, each gets a throw-away layer of
its own: a snapshot's files are never written. Volumes are another matter (volumes.py): they keep their own snapshots, and go back to them.
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
from gasang.kinds.vm.snapshot import volumes
from gasang.kinds.vm.snapshot.document import AGAIN, DiskRecord
from gasang.kinds.vm.snapshot.folder import DISK, DOCUMENT
from gasang.storage.formats import Told
from gasang.storage.formats import open_disk as open_form
from gasang.storage.overlay import Overlay
from gasang.storage.raw import Raw

_STEP: Final = 1 << 16
_ZEROES: Final = bytes(_STEP)
IDENTITY: Final = b"snapshot"
_BASE: Final = "base-"
_LAYER: Final = "layer-"
"""What files are called until their digests are known."""
ELSEWHERE: Final = "have what is written on a volume (gasang volume create NAME --size SIZE), or give the disk with ,readonly"


def capture(devices: Sequence[VirtioBlock], folder: Path, held: str = "") -> list[DiskRecord]:
    """Copy what the disks hold into `folder`; the machine and its disks' workers stand still. The digests follow (`settle`).

    Volumes keep it themselves, as `held`. Raises UnsupportedError for a disk that cannot be kept, OSError.
    """
    return [_capture(device.block, device.read_only, folder, str(number), held) for number, device in enumerate(devices)]


def _capture(block: Block, read_only: bool, folder: Path, number: str, held: str) -> DiskRecord:
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
    from gasang.storage.volumes.machine_disk import MachineDisk  # nothing that has no volume has time for it

    if isinstance(block, MachineDisk):
        return volumes.record_of(block, held)
    if isinstance(block, Told) and block.file is not None and read_only:
        path, form = block.file
        info = path.stat()
        return DiskRecord(str(path), info.st_size, info.st_mtime_ns, "", "", read_only, form=form)
    raise UnsupportedError(called(block), "a snapshot cannot keep a disk of this form that is written to", ELSEWHERE)


def called(block: Block) -> str:
    """How errors name a disk: one of a file by that."""
    if isinstance(block, Raw):
        return f"disk {block.name}"
    return f"disk {block.file[0]}" if isinstance(block, Told) and block.file is not None else f"disk of {type(block).__name__}"


def shareable(device: VirtioBlock) -> bool:
    """Whether a twin can read the same disk: one that nobody writes here, in files of the host. Each has an offset of its own there."""
    block = device.block
    return device.read_only and (isinstance(block, Raw) or (isinstance(block, Told) and block.file is not None))


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
        if record.kept:
            volumes.check(record, subject)
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
    if record.form:
        return open_form(Path(record.path), read_only=True, form=record.form)
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
