"""Restoring a machine that was booted from an image: its devices as kinds/vm/launch.py makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from gasang.core.console import Console
from gasang.core.errors import BadInputError
from gasang.devices.virtio.block import VirtioBlock
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.rng import VirtioRng
from gasang.devices.worker import Worker
from gasang.images.control import ControlPort
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.guest_ports import GuestPorts
from gasang.kinds.vm.snapshot.identity import Identity
from gasang.kinds.vm.snapshot.snapshot import Snapshot, Wiring


@contextmanager
def restored_guest(
    snapshot: Snapshot,
    console: Console,
    control: ControlPort,
    *,
    speaks: bool = True,
    warn: Callable[[str], None] = lambda sentence: None,
    identity: Identity | None = None,
) -> Iterator[tuple[AnyMachine, GuestPorts]]:
    """The machine, not started yet, and its ports; it is closed with its disks at the end of the block.

    Raises what Snapshot.check, open_disks and restore raise, BadInputError for the snapshot of a machine that had no disk.
    """
    if not snapshot.document.disks:
        subject = f"snapshot {snapshot.path.name}"
        raise BadInputError(subject, "it is of no machine that was booted from an image", "restore it by its parts")
    snapshot.check()
    worker = Worker("disk")
    with ExitStack() as cleanup:
        disks = []
        for block, record in zip(snapshot.open_disks(), snapshot.document.disks, strict=True):
            cleanup.callback(block.close)
            disks.append(VirtioBlock(block, worker, read_only=record.read_only, on_error=lambda cause: warn(f"disk: {cause}")))
        ports = GuestPorts(console, control, speaks=speaks)
        virtio: list[VirtioDevice] = [ports.device, disks[0], VirtioRng(), *disks[1:]]
        vm = cleanup.enter_context(snapshot.restore(Wiring(ports.chatter.take, virtio, (worker,), warn, identity)))
        cleanup.callback(worker.close)
        yield vm, ports
