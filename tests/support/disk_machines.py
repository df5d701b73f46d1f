"""Machines with disks whose guest does nothing: tests play its driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gasang.core.protocols import Block
from gasang.devices.virtio.block import VirtioBlock
from gasang.devices.worker import Worker
from gasang.kinds.vm.machine import VirtualMachine
from gasang.kinds.vm.snapshot.snapshot import Snapshot, Wiring
from support.assembler import assemble, jump
from support.computing import parts_of

FOREVER = assemble(jump(0))


@contextmanager
def machine_with(*blocks: Block, read_only: bool = False) -> Iterator[tuple[VirtualMachine, Worker]]:
    """A machine whose guest does nothing; its disks are closed after it."""
    worker = Worker("disk")
    parts = parts_of(FOREVER, bytearray())
    parts.virtio = [VirtioBlock(block, worker, read_only=read_only) for block in blocks]
    parts.workers = (worker,)
    try:
        with VirtualMachine(parts) as vm:
            try:
                vm.start()
                yield vm, worker
            finally:
                worker.close()
    finally:
        for block in blocks:
            block.close()


@contextmanager
def restored(snapshot: Snapshot, folder: Path) -> Iterator[VirtualMachine]:
    """The machine of a snapshot, running."""
    snapshot.check()
    worker = Worker("disk")
    blocks = snapshot.open_disks(folder)
    try:
        records = snapshot.document.disks
        disks = [VirtioBlock(block, worker, read_only=record.read_only) for block, record in zip(blocks, records, strict=True)]
        with snapshot.restore(Wiring(bytearray().extend, disks, (worker,))) as vm:
            vm.start()
            yield vm
            worker.close()
    finally:
        for block in blocks:
            block.close()
