"""A guest with a driver for the socket device: what it says and what it gets."""

from __future__ import annotations

from dataclasses import dataclass, field

from gasang.devices.virtio.vsock import VirtioVsock
from gasang.devices.virtio.vsock_packet import HEADER_SIZE, HOST, STREAM, Operation, Packet, unpack
from gasang.devices.virtio.vsock_stream import Peer
from support.board_parts import FakeMemory
from support.virtio_driver import Driver

CID = 3
BUFFER = 4096


class Heard(Peer):
    """A host's end that writes down what it hears."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.data = b""

    def opened(self) -> None:
        self.events.append("opened")

    def received(self, data: bytes) -> None:
        self.data += data

    def room(self) -> None:
        self.events.append("room")

    def finished(self) -> None:
        self.events.append("finished")

    def closed(self) -> None:
        self.events.append("closed")


@dataclass
class Guest:
    """A guest with a driver: what it sends and what it gets."""

    device: VirtioVsock
    driver: Driver = field(init=False)

    def __post_init__(self) -> None:
        self.driver = Driver(self.device, FakeMemory()).start(size=64)

    def give(self, buffers: int = 1, size: int = BUFFER) -> None:
        """Buffers to receive into."""
        if not self.driver.rings[0].taken:
            self.driver.rings[0].heap = self.driver.rings[0].used + 2048
        for _ in range(buffers):
            self.driver.rings[0].add(writable=[size])
        self.driver.notify(0)

    def got(self) -> list[tuple[Packet, bytes]]:
        """What has come."""
        return [(unpack(data[:HEADER_SIZE]), data[HEADER_SIZE:]) for _, data in self.driver.rings[0].take_used()]

    def say(
        self, operation: int, content: bytes = b"", *, flags: int = 0, ports: tuple[int, int] = (9, 1), room: int = 1 << 16, taken: int = 0
    ) -> None:
        """Send a packet from port `ports[0]` of the guest to port `ports[1]` of the host."""
        header = Packet(CID, HOST, *ports, len(content), STREAM, operation, flags, room, taken)
        self.raw(header.pack() + content)

    def raw(self, *parts: bytes) -> None:
        self.driver.rings[1].heap = self.driver.rings[1].used + 2048  # what was sent before is taken
        self.driver.rings[1].add(parts)
        self.driver.notify(1)
        self.driver.rings[1].take_used()

    def heard(self) -> list[Operation]:
        """The operations of what has come."""
        return [Operation(packet.operation) for packet, _ in self.got()]
