"""Inside the machine: Debian from an image, booted as `gasang run --vm` does it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gasang.core.protocols import Block
from gasang.images.control import ControlPort
from gasang.images.initramfs import GuestSettings
from gasang.images.ready import BootFiles
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.disks import throw_away
from gasang.kinds.vm.extras import NOTHING, Extras
from gasang.kinds.vm.launch import VmSpec, boot_guest
from support.debian_guest import Screen
from support.nested.guest import LANE, MIB

DISK: Final = LANE / "image" / "disk.raw"
NAME: Final = "debian:lane"


def image_files(kernel: str) -> BootFiles:
    """The image with one of its kernels: "cloud" or "generic"."""
    folder = LANE / "image"
    return BootFiles(folder / kernel / "kernel", folder / kernel / "initrd", DISK, (folder / "append").read_text())


class Heard(Screen):
    """A screen that keeps standard error apart."""

    def __init__(self) -> None:
        super().__init__()
        self.told = bytearray()

    def write_error(self, data: bytes) -> None:
        """What the command and we complain of."""
        self.told += data

    def text(self) -> str:
        """All of it."""
        return bytes(self.shown).decode(errors="replace")


@dataclass
class Run:
    """A run of a command in the image: its screen, the machine once it is there, and what became of it."""

    screen: Heard = field(default_factory=Heard)
    control: ControlPort = field(default_factory=lambda: ControlPort(lambda stage: None))
    machines: list[AnyMachine] = field(default_factory=list)
    fault: BaseException | None = None

    @property
    def vm(self) -> AnyMachine:
        """The machine."""
        return self.machines[0]


def _spec(run: Run, cpus: int, memory: int, sockets: Path | None, extras: Extras) -> VmSpec:
    watch = run.machines.append
    return VmSpec(cpus, memory * MIB, None, None, "", NAME, (), (), False, (), watch=watch, sockets=sockets, extras=extras)


def run_in(kernel: str, script: str, cpus: int = 1, memory: int = 320, extras: Extras = NOTHING) -> Run:
    """Have a shell in the image run `script`, to its end. Raises what boot_guest raises, with all that was said in a note."""
    run = Run()
    with closing(throw_away(DISK)) as disk:
        _boot(run, kernel, script, disk, cpus, memory, extras=extras)
    if run.fault is not None:
        run.fault.add_note(f"{run.screen.text()}\n{run.screen.told.decode(errors='replace')}")
        raise run.fault
    return run


def _boot(
    run: Run, kernel: str, script: str, disk: Block, cpus: int, memory: int, sockets: Path | None = None, extras: Extras = NOTHING
) -> None:
    settings = GuestSettings("command", ("/bin/sh", "-c", script), **extras.settings())
    try:
        boot_guest(_spec(run, cpus, memory, sockets, extras), image_files(kernel), disk, settings, run.screen, run.control)
    except BaseException as error:  # told by whoever waits for the run
        run.fault = error


@contextmanager
def running(
    kernel: str, script: str, until: bytes, cpus: int = 1, memory: int = 320, sockets: Path | None = None, extras: Extras = NOTHING
) -> Iterator[Run]:
    """The same, while it runs: from when it has said `until` on. With a folder for `sockets` it has the guest agent."""
    run = Run()
    with closing(throw_away(DISK)) as disk:
        thread = threading.Thread(target=_boot, args=(run, kernel, script, disk, cpus, memory, sockets, extras), name="run")
        thread.start()
        try:
            run.screen.wait_for(until, 100)
            yield run
        finally:
            run.screen.quit()
            thread.join()
