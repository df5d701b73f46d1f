"""The socket device, with a driver that keeps its own accounts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import StateError
from gasang.devices.virtio.device import EVENT_IDX
from gasang.devices.virtio.vsock import OWED_LIMIT, STREAMS_LIMIT, VirtioVsock
from gasang.devices.virtio.vsock_packet import HEADER_SIZE, HOST, NO_RECEIVE, NO_SEND, STREAM, Operation, Packet
from gasang.devices.virtio.vsock_stream import ROOM, WAITING_LIMIT, Peer, Stream
from support.board_parts import FakeMemory
from support.device_makers import Echo
from support.virtio_driver import Driver
from support.vsock_guest import BUFFER, CID, Guest, Heard


@pytest.fixture
def peer() -> Heard:
    return Heard()


@pytest.fixture
def streams() -> list[Stream]:
    return []


@pytest.fixture
def guest(peer: Heard, streams: list[Stream]) -> Iterator[Guest]:
    def accept(stream: Stream) -> Peer | None:
        streams.append(stream)
        return peer if stream.address.host_port == 1 else None

    guest = Guest(VirtioVsock(CID, accept))
    yield guest
    assert guest.driver.faults == []


def test_the_guest_learns_its_context_id(guest: Guest) -> None:
    assert guest.driver.read(0x100) == CID
    assert guest.driver.read(0x104) == 0


def test_the_guest_connects_and_sends(guest: Guest, peer: Heard, streams: list[Stream]) -> None:
    guest.give(4)
    guest.say(Operation.REQUEST)
    ((response, _),) = guest.got()
    assert response == Packet(HOST, CID, 1, 9, 0, STREAM, Operation.RESPONSE, 0, ROOM, 0)
    assert peer.events == ["opened"]
    guest.say(Operation.RW, b"hello")
    assert peer.data == b"hello"
    assert streams[0].send(b"world") == 5
    ((packet, content),) = guest.got()
    assert (packet.operation, content) == (Operation.RW, b"world")


def test_where_nobody_listens_the_guest_is_told(guest: Guest) -> None:
    guest.give(2)
    guest.say(Operation.REQUEST, ports=(9, 2))
    guest.say(Operation.RW, b"x", ports=(77, 1))
    assert guest.heard() == [Operation.RST, Operation.RST]


def test_the_host_connects(guest: Guest) -> None:
    guest.give(4)
    peer = Heard()
    stream = guest.device.connect(1024, peer)
    assert stream.send(b"early") == 5
    ((request, _),) = guest.got()
    assert (request.operation, request.target_port) == (Operation.REQUEST, 1024)
    assert peer.events == []
    guest.say(Operation.RESPONSE, ports=(1024, request.source_port))
    assert peer.events == ["opened"]
    ((packet, content),) = guest.got()
    assert (packet.operation, content) == (Operation.RW, b"early")


def test_a_port_of_the_guest_where_nobody_listens(guest: Guest) -> None:
    guest.give(4)
    peer = Heard()
    stream = guest.device.connect(1024, peer)
    guest.say(Operation.RST, ports=(1024, stream.address.host_port))
    assert peer.events == ["closed"]
    assert stream.send(b"x") == 0
    assert guest.heard() == [Operation.REQUEST]


def test_no_driver_no_connection() -> None:
    with pytest.raises(StateError, match="no driver"):
        VirtioVsock(CID, lambda stream: None).connect(1024, Heard())


def test_the_guests_buffer_is_not_overrun(guest: Guest, streams: list[Stream]) -> None:
    guest.give(8)
    guest.say(Operation.REQUEST, room=10)
    guest.got()
    assert streams[0].send(b"0123456789abcdef") == 16
    assert [content for _, content in guest.got()] == [b"0123456789"]
    guest.say(Operation.CREDIT_UPDATE, room=10, taken=4)
    assert [content for _, content in guest.got()] == [b"abcd"]
    guest.say(Operation.CREDIT_UPDATE, room=10, taken=14)
    assert [content for _, content in guest.got()] == [b"ef"]


def test_our_buffer_is_not_overrun(guest: Guest, peer: Heard, streams: list[Stream]) -> None:
    guest.give(8)
    guest.say(Operation.REQUEST)
    for _ in range(ROOM // 4096):
        guest.say(Operation.RW, bytes(4096))
    assert len(peer.data) == ROOM
    guest.got()
    streams[0].consumed(ROOM // 2)
    ((packet, _),) = guest.got()
    assert (packet.operation, packet.room, packet.taken) == (Operation.CREDIT_UPDATE, ROOM, ROOM // 2)
    for _ in range(ROOM // 2 // 4096):
        guest.say(Operation.RW, bytes(4096))
    assert peer.events == ["opened"]
    guest.say(Operation.RW, b"x")
    assert guest.heard() == [Operation.RST]
    assert peer.events == ["opened", "closed"]


def test_a_guest_that_asks_is_told_its_credit(guest: Guest) -> None:
    guest.give(8)
    guest.say(Operation.REQUEST)
    guest.say(Operation.CREDIT_REQUEST)
    assert guest.heard() == [Operation.RESPONSE, Operation.CREDIT_UPDATE]


def test_a_sender_hears_of_room(guest: Guest, peer: Heard, streams: list[Stream]) -> None:
    guest.give(1)
    guest.say(Operation.REQUEST, room=1 << 30)
    guest.got()
    assert streams[0].send(bytes(WAITING_LIMIT + 1)) == WAITING_LIMIT
    assert streams[0].send(b"x") == 0
    assert peer.events == ["opened"]
    guest.give(1)
    assert peer.events == ["opened", "room"]
    assert streams[0].send(bytes(BUFFER)) == BUFFER - HEADER_SIZE


def test_the_host_ends_first(guest: Guest, peer: Heard, streams: list[Stream]) -> None:
    guest.give(8)
    guest.say(Operation.REQUEST)
    streams[0].send(b"last")
    streams[0].finish()
    assert streams[0].send(b"too late") == 0
    said = guest.got()
    assert [Operation(packet.operation) for packet, _ in said] == [Operation.RESPONSE, Operation.RW, Operation.SHUTDOWN]
    assert said[-1][0].flags == NO_SEND
    guest.say(Operation.RW, b"answer")
    guest.say(Operation.SHUTDOWN, flags=NO_SEND | NO_RECEIVE)
    assert peer.data == b"answer"
    assert peer.events == ["opened", "finished", "closed"]
    assert guest.heard() == [Operation.RST]


def test_the_guest_ends_first(guest: Guest, peer: Heard, streams: list[Stream]) -> None:
    guest.give(8)
    guest.say(Operation.REQUEST)
    guest.say(Operation.SHUTDOWN, flags=NO_SEND)
    assert peer.events == ["opened", "finished"]
    streams[0].send(b"reply")
    streams[0].finish()
    assert [packet.flags for packet, _ in guest.got()] == [0, 0, NO_SEND | NO_RECEIVE]
    guest.say(Operation.RST)
    assert peer.events == ["opened", "finished", "closed"]


def test_the_host_breaks_off(guest: Guest, peer: Heard, streams: list[Stream]) -> None:
    guest.give(8)
    guest.say(Operation.REQUEST)
    streams[0].close()
    streams[0].close()
    assert guest.heard() == [Operation.RESPONSE, Operation.RST]
    assert peer.events == ["opened"]


def test_the_drivers_end_is_every_connections(guest: Guest, peer: Heard) -> None:
    guest.say(Operation.REQUEST)
    guest.driver.write(0x70, 0)
    assert peer.events == ["opened", "closed"]


def test_a_restored_guest_is_told_that_its_connections_are_gone() -> None:
    peer = Heard()
    guest = Guest(VirtioVsock(CID, lambda stream: peer))
    guest.say(Operation.REQUEST)
    state = guest.driver.transport.save()
    other = Driver(VirtioVsock(7, lambda stream: None), guest.driver.memory)
    other.transport.load(state)
    other.rings = guest.driver.rings
    assert other.read(0x100) == 7
    other.rings[2].add(writable=[4])
    other.notify(2)
    assert other.rings[2].take_used() == [(0, bytes(4))]
    other.rings[2].add(writable=[4])
    other.notify(2)
    assert other.rings[2].take_used() == []


def test_a_twins_guest_is_told_too() -> None:
    peer = Heard()
    guest = Guest(VirtioVsock(CID, lambda stream: peer))
    guest.say(Operation.REQUEST)
    guest.driver.rings[2].add(writable=[4])
    guest.device.break_off()
    assert peer.events == ["opened", "closed"]
    assert guest.driver.rings[2].take_used() == [(0, bytes(4))]
    guest.device.break_off()  # without a buffer it is told when there is one
    guest.driver.rings[2].add(writable=[4])
    guest.driver.notify(2)
    assert guest.driver.rings[2].take_used() == [(1, bytes(4))]


@pytest.mark.parametrize("without", [EVENT_IDX, 0])
def test_connections_wait_until_the_guest_has_dropped_those_it_had(without: int) -> None:
    guest = Guest(VirtioVsock(CID, lambda stream: None))
    driver = guest.driver = Driver(guest.device, FakeMemory()).start(size=64, without=without)
    guest.give(4)
    events = driver.rings[2]
    events.add(writable=[4])
    events.add(writable=[4])
    driver.notify(2)
    guest.device.break_off()
    assert len(events.take_used()) == 1
    early, gone = guest.device.connect(1024, Heard()), guest.device.connect(1024, Heard())
    gone.close()
    driver.notify(2)  # for no reason
    assert guest.heard() == []
    events.add(writable=[4])
    assert without or events.available_event() == 2  # it notifies for the buffer that it has returned
    driver.notify(2)
    ((request, _),) = guest.got()
    assert (request.operation, request.source_port) == (Operation.REQUEST, early.address.host_port)
    guest.device.connect(1024, Heard())
    assert guest.heard() == [Operation.REQUEST]


def test_a_guest_that_gives_no_buffers_for_events_is_not_waited_for(guest: Guest) -> None:
    guest.give(2)
    guest.device.break_off()
    guest.device.connect(1024, Heard())
    assert guest.heard() == [Operation.REQUEST]


def test_a_guest_that_takes_nothing_does_not_fill_the_host(guest: Guest) -> None:
    ring = guest.driver.rings[1]
    for _ in range(3):
        while ring.free:
            ring.heap = ring.used + 2048  # all of them lie in one place
            ring.add([Packet(CID, HOST, 1, 5, 0, STREAM, Operation.RW, 0, 0, 0).pack()])
        guest.driver.notify(1)
        ring.take_used()
    assert len(guest.device._owed) == OWED_LIMIT
    guest.give(64, 64)
    assert len(guest.got()) == 64


def test_connections_are_counted(guest: Guest) -> None:
    for number in range(STREAMS_LIMIT + 2):
        guest.give(1)
        guest.say(Operation.REQUEST, ports=(number, 1))
        (operation,) = guest.heard()
        assert operation == (Operation.RESPONSE if number < STREAMS_LIMIT else Operation.RST)


@pytest.mark.parametrize(
    "packet",
    [
        Packet(CID, 5, 9, 1, 0, STREAM, Operation.RW, 0, 0, 0),
        Packet(8, HOST, 9, 1, 0, STREAM, Operation.RW, 0, 0, 0),
        Packet(CID, HOST, 9, 1, 0, STREAM, Operation.RST, 0, 0, 0),
    ],
)
def test_what_is_not_for_us_is_left_alone(guest: Guest, packet: Packet) -> None:
    guest.give(1)
    guest.raw(packet.pack())
    assert guest.got() == []


@pytest.mark.parametrize(
    ("kind", "operation", "length"), [(2, Operation.RW, 0), (STREAM, 99, 0), (STREAM, Operation.RW, 5), (STREAM, Operation.REQUEST, 0)]
)
def test_what_breaks_the_rules_ends_its_connection(guest: Guest, peer: Heard, kind: int, operation: int, length: int) -> None:
    guest.give(4)
    guest.say(Operation.REQUEST)
    guest.raw(Packet(CID, HOST, 9, 1, length, kind, operation, 0, 0, 0).pack())
    assert peer.events == ["opened", "closed"]
    assert guest.heard() == [Operation.RESPONSE, Operation.RST]


@pytest.mark.parametrize(("queue", "readable", "writable"), [(1, [bytes(HEADER_SIZE - 1)], []), (0, [], [HEADER_SIZE])])
def test_what_breaks_the_queues_rules_fails_the_device(queue: int, readable: list[bytes], writable: list[int]) -> None:
    guest = Guest(VirtioVsock(CID, lambda stream: None))
    guest.say(Operation.REQUEST)
    guest.driver.rings[queue].add(readable, writable)
    guest.driver.notify(queue)
    assert len(guest.driver.faults) == 1


PIECES = st.lists(st.binary(min_size=1, max_size=3000), max_size=40)


@settings(max_examples=30)
@given(pieces=PIECES, sizes=st.lists(st.integers(HEADER_SIZE + 1, 6000), min_size=1, max_size=5), room=st.integers(1, 5000))
def test_everything_that_is_sent_comes_back(pieces: list[bytes], sizes: list[int], room: int) -> None:
    guest = Guest(VirtioVsock(CID, Echo))
    guest.give(1, sizes[0])
    guest.say(Operation.REQUEST, room=room)
    assert guest.heard() == [Operation.RESPONSE]
    back, ended = b"", False

    def take() -> None:
        nonlocal back, ended
        for packet, content in guest.got():
            assert packet.operation != Operation.RST
            assert packet.length == len(content) <= room
            back += content
            ended = ended or packet.operation == Operation.SHUTDOWN

    for number, piece in enumerate(pieces):
        guest.say(Operation.RW, piece, room=room, taken=len(back) & 0xFFFF_FFFF)
        guest.give(1, sizes[number % len(sizes)])
        take()
    guest.say(Operation.SHUTDOWN, flags=NO_SEND, room=room, taken=len(back))
    for turn in range(200_000):
        if ended:
            break
        guest.give(1, sizes[turn % len(sizes)])
        take()
        guest.say(Operation.CREDIT_UPDATE, room=room, taken=len(back))
    assert hashlib.sha256(back).digest() == hashlib.sha256(b"".join(pieces)).digest()
    assert guest.driver.faults == []


HEADERS = st.builds(
    Packet,
    st.sampled_from([CID, CID, CID, 0, 2, 1 << 63]),
    st.sampled_from([HOST, HOST, HOST, 0, 9]),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 40) | st.integers(0, 0xFFFF_FFFF),
    st.sampled_from([STREAM, STREAM, STREAM, 0, 2, 0xFFFF]),
    st.integers(0, 9),
    st.integers(0, 3) | st.integers(0, 0xFFFF_FFFF),
    st.integers(0, 100) | st.integers(0, 0xFFFF_FFFF),
    st.integers(0, 100) | st.integers(0, 0xFFFF_FFFF),
)


@settings(max_examples=150)
@given(st.lists(st.tuples(HEADERS, st.binary(max_size=50), st.booleans()), max_size=40))
def test_no_packet_harms_the_host(packets: list[tuple[Packet, bytes, bool]]) -> None:
    guest = Guest(VirtioVsock(CID, Echo))
    guest.give(8)
    for packet, content, takes in packets:
        guest.raw(packet.pack(), content or b"\0")
        if takes:
            guest.got()
            guest.driver.rings[0].heap = guest.driver.rings[0].used + 2048
            guest.give(1)
        assert len(guest.device._streams) <= STREAMS_LIMIT
    assert guest.driver.faults == []
