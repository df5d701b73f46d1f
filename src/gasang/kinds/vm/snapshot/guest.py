"""Restoring machines: one booted from an image, or from a kernel of the user's; with the devices that kinds/vm/launch.py makes them of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gasang.core.console import Console
from gasang.core.errors import BadInputError
from gasang.core.protocols import Block, State
from gasang.devices.virtio.block import VirtioBlock
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.net import MOST_PAIRS, VirtioNet
from gasang.devices.virtio.rng import VirtioRng
from gasang.devices.worker import Worker
from gasang.images.control import ControlPort
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.extras import NOTHING, Extras, attach
from gasang.kinds.vm.guest_ports import GuestPorts
from gasang.kinds.vm.snapshot.identity import Identity
from gasang.kinds.vm.snapshot.snapshot import Snapshot, Wiring
from gasang.kinds.vm.snapshot.volumes import check_back, written
from gasang.kinds.vm.sockets import offered


@contextmanager
def restored_guest(
    snapshot: Snapshot,
    console: Console,
    control: ControlPort,
    *,
    speaks: bool = True,
    warn: Callable[[str], None] = lambda sentence: None,
    identity: Identity | None = None,
    sockets: Path | None = None,
    blocks: Sequence[Block] | None = None,
    extras: Extras = NOTHING,
) -> Iterator[tuple[AnyMachine, GuestPorts]]:
    """The machine, not started yet, and its ports; it is closed with its disks at the end of the block.

    `sockets` is the folder for its guest's sockets, `extras` what else it has. One that had such is restored only with them. The disks are
    `blocks`, in the snapshot's order, or as `open_disks` opens them.

    Raises what Snapshot.check, open_disks and restore raise, BadInputError for the snapshot of a machine that had no disk.
    """
    if not snapshot.document.disks:
        subject = f"snapshot {snapshot.path.name}"
        raise BadInputError(subject, "it is of no machine that was booted from an image", "restore it by its parts")
    snapshot.check()
    worker = Worker("disk")
    with ExitStack() as cleanup:
        disks = _devices(snapshot, snapshot.open_disks() if blocks is None else blocks, worker, warn, cleanup)
        ports = GuestPorts(console, control, speaks=speaks)
        others, more = attach(extras, snapshot.document.memory.size, _pairs(snapshot.document.state), cleanup, warn)
        if extras.volumes:
            check_back(snapshot.document.disks, written(device for device in others if isinstance(device, VirtioBlock)))
        virtio: list[VirtioDevice] = [ports.device, disks[0], VirtioRng(), *disks[1:], *others]
        virtio += offered(sockets, f"snapshot {snapshot.path.name}", cleanup)
        vm = cleanup.enter_context(snapshot.restore(Wiring(ports.chatter.take, virtio, (worker, *more), warn, identity)))
        cleanup.callback(worker.close)
        yield vm, ports


def _pairs(state: State) -> int:
    """How many pairs of queues the saved network card has; 0: it is one of before there was a control queue (devices.virtio.net)."""
    # kinds/vm/board.py and x86/state.py; the file may be damaged, which `restore` finds.
    board = state.get("board")
    devices = board.get("devices") if isinstance(board, dict) else state.get("bus")
    for device in devices.values() if isinstance(devices, dict) else ():
        if isinstance(device, dict) and device.get("device_id") == VirtioNet.device_id and isinstance(device.get("queues"), list):
            return min(max(0, len(device["queues"]) - 1) // 2, MOST_PAIRS)
    return 1


@contextmanager
def restored_kernel(
    snapshot: Snapshot,
    console: Console,
    *,
    warn: Callable[[str], None] = lambda sentence: None,
    identity: Identity | None = None,
    blocks: Sequence[Block] | None = None,
    extras: Extras = NOTHING,
) -> Iterator[tuple[AnyMachine, Callable[[bytes], None]]]:
    """The machine, not started yet, whose console is its serial line, and where what is typed goes; closed at the end of the block.

    Raises what Snapshot.check, open_disks and restore raise.
    """
    snapshot.check()
    worker = Worker("disk")
    with ExitStack() as cleanup:
        disks = _devices(snapshot, snapshot.open_disks() if blocks is None else blocks, worker, warn, cleanup)
        others, more = attach(extras, snapshot.document.memory.size, _pairs(snapshot.document.state), cleanup)
        virtio: list[VirtioDevice] = [*disks, VirtioRng(), *others]
        vm = cleanup.enter_context(snapshot.restore(Wiring(console.write, virtio, (worker, *more), warn, identity)))
        cleanup.callback(worker.close)
        yield vm, serial_of(vm)


def serial_of(vm: AnyMachine) -> Callable[[bytes], None]:
    """What types at a machine's serial line."""

    def typed(data: bytes) -> None:
        with vm.board.bus.lock:
            vm.board.serial.receive(data)

    return typed


def _devices(
    snapshot: Snapshot, blocks: Sequence[Block], worker: Worker, warn: Callable[[str], None], cleanup: ExitStack
) -> list[VirtioBlock]:
    for block in blocks:
        cleanup.callback(block.close)
    return [
        VirtioBlock(block, worker, read_only=record.read_only, on_error=lambda cause: warn(f"disk: {cause}"))
        for block, record in zip(blocks, snapshot.own_disks(), strict=True)
    ]
