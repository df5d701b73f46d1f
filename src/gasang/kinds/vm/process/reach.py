"""What a machine's process must reach of its host once it is in its jail, and what is made ready before."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Final

from gasang.accel.kvm import reality
from gasang.core.paths import cache_folder
from gasang.core.progress import Silent
from gasang.host.confining import Place
from gasang.host.durable import boot_id
from gasang.kinds.vm.disks import of_document
from gasang.kinds.vm.launch import image_platform, kernel_platform, map_given
from gasang.kinds.vm.platforms import KVM, Platform, platform_of
from gasang.kinds.vm.process.births import boot_files_of
from gasang.kinds.vm.process.settings import MachineSettings
from gasang.kinds.vm.snapshot.snapshot import Snapshot
from gasang.native.cache import default_directory

LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
"""Where the host's shared libraries are."""
KVM_NODE: Final = Place(Path("/dev/kvm"), writable=True, device=True)


def prepare(folder: Path, settings: MachineSettings) -> list[Place]:
    """Have everything made that its start would make outside its folder; what it must reach. Raises GasangError, OSError.

    The folder that its own is in is among it: its twins come to be there, and share layers of disks with it as hard links.
    """
    boot_id()  # a machine asks it of its host once
    if settings.snapshot:
        found = _snapshot(Path(settings.snapshot))
    elif settings.image:
        found = _image(folder, settings)
    else:
        found = _kernel(settings)
    # What is among its family's folders already stays in their mount: a hard link does not lead from one mount to another.
    own = [place for place in found if not place.path.is_relative_to(folder.parent)]
    own_disks = [of_document(disk) for disk in settings.disks]
    disks = [_disk(disk.path, read_only=disk.read_only and not disk.address) for disk in own_disks if disk.served < 0]
    disks += [Place(disk.key_file) for disk in own_disks if disk.key_file is not None]
    disks += [Place(disk.header) for disk in own_disks if disk.header is not None]
    folders = [Place(Path(source), writable=not read_only) for source, _, read_only in settings.folders]
    folders += [Place(Path(volume), writable=True) for volume, _, _ in settings.volumes]  # a new layer comes to be there
    return [*program_places(), *own, *disks, *folders, Place(folder.parent, writable=True)]


def _kernel(settings: MachineSettings) -> list[Place]:
    data = map_given(Path(settings.kernel), "kernel")
    platform = kernel_platform(data, settings.architecture or None, settings.accelerator or None, _hear_nothing)
    return [*_platform(platform), *(Place(Path(path)) for path in (settings.kernel, settings.initrd) if path)]


def _image(folder: Path, settings: MachineSettings) -> list[Place]:
    from gasang.kinds.vm.agent.executable import agent_program

    platform = image_platform(settings.image, settings.architecture or None, settings.accelerator or None, _hear_nothing)
    files = boot_files_of(folder, settings, platform)
    agent_program(platform.family)
    return [*_platform(platform), *(Place(path) for path in (files.kernel, files.initrd, files.disk))]


def _snapshot(path: Path) -> list[Place]:
    """A restored machine has throw-away layers over its disks; they are files without names."""
    document = Snapshot.open(path).document
    layers = cache_folder(os.environ) / "layers"
    layers.mkdir(parents=True, exist_ok=True)
    bases = (Place(Path(disk.path)) for disk in document.disks if disk.path and not disk.volume)
    return [*_platform(platform_of(document.architecture)), Place(path), Place(layers, writable=True), *bases]


def _hear_nothing(sentence: str) -> None:
    """The start itself will say it."""


def _platform(platform: Platform) -> list[Place]:
    """What it needs; the last two are what is known of the host's /dev/kvm, which would be measured anew without them."""
    platform.prepare(Silent())
    if platform.accelerator != KVM:
        return []
    known = (cache_folder(os.environ) / reality.NAME, *(Path("/sys/module", name) for name in reality.MODULES))
    return [KVM_NODE, *map(Place, known)]


def _disk(path: Path, *, read_only: bool) -> Place:
    """A user's own disk: a file, a device of the host, or the socket of what has it."""
    return Place(path, not read_only, device=path.exists() and not stat.S_ISREG(path.stat().st_mode))


def program_places() -> list[Place]:
    """The program, what it is made of, and what it has compiled; all that may be imported later."""
    found = [Path(entry) for entry in sys.path if os.path.isabs(entry) and os.path.realpath(entry) != "/"]
    return [Place(path) for path in (*found, *map(Path, LIBRARIES), default_directory())]
