"""The virtio network card (virtio 1.2, section 5.1), with one pair of queues.

Frames go to a `Wire` and come from whoever calls `receive`; both ways a frame has the 12 bytes of virtio_net_hdr_v1 in front of it.
Where the wire does what they say (checksums left out, segments joined up to 64 KiB), the guest is offered that: few frames carry much.
A frame that is no frame is lost, as on any cable.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable

from gasang.core.protocols import State
from gasang.devices.state import check_version
from gasang.devices.virtio.bell import CARD, Work
from gasang.devices.virtio.device import Link
from gasang.devices.virtio.queue import Chain, Virtqueue, scatter

CSUM, GUEST_CSUM, MTU, MAC, GUEST_TSO4, GUEST_TSO6, GUEST_ECN = (1 << bit for bit in (0, 1, 3, 5, 7, 8, 9))
HOST_TSO4, HOST_TSO6, HOST_ECN, MRG_RXBUF, STATUS = (1 << bit for bit in (11, 12, 13, 15, 16))
JOINED: Final = CSUM | GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | GUEST_ECN | HOST_TSO4 | HOST_TSO6 | HOST_ECN
RECEIVE, TRANSMIT = 0, 1
QUEUE_SIZE = 256
HEADER = 12
SMALLEST, LARGEST = HEADER + 14, HEADER + 14 + 4 + 65535
"""Bytes of a frame with its header: from an Ethernet header alone to the largest there is, joined segments included."""
MOST_BUFFERS = 64
"""Receive buffers one frame may take; Linux has pages."""
LINK_UP = 1
_CONFIG = struct.Struct("<6sHHH")
_BUFFERS = struct.Struct("<H")


class Wire(Protocol):
    """What a network card is plugged into."""

    joins: bool
    """Whether it takes and gives frames whose checksums are left out and whose segments are joined."""

    def send(self, frame: Sequence[memoryview]) -> None:
        """Take a frame, given in pieces, its header in front; lose it where it cannot be sent now. Raises nothing, waits for nobody."""
        ...

    def agree(self, joins: int) -> None:
        """Give such frames as a driver takes: its features, of JOINED."""
        ...


@runtime_checkable
class DirectWire(Protocol):
    """A wire that is a descriptor of the host, which takes a frame by one writev(2)."""

    def direct(self) -> int | None:
        """The descriptor, until the wire's `send` is called again; None where there is none now."""
        ...


class VirtioNet:
    """A network card of hardware address `mac` (6 bytes). `on_room` is called, the bus lock held, when a full guest has room again."""

    device_id: int = 1
    queue_sizes: Sequence[int] = (QUEUE_SIZE, QUEUE_SIZE)

    def __init__(self, mac: bytes, wire: Wire, mtu: int = 1500, on_room: Callable[[], None] = lambda: None) -> None:
        if len(mac) != 6 or mac[0] & 1:
            raise ValueError(f"{mac.hex(':')} is no hardware address of one card")
        if not 68 <= mtu <= 65535:
            raise ValueError(f"no network carries {mtu} bytes at most")
        self.features = MAC | STATUS | MTU | MRG_RXBUF | (JOINED if wire.joins else 0)
        self.on_room = on_room
        self._mac = mac
        self._mtu = mtu
        self._wire = wire
        self._link: Link | None = None
        self._is_up = True
        self._waits_for_room = False

    def config(self) -> bytes:
        """The structure virtio_net_config, up to the MTU."""
        return _CONFIG.pack(self._mac, LINK_UP if self._is_up else 0, 1, self._mtu)

    # The host's side.

    @property
    def is_running(self) -> bool:
        """Whether a driver takes frames."""
        return self._link is not None

    def set_link(self, *, up: bool) -> None:
        """Pull the cable out, or plug it in."""
        if up != self._is_up:
            self._is_up = up
            if self._link is not None:
                self._link.serve(self._link.config_changed)

    def receive(self, frames: Sequence[bytes]) -> int:
        """Give the guest frames, each with its header; how many of them are done with. The rest is for when it has room (`on_room`).

        From any thread; without the bus lock it takes that itself.
        """
        link, kept = self._link, 0

        def deliver() -> None:
            nonlocal kept
            assert link is not None
            queue = link.queues[RECEIVE]
            for number, frame in enumerate(frames):
                if not self._deliver(link, queue, frame):
                    self._waits_for_room = True
                    kept = len(frames) - number
                    break
            link.used(queue)

        if link is not None and self._is_up:
            link.serve(deliver)
        return len(frames) - kept

    def _deliver(self, link: Link, queue: Virtqueue, frame: bytes) -> bool:
        """Lay a frame into buffers; False where there are too few. One that no number of them could take is lost."""
        if not SMALLEST <= len(frame) <= LARGEST:
            return True
        most = MOST_BUFFERS if link.features & MRG_RXBUF else 1
        chains, room = self._buffers(queue, len(frame), most)
        if room < len(frame):
            for chain in reversed(chains):
                queue.put_back(chain)
            return len(chains) >= most
        rest = memoryview(b"".join((frame[: HEADER - 2], _BUFFERS.pack(len(chains)), frame[HEADER:])))
        for chain in chains:
            written = scatter(link.memory, chain.writable, rest)
            queue.push(chain, written)
            rest = rest[written:]
        return True

    def _buffers(self, queue: Virtqueue, length: int, most: int) -> tuple[list[Chain], int]:
        """As many buffers as a frame needs, or as there are."""
        chains: list[Chain] = []
        room = 0
        while room < length and len(chains) < most and (chain := queue.pop()) is not None:
            chains.append(chain)
            room += chain.writable_length()
        return chains, room

    # The guest's side.

    def start(self, link: Link) -> None:
        """Tell the wire what the driver takes, and send what is waiting already."""
        self._link = link
        self._waits_for_room = False
        if self._wire.joins:
            self._wire.agree(link.features & JOINED)
        self.notify(TRANSMIT)
        self.on_room()

    def notify(self, index: int) -> None:
        """Send frames, or hear that there is room for some."""
        link = self._link
        if link is None:
            return
        if index == TRANSMIT:
            self._transmit(link)
        elif self._waits_for_room:
            self._waits_for_room = False
            self.on_room()

    def work(self, index: int) -> Work | None:
        """Sending, while the cable is in."""
        wire = self._wire.direct() if index == TRANSMIT and self._is_up and isinstance(self._wire, DirectWire) else None
        return None if wire is None else Work(CARD, (wire,))

    def _transmit(self, link: Link) -> None:
        queue = link.queues[TRANSMIT]
        while (chain := queue.pop()) is not None:
            if self._is_up and SMALLEST <= chain.readable_length() <= LARGEST:
                self._wire.send([link.memory.view(address, length) for address, length in chain.readable])
            queue.push(chain, 0)
        link.used(queue)

    def reset(self) -> None:
        """Stop."""
        self._link = None
        self._waits_for_room = False

    def save(self) -> State:
        """Whether the cable is in; frames on the way are lost, as on any cable."""
        return {"version": 1, "up": self._is_up}

    def load(self, state: State) -> None:
        """Become the saved one."""
        check_version(state, "virtio-net", 1)
        self._is_up = bool(state["up"])
