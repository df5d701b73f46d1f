"""The virtio network card (virtio 1.2, section 5.1): pairs of queues, and one over which the driver says what it wants (net_control.py).

Frames go to a `Wire` and come from whoever calls `receive`; both ways a frame has the 12 bytes of virtio_net_hdr_v1 in front of it.
Where the wire does what they say (checksums left out, segments joined up to 64 KiB), the guest is offered that: few frames carry much.
A frame that is no frame is lost, as on any cable. Frames of one flow go to one queue, in their order.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable

from gasang.core.protocols import State
from gasang.devices.state import check_version
from gasang.devices.virtio.bell import CARD, Work
from gasang.devices.virtio.device import Link
from gasang.devices.virtio.net_control import ERR, MOST, Control, Wanted
from gasang.devices.virtio.queue import Chain, Virtqueue, gather, scatter

CSUM, GUEST_CSUM, MTU, MAC, GUEST_TSO4, GUEST_TSO6, GUEST_ECN = (1 << bit for bit in (0, 1, 3, 5, 7, 8, 9))
HOST_TSO4, HOST_TSO6, HOST_ECN, MRG_RXBUF, STATUS = (1 << bit for bit in (11, 12, 13, 15, 16))
CTRL_GUEST_OFFLOADS, CTRL_VQ, CTRL_RX, CTRL_VLAN, CTRL_RX_EXTRA, GUEST_ANNOUNCE, MQ, CTRL_MAC_ADDR = (
    1 << bit for bit in (2, 17, 18, 19, 20, 21, 22, 23)
)
CONTROLLED: Final = CTRL_VQ | CTRL_RX | CTRL_VLAN | CTRL_RX_EXTRA | GUEST_ANNOUNCE | CTRL_MAC_ADDR
_FEATURE_OF_CLASS: Final = {0: CTRL_RX, 1: CTRL_RX | CTRL_MAC_ADDR, 2: CTRL_VLAN, 3: GUEST_ANNOUNCE, 4: MQ, 5: CTRL_GUEST_OFFLOADS}
"""A class of commands: what the driver must have agreed to."""
JOINED: Final = CSUM | GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | GUEST_ECN | HOST_TSO4 | HOST_TSO6 | HOST_ECN
_OF_GUEST: Final = GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | GUEST_ECN
RECEIVE, TRANSMIT = 0, 1
"""Of the first pair; those of the others follow, even and odd."""
QUEUE_SIZE = 256
CONTROL_SIZE = 64
MOST_PAIRS = 8
HEADER = 12
SMALLEST, LARGEST = HEADER + 14, HEADER + 14 + 4 + 65535
"""Bytes of a frame with its header: from an Ethernet header alone to the largest there is, joined segments included."""
MOST_BUFFERS = 64
"""Receive buffers one frame may take; Linux has pages."""
LINK_UP, ANNOUNCE = 1, 2
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
    """A network card of hardware address `mac` (6 bytes) and so many `pairs` of queues, 1 to MOST_PAIRS.

    With 0 it is a card as machines had that were saved long ago: one pair, and no control queue.
    `on_room` is called, the bus lock held, when a full guest has room again.
    """

    device_id: int = 1

    def __init__(self, mac: bytes, wire: Wire, mtu: int = 1500, on_room: Callable[[], None] = lambda: None, pairs: int = 1) -> None:
        if len(mac) != 6 or mac[0] & 1:
            raise ValueError(f"{mac.hex(':')} is no hardware address of one card")
        if not 68 <= mtu <= 65535:
            raise ValueError(f"no network carries {mtu} bytes at most")
        if not 0 <= pairs <= MOST_PAIRS:
            raise ValueError(f"no network card has {pairs} pairs of queues")
        self.features = MAC | STATUS | MTU | MRG_RXBUF | (JOINED if wire.joins else 0)
        self.queue_sizes: Sequence[int] = (QUEUE_SIZE,) * 2 * max(pairs, 1)
        if pairs:
            self.features |= CONTROLLED | (CTRL_GUEST_OFFLOADS if wire.joins else 0) | (MQ if pairs > 1 else 0)
            self.queue_sizes = (*self.queue_sizes, CONTROL_SIZE)
        self.on_room = on_room
        self._wanted = Wanted(mac)
        self._control = Control(self._wanted, self._use_pairs, self._announced, self._take_joined)
        self._most_pairs = max(pairs, 1)
        self._mtu = mtu
        self._wire = wire
        self._link: Link | None = None
        self._is_up = True
        self._forget()

    def _forget(self) -> None:
        self._waiting: set[int] = set()
        """Queues that a frame waits for."""
        self._pairs = 1
        self._announces = False
        self._offloads: int | None = None
        """Of JOINED, what the driver takes now; None: all that it agreed to."""

    def config(self) -> bytes:
        """The structure virtio_net_config, up to the MTU."""
        status = (LINK_UP if self._is_up else 0) | (ANNOUNCE if self._announces else 0)
        return _CONFIG.pack(self._wanted.mac, status, self._most_pairs, self._mtu)

    # The host's side.

    @property
    def is_running(self) -> bool:
        """Whether a driver takes frames."""
        return self._link is not None

    def set_link(self, *, up: bool) -> None:
        """Pull the cable out, or plug it in; a driver that can is asked to make its addresses known there."""
        if up != self._is_up:
            self._is_up = up
            if self._link is not None:
                self._announces = up and bool(self._link.features & GUEST_ANNOUNCE)
                self._link.serve(self._link.config_changed)

    def receive(self, frames: Sequence[bytes]) -> int:
        """Give the guest frames, each with its header; how many of them are done with. The rest is for when it has room (`on_room`).

        From any thread; without the bus lock it takes that itself.
        """
        link, kept = self._link, 0

        def deliver() -> None:
            nonlocal kept
            assert link is not None
            filled: set[int] = set()
            for number, frame in enumerate(frames):
                index = 2 * (_flow(frame) % self._pairs) if self._pairs > 1 else RECEIVE
                filled.add(index)
                if not self._deliver(link, link.queues[index], frame):
                    self._waiting.add(index)
                    kept = len(frames) - number
                    break
            for index in filled:
                link.used(link.queues[index])

        if link is not None and self._is_up:
            link.serve(deliver)
        return len(frames) - kept

    def _deliver(self, link: Link, queue: Virtqueue, frame: bytes) -> bool:
        """Lay a frame into buffers; False where there are too few. One that no number of them could take is lost."""
        if not SMALLEST <= len(frame) <= LARGEST or not self._wanted.passes(frame):
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
        self._waiting = set()
        if link.features & CTRL_VQ and link.features & CTRL_VLAN:
            self._wanted.filter_vlans()
        if self._wire.joins:
            self._agree(link)
        for index in range(len(link.queues)):
            self.notify(index)
        self.on_room()

    def _agree(self, link: Link) -> None:
        takes = link.features & JOINED
        self._wire.agree(takes if self._offloads is None else takes & (self._offloads | ~_OF_GUEST))

    def _controls(self, link: Link) -> int:
        """The number of the control queue; -1 where there is none (5.1.2)."""
        if not link.features & CTRL_VQ:
            return -1
        return 2 * self._most_pairs if link.features & MQ else 2

    def notify(self, index: int) -> None:
        """Send frames, or hear that there is room for some."""
        link = self._link
        if link is None:
            return
        if index == self._controls(link):
            self._obey(link, link.queues[index])
        elif index & TRANSMIT:
            self._transmit(link, link.queues[index])
        elif index in self._waiting:
            self._waiting.clear()
            self.on_room()

    def work(self, index: int) -> Work | None:
        """Sending, while the cable is in."""
        wire = self._wire.direct() if index & TRANSMIT and self._is_up and isinstance(self._wire, DirectWire) else None
        return None if wire is None else Work(CARD, (wire,))

    def _transmit(self, link: Link, queue: Virtqueue) -> None:
        while (chain := queue.pop()) is not None:
            if self._is_up and SMALLEST <= chain.readable_length() <= LARGEST:
                self._wire.send([link.memory.view(address, length) for address, length in chain.readable])
            queue.push(chain, 0)
        link.used(queue)

    # What the driver says.

    def _obey(self, link: Link, queue: Virtqueue) -> None:
        while (chain := queue.pop()) is not None:
            answer = ERR
            if chain.readable_length() <= MOST:
                answer = self._control.answer(
                    gather(link.memory, chain.readable), lambda kind: bool(link.features & _FEATURE_OF_CLASS.get(kind, 0))
                )
            queue.push(chain, scatter(link.memory, chain.writable, bytes((answer,))))
        link.used(queue)

    def _use_pairs(self, count: int) -> bool:
        if not 1 <= count <= self._most_pairs:
            return False
        self._pairs = count
        return True

    def _announced(self) -> bool:
        self._announces = False
        return True

    def _take_joined(self, offloads: int) -> bool:
        link = self._link
        if link is None or offloads & ~(link.features & _OF_GUEST):
            return False
        self._offloads = offloads
        self._agree(link)
        return True

    def reset(self) -> None:
        """Stop."""
        self._link = None
        self._wanted.reset()
        self._forget()

    def save(self) -> State:
        """Whether the cable is in, and what the driver said; frames on the way are lost, as on any cable."""
        said = {"pairs": self._pairs, "announces": self._announces, "offloads": self._offloads, "wanted": self._wanted.save()}
        return {"version": 2, "up": self._is_up} | said

    def load(self, state: State) -> None:
        """Become the saved one; the first version knew of no control queue."""
        if check_version(state, "virtio-net", 2) > 1:
            self._wanted.load(state["wanted"])
            self._pairs, self._announces, self._offloads = min(state["pairs"], self._most_pairs), state["announces"], state["offloads"]
        self._is_up = bool(state["up"])


def _flow(frame: bytes) -> int:
    """A number that is the same for all frames of a flow: of addresses, and of ports where the header has no options and is whole."""
    kind = frame[HEADER + 12 : HEADER + 14]
    if kind == b"\x86\xdd":
        return zlib.crc32(frame[HEADER + 22 : HEADER + 58])
    if kind != b"\x08\0":
        return 0
    parts = int.from_bytes(frame[HEADER + 20 : HEADER + 22], "big") & 0x3FFF
    return zlib.crc32(frame[HEADER + 26 : HEADER + (34 if parts else 38)])
