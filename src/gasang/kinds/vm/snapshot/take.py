"""Making a snapshot: the machine stands still while its memory and disks are copied, and runs again while they are hashed and settled."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gasang.core.errors import GasangError
from gasang.kinds.vm.snapshot import disks, memory
from gasang.kinds.vm.snapshot.document import Document, MemoryRecord, encode
from gasang.kinds.vm.snapshot.folder import DOCUMENT, INDEX, MEMORY, new_folder
from gasang.kinds.vm.snapshot.index import LAYERS_MAX, MAPS_MAX, Index, Place, encode_index, layer_name, runs
from gasang.kinds.vm.snapshot.snapshot import Snapshot
from gasang.kinds.vm.snapshot.volumes import Keeping, written

if TYPE_CHECKING:
    from gasang.kinds.vm.base import AnyMachine

_PART = "part-memory"


@dataclass(frozen=True)
class _Parent:
    """What a snapshot may share: the one before of the same machine."""

    digest: str
    index: Index
    layers: tuple[Path, ...]


_NOBODY = _Parent("", {}, ())


def take(vm: AnyMachine, store: Path, name: str) -> Snapshot:
    """Keep the present state of `vm` as `name` in `store`; it goes on afterwards if it ran before.

    Raises UsageError for an impossible name, StateError for one that is taken and for a machine that does not run, OutOfSpaceError where
    the disk is full, UnsupportedError for a disk that cannot be kept. Nothing is left of a snapshot that was not completed.
    """
    last, moment = vm.last_snapshot, vm.last_moment
    parent = _parent(last, store)
    with Keeping(written(vm.disks()), store, name) as keeping, new_folder(store, name) as folder:
        file = os.open(folder / _PART, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # Threads that bring the guest input take the lock: what they write is in all parts of a snapshot or in none.
            with vm.standing_still(), vm.board.bus.lock:
                state, card = vm.save(), vm.card
                now = vm.moment()
                since = vm.written_since(moment) if parent is not _NOBODY else None
                copied = memory.copy_memory(vm.machine.ram.memory, file, since)
                records = disks.capture(vm.disks(), folder, keeping.name)
            keeping.hold()
            own, inherited = memory.settle(file, vm.machine.ram.size, copied, parent.index)
            index, layers = _joined(file, vm.machine.ram.size, parent, own, inherited)
        finally:
            os.close(file)
        record = _put_memory(folder, vm, index, layers, own)
        document = Document(
            vm.architecture, vm.board.document(), record, disks.settle(records, folder), state,
            datetime.now(UTC).isoformat(timespec="seconds"), parent.digest, card,
        )  # fmt: skip
        (folder / DOCUMENT).write_bytes(encode(document))
    vm.last_snapshot, vm.last_moment = Snapshot.open(store / name), now
    return vm.last_snapshot


def _parent(snapshot: Snapshot | None, store: Path) -> _Parent:
    """The one before, if it is still there and lies where its files can be shared."""
    if snapshot is not None:
        with suppress(GasangError, OSError):
            if store.exists() and store.stat().st_dev == snapshot.path.stat().st_dev:
                snapshot.check()
                return _Parent(snapshot.digest, snapshot.index(), tuple(snapshot.layers()))
    return _NOBODY


def _joined(file: int, size: int, parent: _Parent, own: dict[int, bytes], inherited: set[int]) -> tuple[dict[int, Place], Sequence[Path]]:
    """The index over the parent's layers that are still needed and the new one, which comes last; `own` grows where all becomes one."""
    used = sorted({parent.index[number].layer for number in inherited})
    if len(used) < LAYERS_MAX:
        order = {layer: position for position, layer in enumerate(used)}
        index = {number: Place(order[parent.index[number].layer], parent.index[number].digest) for number in inherited}
        index |= {number: Place(len(used), digest) for number, digest in own.items()}
        if len(runs(index, len(used))) <= MAPS_MAX:
            return index, [parent.layers[layer] for layer in used]
    own |= memory.gather(file, size, parent.index, parent.layers, sorted(inherited))
    return {number: Place(0, digest) for number, digest in own.items()}, []


def _put_memory(folder: Path, vm: AnyMachine, index: Index, shared: Sequence[Path], own: dict[int, bytes]) -> MemoryRecord:
    """Name the new layer, share the others, write the index."""
    name = layer_name(sorted(own.items()))
    os.rename(folder / _PART, folder / f"{MEMORY}{name}")
    for layer in shared:
        if layer.name != f"{MEMORY}{name}":
            os.link(layer, folder / layer.name)
    content = encode_index(index)
    (folder / INDEX).write_bytes(content)
    layers = (*(layer.name.removeprefix(MEMORY) for layer in shared), name)
    return MemoryRecord(vm.machine.ram.base, vm.machine.ram.size, hashlib.sha256(content).hexdigest(), layers)
