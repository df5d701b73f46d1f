"""Disk volumes that a machine from an image has mounted: each a disk of its own, with an ext4 file system that is made on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gasang.core.errors import GasangError, StateError, UnsupportedError
from gasang.devices.virtio.block import VirtioBlock
from gasang.devices.worker import Worker
from gasang.kinds.vm.folders import check_target
from gasang.storage.volumes.acts import OFFLINE, SYNCED, act
from gasang.storage.volumes.folder import read_record
from gasang.storage.volumes.machine_disk import MachineDisk

if TYPE_CHECKING:
    from gasang.kinds.vm.base import AnyMachine


@dataclass(frozen=True)
class AttachedVolume:
    """A disk volume's folder, and where the guest has its files: an absolute path that is not its root."""

    folder: Path
    target: str
    read_only: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for a target no guest could mount it at."""
        check_target(self.target)


def serial(number: int) -> str:
    """What the guest knows the disk of the volume of that number by."""
    return f"gasang-volume{number}"


def attach(volumes: Sequence[AttachedVolume], warn: Callable[[str], None], cleanup: ExitStack) -> tuple[list[VirtioBlock], list[Worker]]:
    """A disk for each volume, and the worker of them all; `cleanup` gives them back. `warn` hears of the host's errors.

    Raises StateError where another machine has one, and what opening it raises.
    """
    if not volumes:
        return [], []
    worker = Worker("volumes")
    devices = []
    for number, wanted in enumerate(volumes):
        subject = f"volume {wanted.folder.name}"
        if wanted.read_only and not read_record(wanted.folder).file_system:
            raise StateError(subject, "it has no file system yet", "mount it writable once, without :ro")
        volume = MachineDisk.open(wanted.folder, read_only=wanted.read_only)
        cleanup.callback(volume.close)
        volume.format(wanted.folder.name)
        devices.append(VirtioBlock(volume, worker, read_only=wanted.read_only, serial=serial(number), on_error=_about(volume, warn)))
    cleanup.callback(worker.close)
    return devices, [worker]


def mounts(volumes: Sequence[AttachedVolume]) -> tuple[str, ...]:
    """What guest/init is told: serial number, options and target of each."""
    return tuple(
        f"{serial(number)} {'ro' if volume.read_only else 'rw'},noatime,nodev {volume.target}" for number, volume in enumerate(volumes)
    )


class Hearing(Protocol):
    """A guest that can be told about its disks."""

    def sync(self) -> None:
        """Have what its programs wrote on its disks, if it hears."""
        ...

    def grow(self, target: str, size: int) -> None:
        """Have the file system at `target` fill a disk of `size` bytes. Raises GasangError where it cannot."""
        ...


def change(vm: AnyMachine, guest: Hearing | None, attached: Sequence[tuple[str, str, bool]], words: Mapping[str, Any]) -> dict[str, Any]:
    """An act (storage/volumes/acts.py) on a volume of a machine that runs; what there is to tell.

    Raises UnsupportedError for a volume that it cannot write to, StateError for what its guest would not survive, and as the act does.
    """
    name, what = str(words.get("volume")), str(words.get("act"))
    device = _find(vm.disks(), name)
    volume = device.block
    assert isinstance(volume, MachineDisk)
    if what in OFFLINE:
        raise StateError(f"volume {name}", "a machine that runs has it", "stop that machine first")
    if guest is not None and what in SYNCED:
        guest.sync()
    told = act(volume, what, words)
    if what == "resize":
        device.resized()
        target = next(target for folder, target, _ in attached if Path(folder) == volume.folder)
        told["Grown"] = _grown(guest, target, volume.size)
    return told


def _grown(guest: Hearing | None, target: str, size: int) -> str:
    """Why the guest's file system has not the new size; an empty text where it has."""
    try:
        if guest is None:
            return "nobody in the guest hears"
        guest.grow(target, size)
    except GasangError as error:
        return str(error)
    return ""


def _find(devices: Sequence[VirtioBlock], name: str) -> VirtioBlock:
    for device in devices:
        if isinstance(device.block, MachineDisk) and device.block.folder.name == name and not device.read_only:
            return device
    raise UnsupportedError(f"volume {name[:80]}", "this machine cannot write to it", "attach it without :ro")


def _about(volume: MachineDisk, warn: Callable[[str], None]) -> Callable[[str], None]:
    return lambda cause: warn(f"volume {volume.folder.name}: {cause}")  # a twin's is another


# twins


def written(vm: AnyMachine) -> list[MachineDisk]:
    """The volumes that a machine writes to."""
    return [device.block for device in vm.disks() if isinstance(device.block, MachineDisk) and not device.read_only]


def share(vm: AnyMachine) -> dict[str, dict[str, Any]]:
    """What a twin's volumes are to begin with, by the folders of those that the machine writes to: Layer, Size. Raises as `freeze` does."""
    return {str(volume.folder): act(volume, "freeze", {}) for volume in written(vm)}


@contextmanager
def bequeathed(vm: AnyMachine, heirs: Mapping[str, str]) -> Iterator[None]:
    """In the block a twin has these folders for the machine's volumes, by the folders of those."""
    volumes = written(vm)
    for volume in volumes:
        folder = heirs.get(str(volume.folder))
        volume.heir = Path(folder) if folder else None
    try:
        yield
    finally:
        for volume in volumes:
            volume.heir = None
