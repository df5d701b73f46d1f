"""One of every device in the table, connected to stand-ins: what suites over all devices start from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gasang.core.protocols import MmioDevice, State
from gasang.devices.aclint import Mtimer, Sswi
from gasang.devices.acpi_power import AcpiPower
from gasang.devices.cmos import Cmos
from gasang.devices.generation_id import GenerationId
from gasang.devices.goldfish_rtc import GoldfishRtc
from gasang.devices.i8042 import I8042
from gasang.devices.pci.config import COMMAND, MEMORY_SPACE
from gasang.devices.pci.host import ConfigPorts, Ecam, PciBus, Window
from gasang.devices.plic import Plic
from gasang.devices.pvpanic import Pvpanic
from gasang.devices.serial16550 import Serial16550
from gasang.devices.syscon import Syscon
from gasang.devices.virtio.balloon import VirtioBalloon
from gasang.devices.virtio.block import VirtioBlock
from gasang.devices.virtio.console import Port, VirtioConsole
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.fs import VirtioFs
from gasang.devices.virtio.net import VirtioNet
from gasang.devices.virtio.pci import WINDOW, VirtioPci
from gasang.devices.virtio.rng import VirtioRng
from gasang.devices.virtio.vsock import VirtioVsock
from gasang.devices.virtio.vsock_stream import Peer, Stream
from support.board_parts import FakeIrq, FakeMemory, MemoryBlock
from support.virtio_driver import Driver


@dataclass
class Surroundings:
    """What the makers' devices are connected to. `jobs` are a disk's long requests, run by whoever wants to."""

    irq: FakeIrq = field(default_factory=FakeIrq)
    lock: threading.RLock = field(default_factory=threading.RLock)
    output: bytearray = field(default_factory=bytearray)
    events: list[object] = field(default_factory=list)
    jobs: list[Callable[[], None]] = field(default_factory=list)


def _rtc(around: Surroundings) -> GoldfishRtc:
    return GoldfishRtc(around.irq, around.lock, lambda: 1_700_000_000_000_000_000, lambda seconds, function: lambda: None)


def _console(around: Surroundings) -> VirtioConsole:
    return VirtioConsole(
        [
            Port("console", around.output.extend, around.events.append, is_console=True),
            Port("stdin", around.output.extend, around.events.append),
        ]
    )


class Echo(Peer):
    """A host's end of a connection that sends everything back."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.left = bytearray()
        self.ends = False

    def opened(self) -> None:
        """Nothing."""

    def received(self, data: bytes) -> None:
        """Back with it, as far as there is room."""
        self.left += data
        self.room()

    def room(self) -> None:
        """More of it."""
        taken = self.stream.send(bytes(self.left))
        del self.left[:taken]
        self.stream.consumed(taken)
        if self.ends and not self.left:
            self.stream.finish()

    def finished(self) -> None:
        """So are we, when all is sent."""
        self.ends = True
        self.room()

    def closed(self) -> None:
        """Nothing."""


class EchoServer:
    """A server of messages that answers with what it was asked, and counts."""

    def __init__(self) -> None:
        self.asked = 0

    def answer(self, message: bytes, room: int) -> bytes | None:
        """No answer to an empty body."""
        self.asked += 1
        return message[:16] + message[40 : 40 + room] if len(message) > 40 else None

    def reset(self) -> None:
        """Begin to count anew."""
        self.asked = 0

    def renew(self) -> None:
        """Nothing is shared."""

    def save(self) -> State:
        """The count."""
        return {"asked": self.asked}

    def load(self, state: State) -> None:
        """The count."""
        self.asked = state["asked"]


class FakeWire:
    """A wire that keeps what was sent."""

    joins = True

    def __init__(self, sent: list[object] | None = None) -> None:
        self.sent: list[object] = [] if sent is None else sent
        self.agreed: list[int] = []

    def send(self, frame: Sequence[memoryview]) -> None:
        """Its bytes."""
        self.sent.append(b"".join(frame))

    def agree(self, joins: int) -> None:
        """What was agreed."""
        self.agreed.append(joins)


PCI_BASE = 0xC100_0000


def pci_bus(around: Surroundings) -> PciBus:
    """A bus with one of every virtio device, whose windows lie one behind the other from PCI_BASE on and can be reached."""
    bus, memory = PciBus(), FakeMemory()
    for number, make in enumerate(VIRTIO_MAKERS.values()):

        def send(address: int, data: int) -> None:
            around.events.append((address, data))

        made = VirtioPci(make(around), memory, send, around.lock, PCI_BASE + number * WINDOW)
        made.write_config(COMMAND, 2, MEMORY_SPACE)
        bus.plug(made)
    return bus


VIRTIO_MAKERS: dict[str, Callable[[Surroundings], VirtioDevice]] = {
    "balloon": lambda around: VirtioBalloon(),
    "block": lambda around: VirtioBlock(MemoryBlock(), around.jobs.append, serial="disk"),
    "console": _console,
    "fs": lambda around: VirtioFs("tag", EchoServer(), around.jobs.append),
    "net": lambda around: VirtioNet(b"\x02\0\0\0\0\1", FakeWire(around.events)),
    "rng": lambda around: VirtioRng(bytes),
    "vsock": lambda around: VirtioVsock(3, lambda stream: Echo(stream)),
}

MAKERS: dict[str, Callable[[Surroundings], MmioDevice]] = {
    "aclint-mtimer": lambda around: Mtimer(lambda: 12345),
    "aclint-sswi": lambda around: Sswi([around.irq.set] * 2),
    "acpi-power": lambda around: AcpiPower(5, 1, around.events.append),
    "cmos": lambda around: Cmos(lambda: 1_700_000_000.0),
    "generation-id": lambda around: GenerationId(around.irq),
    "goldfish-rtc": _rtc,
    "i8042": lambda around: I8042(around.events.append),
    "pci-ecam": lambda around: Ecam(pci_bus(around)),
    "pci-ports": lambda around: ConfigPorts(pci_bus(around)),
    "pvpanic": lambda around: Pvpanic(around.events.append),
    "pci-window": lambda around: Window(pci_bus(around), PCI_BASE, 0x10_0000),
    "plic": lambda around: Plic(40, [around.irq.set, None]),
    "serial-16550a": lambda around: Serial16550(around.irq, around.output.extend),
    "syscon": lambda around: Syscon(around.events.append),
    "virtio-mmio": lambda around: Driver(_console(around)).transport,
}
