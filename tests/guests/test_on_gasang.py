"""The tiny guests run on our own machine as the catalogue says, those too that QEMU does not get right."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from gasang.devices.syscon import PowerAction
from gasang.devices.virtio.block import VirtioBlock
from gasang.devices.virtio.console import Port, VirtioConsole
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.rng import VirtioRng
from gasang.kinds.vm.board import RAM_BASE
from gasang.kinds.vm.loader import load_kernel
from gasang.kinds.vm.machine import Parts, VirtualMachine
from guests.build import build_guest, compiler_available
from guests.catalogue import GUESTS, Guest
from guests.running import Outcome, failures

MEMORY = 128 << 20
UNENDING_SECONDS = 1.0
"""How long guests that may do whatever they like are watched for harm."""
FACTOR = 4
"""Tests share the host's cores: a guest may take this many times its limit."""

pytestmark = pytest.mark.skipif(not compiler_available(), reason="no riscv64-linux-gnu-gcc (Debian: gcc-riscv64-linux-gnu)")


class NoBlocks:
    """An empty disk."""

    size = 0
    read_only = True

    def read(self, offset: int, length: int) -> bytes:
        """Nothing is there."""
        raise OSError(f"nothing at {offset}, {length} bytes")

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Nothing is there."""
        raise OSError(f"nothing at {offset}, {len(data)} bytes")

    def flush(self) -> None:
        """All is written."""

    def discard(self, offset: int, length: int) -> None:
        """Nothing is there."""


@dataclass
class Run:
    """A guest in our machine."""

    guest: Guest
    said: bytearray = field(default_factory=bytearray)
    typed: bool = False

    def devices(self) -> list[VirtioDevice]:
        """The virtio devices it wants."""
        makers = {"rng": VirtioRng, "console": lambda: VirtioConsole([Port("gasang.test", lambda data: None)]), "blk": lambda: VirtioBlock(NoBlocks())}
        return [makers[name]() for name in self.guest.devices]

    def hear(self, data: bytes) -> None:
        """The guest's serial line; the answer goes out as soon as it is ready."""
        self.said += data
        if b"ready" in self.said and not self.typed and self.guest.types:
            self.typed = True
            self.machine.board.serial.receive(self.guest.types.encode())

    def outcome(self, name: str) -> Outcome:
        """Run it to its end, or as long as it may."""
        kernel = load_kernel(build_guest(name).read_bytes(), name, RAM_BASE)
        self.machine = VirtualMachine(Parts(self.guest.harts, MEMORY, kernel, b"", self.guest.arguments, self.hear, self.devices()))
        self.machine.start()
        ended = self.machine.ended.wait(self.guest.limit * FACTOR if self.guest.ends else UNENDING_SECONDS)
        self.machine.stop()
        self.machine.join()
        power = self.machine.power
        ended = ended and power is not None and power.action is PowerAction.OFF
        self.machine.machine.close()
        return Outcome(self.said.decode(errors="replace").replace("\r", "").splitlines(), "", 0 if ended else None, 0.0)


@pytest.mark.parametrize("name", GUESTS)
def test_passes(name: str) -> None:
    """The guest prints what the catalogue says, then PASS, and powers off."""
    guest = GUESTS[name]
    assert not failures(guest, Run(guest).outcome(name))
