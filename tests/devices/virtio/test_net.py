"""The network card."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.devices.virtio.net import (
    CTRL_RX,
    CTRL_VLAN,
    CTRL_VQ,
    GUEST_CSUM,
    GUEST_TSO4,
    HEADER,
    JOINED,
    LARGEST,
    MOST_BUFFERS,
    MQ,
    MRG_RXBUF,
    RECEIVE,
    TRANSMIT,
    VirtioNet,
)
from support.board_parts import RAM_BASE, FakeMemory
from support.device_makers import FakeWire
from support.virtio_driver import CONFIG, EVENT_IDX, STATUS, Driver

MAC = b"\x02\0\0\0\0\7"
FRAME = bytes(10) + b"\0\0" + bytes(range(14)) + b"payload" * 10


class Card:
    """A driver and the card, and what was sent."""

    def __init__(self, without: int = EVENT_IDX, memory: int = 1 << 20, size: int = 16) -> None:
        self.wire = FakeWire()
        self.rooms = 0
        self.device = VirtioNet(MAC, self.wire, on_room=self.count)
        self.driver = Driver(self.device, FakeMemory(memory)).start(without=without, size=size)
        self.rooms = 0

    def count(self) -> None:
        self.rooms += 1

    def buffers(self, *sizes: int) -> None:
        for size in sizes:
            self.driver.rings[RECEIVE].add(writable=[size])
        self.driver.notify(RECEIVE)

    def received(self) -> list[bytes]:
        return [content for _, content in self.driver.rings[RECEIVE].take_used()]


def with_buffers(frame: bytes, count: int) -> bytes:
    return frame[:10] + struct.pack("<H", count) + frame[12:]


def test_the_guest_reads_address_state_and_mtu() -> None:
    card = Card()
    data = b"".join(card.driver.read(CONFIG + at).to_bytes(4, "little") for at in (0, 4, 8))
    assert data == MAC + struct.pack("<HHH", 1, 1, 1500)
    card.device.set_link(up=False)
    assert card.driver.read(CONFIG + 6, 2) == 0
    assert card.driver.acknowledge() & 2


@pytest.mark.parametrize(("mac", "mtu"), [(b"", 1500), (bytes(7), 1500), (b"\1\0\0\0\0\0", 1500), (MAC, 67), (MAC, 65536)])
def test_a_card_nobody_could_use(mac: bytes, mtu: int) -> None:
    with pytest.raises(ValueError, match=r"address|network"):
        VirtioNet(mac, FakeWire(), mtu)


def test_what_the_driver_takes_is_agreed_with_the_wire() -> None:
    assert Card().wire.agreed == [JOINED]
    assert Card(without=EVENT_IDX | GUEST_TSO4).wire.agreed == [JOINED & ~GUEST_TSO4]
    wire = FakeWire()
    wire.joins = False
    card = VirtioNet(MAC, wire)
    assert not card.features & JOINED
    Driver(card).start()
    assert wire.agreed == []


def test_frames_are_sent_whatever_their_pieces() -> None:
    card = Card()
    card.driver.request(TRANSMIT, [FRAME])
    card.driver.request(TRANSMIT, [FRAME[:12], FRAME[12:13], FRAME[13:]])
    card.driver.request(TRANSMIT, [FRAME[:5], FRAME[5:]], indirect=True)
    assert card.wire.sent == [FRAME] * 3
    card.device.set_link(up=False)
    card.driver.request(TRANSMIT, [FRAME])
    assert len(card.wire.sent) == 3


@pytest.mark.parametrize("size", [0, HEADER, HEADER + 13, LARGEST + 1])
def test_what_is_no_frame_is_lost(size: int) -> None:
    card = Card()
    assert card.driver.request(TRANSMIT, [bytes(size)] if size else [], [] if size else [1]) == b""
    assert card.wire.sent == []
    assert card.driver.read(STATUS) == 15


def test_a_frame_arrives_and_the_guest_is_told_once() -> None:
    card = Card()
    card.buffers(2000, 2000, 2000)
    assert card.device.receive([FRAME, FRAME[:40]]) == 2
    assert card.received() == [with_buffers(FRAME, 1), with_buffers(FRAME[:40], 1)]
    assert card.driver.irq.rises == 1


def test_a_large_frame_takes_several_buffers() -> None:
    card = Card(memory=4 << 20)
    card.buffers(*[10_000] * 8)
    frame = FRAME + bytes(LARGEST - len(FRAME))
    assert card.device.receive([frame]) == 1
    parts = card.received()
    assert [len(part) for part in parts] == [10_000] * 6 + [LARGEST - 60_000]
    assert b"".join(parts) == with_buffers(frame, 7)


def test_frames_wait_for_room() -> None:
    card = Card()
    card.buffers(100, 30)
    assert card.device.receive([FRAME, FRAME, FRAME]) == 1
    assert card.received() == [with_buffers(FRAME, 1)]
    assert card.rooms == 0
    card.buffers(70)
    assert card.rooms == 1
    assert card.device.receive([FRAME, FRAME]) == 1
    assert b"".join(card.received()) == with_buffers(FRAME, 2)
    card.buffers(10)
    assert card.rooms == 2
    card.buffers(10)
    assert card.rooms == 2


def test_a_driver_of_single_buffers_gets_what_fits_one() -> None:
    card = Card(without=EVENT_IDX | MRG_RXBUF)
    card.buffers(100, 90)
    assert card.device.receive([FRAME + bytes(100), FRAME]) == 2
    assert card.received() == [with_buffers(FRAME, 1)]


def test_a_guest_of_tiny_buffers_loses_large_frames() -> None:
    card = Card(memory=4 << 20, size=256)
    card.buffers(*[1] * (MOST_BUFFERS + 1))
    frame = FRAME[: MOST_BUFFERS + 1]
    assert card.device.receive([frame, frame]) == 2
    assert card.received() == []
    assert card.device.receive([frame[:-1]]) == 1
    assert len(card.received()) == MOST_BUFFERS


def test_a_card_without_driver_or_cable_loses_frames() -> None:
    card = Card()
    card.device.set_link(up=False)
    card.buffers(100)
    assert card.device.receive([FRAME]) == 1
    assert card.received() == []
    card.driver.write(STATUS, 0)
    assert card.device.receive([FRAME, FRAME]) == 2
    assert not card.device.is_running


def test_a_buffer_outside_ram_fails_the_device_and_frames_are_lost() -> None:
    card = Card()
    ring = card.driver.rings[RECEIVE]
    ring.descriptor(0, RAM_BASE - 4096, 4096, 2, 0)
    ring.publish(0)
    assert card.device.receive([FRAME]) == 1
    assert card.driver.read(STATUS) & 64
    assert card.device.receive([FRAME]) == 1


def test_the_cable_is_restored_as_it_was() -> None:
    card = Card()
    card.device.set_link(up=False)
    state = card.driver.transport.save()
    other = VirtioNet(MAC, wire := FakeWire())
    Driver(other, card.driver.memory).transport.load(state)
    assert other.config()[6] == 0
    assert wire.agreed == [JOINED]
    assert JOINED & GUEST_CSUM


@given(
    frames=st.lists(st.integers(HEADER + 14, 400), max_size=12),
    buffers=st.lists(st.integers(1, 300), max_size=14),
    event_index=st.booleans(),
)
def test_every_frame_arrives_once_and_in_order(frames: list[int], buffers: list[int], event_index: bool) -> None:
    """Whatever the sizes: a frame that waits is given again when there is room."""
    card = Card(without=0 if event_index else EVENT_IDX)
    sent = [bytes(12) + bytes([number + 1]) * (size - 12) for number, size in enumerate(frames)]
    waiting = list(sent)
    got = b""
    for size in [*buffers, *[400] * len(frames)]:
        if not card.driver.rings[RECEIVE].free:
            break
        card.buffers(size)
        waiting = waiting[card.device.receive(waiting) :]
        got += b"".join(card.received())
    plain = b"".join(with_buffers(frame, 0)[12:] for frame in sent[: len(sent) - len(waiting)])
    content = []
    while got:
        size = frames[len(content)]
        (count,) = struct.unpack_from("<H", got, 10)
        assert count >= 1
        content.append(got[12:size])
        got = got[size:]
    assert b"".join(content) == plain


# the control queue


CONTROL = 2
OTHER = b"\x02\0\0\0\0\x08"
GROUP = b"\x01\0\x5e\0\0\x01"


def to(address: bytes, kind: bytes = b"\x88\xb5") -> bytes:
    return bytes(HEADER) + address + OTHER + kind + bytes(46)


def said(card: Card, kind: int, command: int, data: bytes = b"", queue: int = CONTROL) -> bytes:
    return card.driver.request(queue, [bytes((kind, command)), data] if data else [bytes((kind, command))], [1])


def arrives(card: Card, frame: bytes) -> bool:
    card.buffers(200)
    assert card.device.receive([frame]) == 1
    return bool(card.received())


def macs(*addresses: bytes) -> bytes:
    return struct.pack("<I", len(addresses)) + b"".join(addresses)


def test_a_driver_says_which_frames_it_wants() -> None:
    card = Card(size=64)
    everything = [to(MAC), to(OTHER), to(GROUP), to(b"\xff" * 6)]
    assert [arrives(card, frame) for frame in everything] == [True] * 4
    assert said(card, 0, 0, b"\0") == b"\0"
    assert [arrives(card, frame) for frame in everything] == [True, False, False, True]
    assert said(card, 1, 0, macs(OTHER) + macs(GROUP)) == b"\0"
    assert [arrives(card, frame) for frame in everything] == [True] * 4
    assert said(card, 1, 0, macs() + macs(*[GROUP[:5] + bytes((at,)) for at in range(65)])) == b"\0"
    assert arrives(card, to(b"\x01\0\x5e\x7f\0\x01"))
    for command, lost in ((3, GROUP), (4, MAC), (5, b"\xff" * 6)):
        assert said(card, 0, command, b"\1") == b"\0"
        assert not arrives(card, to(lost))
    card.driver.start(without=EVENT_IDX)
    assert [arrives(card, frame) for frame in everything] == [True] * 4


def test_another_address_and_vlans() -> None:
    card = Card(size=64)
    said(card, 0, 0, b"\0")
    assert said(card, 1, 1, OTHER) == b"\0"
    assert (arrives(card, to(OTHER)), arrives(card, to(MAC))) == (True, False)
    assert card.device.config()[:6] == OTHER
    assert not arrives(card, to(OTHER, b"\x81\0\0\x0c"))
    assert said(card, 2, 0, b"\x0c\0") == b"\0"
    assert arrives(card, to(OTHER, b"\x81\0\0\x0c"))
    assert said(card, 2, 1, b"\x0c\0") == b"\0"
    assert not arrives(card, to(OTHER, b"\x81\0\xe0\x0c"))
    assert arrives(card, to(OTHER, b"\x81\0\xe0\0"))
    without = Card(without=EVENT_IDX | CTRL_VLAN)
    assert arrives(without, to(OTHER, b"\x81\0\0\x0c"))
    card.driver.write(STATUS, 0)
    assert card.device.config()[:6] == MAC


@pytest.mark.parametrize(
    ("kind", "command", "data"),
    [(0, 0, b""), (0, 0, b"\2"), (0, 6, b"\1"), (1, 0, macs(MAC)), (1, 0, struct.pack("<I", 1 << 31)), (1, 0, macs() + macs(GROUP) + b"x"),
     (1, 1, GROUP), (1, 1, bytes(6)), (1, 1, MAC[:5]), (2, 0, b"\0\x10"), (2, 0, b"\1"), (3, 0, b"\1"), (4, 0, b"\1\0"), (5, 0, bytes(7)),
     (5, 0, struct.pack("<Q", MRG_RXBUF)), (6, 0, b""), (0, 0, bytes(1 << 15))],
)  # fmt: skip
def test_what_a_driver_cannot_say(kind: int, command: int, data: bytes) -> None:
    card = Card()
    before = card.device.save()
    assert said(card, kind, command, data) == b"\1"
    assert card.device.save() == before


def test_only_what_was_agreed_to_can_be_said() -> None:
    card = Card(without=EVENT_IDX | CTRL_RX)
    assert said(card, 0, 0, b"\0") == b"\1"
    card = Card(without=EVENT_IDX | CTRL_VQ)
    card.driver.rings[CONTROL].add([b"\0\0\0"], [1])
    card.driver.notify(CONTROL)
    assert arrives(card, to(OTHER))


def test_the_driver_takes_fewer_joined_segments() -> None:
    card = Card()
    assert said(card, 5, 0, struct.pack("<Q", GUEST_CSUM)) == b"\0"
    assert card.wire.agreed[-1] & GUEST_CSUM
    assert not card.wire.agreed[-1] & GUEST_TSO4


def test_a_plugged_driver_announces_itself() -> None:
    card = Card()
    card.device.set_link(up=False)
    card.device.set_link(up=True)
    assert card.device.config()[6] == 3
    assert said(card, 3, 0) == b"\0"
    assert card.device.config()[6] == 1


class Wide(Card):
    """A card of four pairs."""

    def __init__(self, without: int = EVENT_IDX) -> None:
        self.wire = FakeWire()
        self.device = VirtioNet(MAC, self.wire, pairs=4)
        self.driver = Driver(self.device, FakeMemory(1 << 20)).start(without=without)


def flow(number: int) -> bytes:
    return bytes(HEADER) + MAC + OTHER + b"\x08\0\x45" + bytes(11) + bytes(8) + struct.pack(">HH", number, 80) + bytes(20)


def test_flows_are_spread_over_the_pairs_in_use() -> None:
    card = Wide()
    assert struct.unpack_from("<H", card.device.config(), 8) == (4,)
    for ring in range(0, 8, 2):
        for _ in range(14):
            card.driver.rings[ring].add(writable=[200])
        card.driver.notify(ring)
    card.device.receive([flow(number) for number in range(4)])
    assert len(card.received()) == 4
    for wrong in (0, 5):
        assert said(card, 4, 0, struct.pack("<H", wrong), queue=8) == b"\1"
    assert said(card, 4, 0, b"\4\0", queue=8) == b"\0"
    frames = [flow(number) for number in range(8)]
    assert card.device.receive(frames * 2) == 16
    got = [[content[HEADER:] for _, content in card.driver.rings[ring].take_used()] for ring in range(0, 8, 2)]
    assert all(got)
    assert all(set(one).isdisjoint(other) for at, one in enumerate(got) for other in got[:at])
    for ring in range(1, 8, 2):
        card.driver.request(ring, [FRAME])
    assert card.wire.sent == [FRAME] * 4


def test_a_driver_of_one_pair_finds_the_control_queue_at_once() -> None:
    card = Wide(without=EVENT_IDX | MQ)
    assert said(card, 0, 0, b"\0") == b"\0"
    assert said(card, 4, 0, b"\2\0") == b"\1"
    assert not arrives(card, to(OTHER))


def test_what_the_driver_said_is_saved_and_old_states_load() -> None:
    card = Wide()
    for kind, command, data in ((0, 0, b"\0"), (1, 0, macs(OTHER) + macs(GROUP)), (2, 0, b"\x0c\0"), (4, 0, b"\3\0")):
        said(card, kind, command, data, queue=8)
    other = VirtioNet(MAC, FakeWire(), pairs=4)
    other.load(card.device.save())
    assert other.save() == card.device.save()
    other.load({"version": 1, "up": False})
    assert other.config()[6] == 0


def test_a_card_of_long_ago_is_restored_as_it_was() -> None:
    old = VirtioNet(MAC, FakeWire(), pairs=0)
    assert len(old.queue_sizes) == 2
    assert not old.features & (CTRL_VQ | CTRL_RX | MQ)
    driver = Driver(old).start(without=EVENT_IDX)
    state = driver.transport.save() | {"device": {"version": 1, "up": True}}
    again = VirtioNet(MAC, FakeWire(), pairs=0)
    Driver(again).transport.load(state)
    assert again.is_running


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 3), max_size=2))
def test_any_command(pieces: list[bytes], writable: list[int]) -> None:
    card = Card()
    card.driver.rings[CONTROL].add([piece for piece in pieces if piece], writable or ([1] if not any(pieces) else []))
    card.driver.notify(CONTROL)
    assert card.driver.faults == []
    card.device.load(card.device.save())
    arrives(card, to(MAC))
