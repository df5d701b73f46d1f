"""Frames in, frames out: what is answered on the cable, what is passed on, and what is dropped."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.network.dhcp import leases
from gasang.network.user import dhcp, packets
from gasang.network.user.checksum import checksum, is_right, pseudo, total
from gasang.network.user.packets import ARP, HEADER, ICMP, ICMPV6, IPV4, IPV6, TCP, UDP, Packet
from gasang.network.user.plan import Places, Plan
from gasang.network.user.stack import Stack
from gasang.network.user.tcp import segment as wire
from gasang.network.user.tcp.segment import SYN, Segment

MAC = b"\x02\0\0\0\0\7"
PLACES = Places(Plan())
GUEST, GATEWAY, OUTSIDE = PLACES.guest, PLACES.gateway, ip_address("192.0.2.9").packed
GUEST6, OUTSIDE6 = ip_address("fd00:a00:2::77").packed, ip_address("2001:db8::1").packed


class Cable:
    """A stack, what it said, and what it passed on."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.passed: list[tuple[str, Packet, object]] = []
        self.stack = Stack(PLACES, self, lambda pieces: self.frames.append(b"".join(pieces)))

    def on_segment(self, packet: Packet, segment: Segment) -> None:
        self.passed.append(("segment", packet, segment))

    def on_datagram(self, packet: Packet, source: int, target: int, data: bytes) -> None:
        self.passed.append(("datagram", packet, (source, target, data)))

    def on_echo(self, packet: Packet, identity: int, data: bytes) -> None:
        self.passed.append(("echo", packet, (identity, data)))

    def take(self, frame: bytes, now: float = 0.0) -> list[bytes]:
        self.frames.clear()
        self.stack.receive(frame, now)
        return list(self.frames)


def framed(kind: int, body: bytes, to: bytes = PLACES.mac, mac: bytes = MAC, offload: bytes = bytes(HEADER)) -> bytes:
    return offload + to + mac + kind.to_bytes(2, "big") + body


def packet(source: bytes, target: bytes, protocol: int, payload: bytes) -> bytes:
    return framed(IPV4 if len(source) == 4 else IPV6, packets.ip_header(source, target, protocol, len(payload)) + payload)


def datagram(source: bytes, port: int, target: bytes, target_port: int, data: bytes) -> bytes:
    head = struct.pack(">HHH", port, target_port, 8 + len(data))
    right = checksum(head + b"\0\0" + data, pseudo(source, target, UDP, 8 + len(data)))
    return head + right.to_bytes(2, "big") + data


def icmp6(source: bytes, target: bytes, message: bytes, hops: int = 255) -> bytes:
    right = checksum(message, pseudo(source, target, ICMPV6, len(message)))
    body = message[:2] + right.to_bytes(2, "big") + message[4:]
    return framed(IPV6, packets.ip_header(source, target, ICMPV6, len(body), hops) + body)


def said(frame: bytes) -> Packet:
    read = packets.read(memoryview(frame))
    assert read is not None
    return read


@given(st.binary(max_size=300), st.binary(max_size=301))
def test_the_checksum_is_that_of_rfc_1071(data: bytes, more: bytes) -> None:
    words = struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    value = sum(words)
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    assert total(data) == value % 0xFFFF
    even = data + bytes(len(data) % 2)
    assert is_right(even + checksum(even, total(more)).to_bytes(2, "big"), total(more))


def test_addresses_are_told_for_ours_alone() -> None:
    def request(target: bytes, sender: bytes = GUEST) -> bytes:
        return framed(ARP, struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, MAC, sender, bytes(6), target), to=b"\xff" * 6)

    (answer,) = Cable().take(request(GATEWAY))
    assert answer[HEADER : HEADER + 6] == MAC
    assert answer[HEADER + 14 + 8 : HEADER + 14 + 18] == PLACES.mac + GATEWAY
    assert not Cable().take(request(OUTSIDE))
    assert not Cable().take(request(GATEWAY, OUTSIDE))
    assert not Cable().take(request(GUEST))


def test_the_gateway_answers_echoes_and_the_outside_does_not_here() -> None:
    message = b"\x08\0\0\0\1\2\3\4hello"
    right = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
    cable = Cable()
    (answer,) = cable.take(packet(GUEST, GATEWAY, ICMP, right))
    read = said(answer)
    assert (read.source, read.target, bytes(read.payload[4:])) == (GATEWAY, GUEST, b"\1\2\3\4hello")
    assert read.payload[0] == 0
    assert total(read.payload) == 0
    assert cable.take(packet(GUEST, OUTSIDE, ICMP, right)) == []
    assert cable.passed[0][0] == "echo"
    assert cable.take(packet(GUEST, GATEWAY, ICMP, message)) == []  # its checksum is wrong
    (answer,) = cable.take(icmp6(GUEST6, PLACES.gateway6, b"\x80\0\0\0\1\2\3\4hi", 64))
    assert said(answer).payload[0] == 129
    assert said(answer).checksum_is_right()


def test_a_router_is_found_and_neighbours_from_afar_are_none() -> None:
    link = ip_address("fe80::7").packed
    everyone = ip_address("ff02::2").packed
    (answer,) = Cable().take(icmp6(link, everyone, bytes((133, 0, 0, 0, 0, 0, 0, 0))))
    read = said(answer)
    assert read.payload[0] == 134
    assert read.checksum_is_right()
    assert read.hops == 255
    assert PLACES.prefix.network_address.packed in bytes(read.payload)
    assert PLACES.nameserver6 in bytes(read.payload)
    ask = bytes((135, 0, 0, 0, 0, 0, 0, 0)) + PLACES.gateway6
    (answer,) = Cable().take(icmp6(link, PLACES.gateway6, ask))
    assert said(answer).payload[0] == 136
    assert PLACES.mac in bytes(said(answer).payload)
    assert Cable().take(icmp6(link, PLACES.gateway6, ask, hops=254)) == []
    assert Cable().take(icmp6(link, PLACES.gateway6, bytes((135, 0, 0, 0, 0, 0, 0, 0)) + OUTSIDE6)) == []


def test_who_speaks_in_anothers_name_is_not_heard() -> None:
    for source in (OUTSIDE, GATEWAY, ip_address("10.0.2.255").packed, ip_address("127.0.0.1").packed, ip_address("10.0.3.15").packed):
        cable = Cable()
        cable.take(packet(source, OUTSIDE, UDP, datagram(source, 1, OUTSIDE, 2, b"x")))
        assert cable.passed == []
        assert cable.frames == []
        assert len(cable.stack.neighbours) == 0
    cable = Cable()
    cable.take(packet(OUTSIDE6, GUEST6, UDP, datagram(OUTSIDE6, 1, GUEST6, 2, b"x")))
    cable.take(framed(IPV4, packets.ip_header(GUEST, OUTSIDE, UDP, 9) + datagram(GUEST, 1, OUTSIDE, 2, b"x"), to=b"\x02abcde"))
    assert cable.passed == []


def test_so_many_neighbours_are_remembered() -> None:
    cable = Cable()
    for number in range(5000):
        source = PLACES.prefix.network_address.packed[:8] + number.to_bytes(8, "big")
        cable.take(packet(source, OUTSIDE6, UDP, datagram(source, 1, OUTSIDE6, 2, b"x")))
    assert len(cable.stack.neighbours) == 64


@pytest.mark.parametrize(("source", "target"), [(GUEST, OUTSIDE), (GUEST6, OUTSIDE6)])
def test_large_datagrams_come_whole_and_go_in_pieces(source: bytes, target: bytes) -> None:
    data = bytes(range(256)) * 20
    cable = Cable()
    pieces = packets.fragments(source, target, UDP, datagram(source, 5, target, 6, data), 1500, 77)
    assert len(pieces) == 4
    assert all(len(piece) <= 1500 for piece in pieces)
    for piece in reversed(pieces):
        cable.take(framed(IPV4 if len(source) == 4 else IPV6, piece))
    ((name, _, content),) = cable.passed
    assert (name, content) == ("datagram", (5, 6, data))
    cable.frames.clear()
    cable.stack.send_datagram(target, 6, source, 5, data)
    sent = list(cable.frames)
    assert len(sent) == 4
    back = Cable()
    reads = [said(frame) for frame in sent]
    whole = [found for read in reads if (found := back.stack._reassembly.take(read, 0.0)) is not None]
    assert len(whole) == 1
    assert whole[0].checksum_is_right()
    assert bytes(whole[0].payload[8:]) == data


def test_pieces_that_overlap_or_never_end_are_dropped() -> None:
    cable = Cable()

    def piece(number: int, offset: int, size: int, *, more: bool) -> bytes:
        place = offset >> 3 | (0x2000 if more else 0)
        return framed(IPV4, packets.ip_header(GUEST, OUTSIDE, UDP, size, identification=number, place=place) + bytes(size))

    for frame in (piece(1, 0, 64, more=True), piece(1, 32, 64, more=False), piece(1, 64, 32, more=False)):
        cable.take(frame)
    assert cable.passed == []
    for number in range(1000):
        cable.take(piece(number, 800, 800, more=True))
        cable.take(piece(number, 65528, 800, more=True))
    assert len(cable.stack._reassembly) <= 16
    cable.take(piece(9, 0, 8, more=True), now=60.0)
    assert len(cable.stack._reassembly) == 1


def asked(kind: int, mac: bytes = MAC, *options: bytes) -> bytes:
    fixed = struct.pack(">BBBBIHH4s4s4s4s16s64s128s4s", 1, 1, 6, 0, 99, 0, 0, b"", b"", b"", b"", mac, b"", b"", b"\x63\x82\x53\x63")
    message = fixed + bytes((53, 1, kind)) + b"".join(options) + b"\xff"
    nobody, everyone = bytes(4), b"\xff" * 4
    body = packets.ip_header(nobody, everyone, UDP, 8 + len(message)) + datagram(nobody, 68, everyone, 67, message)
    return framed(IPV4, body, to=b"\xff" * 6, mac=mac)


def test_an_address_is_leased_and_kept() -> None:
    cable = Cable()
    (offer,) = cable.take(asked(1))
    given_out = said(offer).payload[8 + 16 : 8 + 20]
    assert bytes(given_out) == GUEST
    (answer,) = cable.take(asked(3, MAC, b"\x32\x04" + GUEST))
    assert bytes(said(answer).payload)[8 + 240 : 8 + 243] == bytes((53, 1, 5))
    (answer,) = cable.take(asked(3, MAC, b"\x32\x04" + OUTSIDE))
    assert bytes(said(answer).payload)[8 + 240 : 8 + 243] == bytes((53, 1, 6))
    assert cable.take(asked(3, MAC, b"\x36\x04" + OUTSIDE)) == []  # it took another server's


def test_addresses_run_out_for_newcomers_alone() -> None:
    cable = Cable()
    assert cable.take(asked(1))
    got = [bool(cable.take(asked(1, b"\x02\0\0\1" + number.to_bytes(2, "big")))) for number in range(3000)]
    assert sum(got) == dhcp.LEASES - 1
    (offer,) = cable.take(asked(1))
    assert bytes(said(offer).payload[24:28]) == GUEST
    assert cable.take(asked(1, b"\x02\0\0\2\0\0"), now=leases.SECONDS + 1.0)


def test_ipv6_hosts_hear_of_the_resolver() -> None:
    link = ip_address("fe80::7").packed
    data = b"\x0b\1\2\3\0\1\0\2ab"
    everyone = ip_address("ff02::1:2").packed
    (answer,) = Cable().take(packet(link, everyone, UDP, datagram(link, 546, everyone, 547, data)))
    told = bytes(said(answer).payload[8:])
    assert told.startswith(b"\7\1\2\3")
    assert PLACES.nameserver6 in told
    assert b"\0\1\0\2ab" in told


def test_segments_are_joined_only_for_who_takes_that() -> None:
    cable = Cable()
    cable.stack.neighbours.learn(GUEST, MAC)
    made = Segment(80, 1000, 7, 8, wire.ACK, 100, bytes(4000), mss=1460)
    cable.stack.takes = 7
    cable.stack.send_segment(OUTSIDE, GUEST, made)
    (frame,) = cable.frames
    assert struct.unpack("<BBHHHHH", frame[:12]) == (1, 1, 54, 1460, 34, 16, 0)
    assert cable.stack.largest(4) > 60000
    cable.stack.takes = 0
    cable.frames.clear()
    cable.stack.send_segment(OUTSIDE, GUEST, Segment(80, 1000, 7, 8, wire.ACK, 100, b"odd", mss=1460))
    (frame,) = cable.frames
    assert frame[:12] == bytes(12)
    assert said(frame).checksum_is_right()
    assert cable.stack.largest(4) == 0


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "10.0.2.99", "::1", "::", "::ffff:127.0.0.1", "fe80::9", "ff02::1",
                "::127.0.0.1", "10.0.2.2", "fd00:a00:2::2", "fd00:a00:2::55"],
)  # fmt: skip
def test_the_hosts_own_and_the_cables_addresses_are_not_outside(address: str) -> None:
    assert PLACES.outside(ip_address(address).packed) is None


def test_the_gateway_leads_to_the_host_where_that_is_allowed() -> None:
    places = Places(Plan(reaches_host=True))
    assert (places.outside(places.gateway), places.outside(places.gateway6)) == ("127.0.0.1", "::1")
    assert places.outside(OUTSIDE) == "192.0.2.9"
    assert places.outside(places.nameserver) is None


tcp = st.builds(lambda head, data: wire.header(Segment(1, 2, head, 0, SYN, 0)) + data, st.integers(0, 1 << 32), st.binary(max_size=60))
bodies = st.one_of(st.binary(max_size=200), tcp, st.binary(max_size=60).map(lambda data: datagram(GUEST, 68, GATEWAY, 67, data)))
protocols = st.sampled_from([TCP, UDP, ICMP, ICMPV6, 0, 43, 44, 60, 99])
ends = st.sampled_from([(GUEST, GATEWAY), (GUEST, OUTSIDE), (GUEST6, OUTSIDE6), (GUEST6, PLACES.gateway6), (bytes(4), b"\xff" * 4)])
offloads = st.one_of(st.just(bytes(HEADER)), st.binary(min_size=HEADER, max_size=HEADER))


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(ends, protocols, bodies, offloads, st.integers(-1, 80), st.integers(0, 255)), min_size=1, max_size=5))
def test_packets_of_any_shape_do_no_harm(given_packets: list[tuple[tuple[bytes, bytes], int, bytes, bytes, int, int]]) -> None:
    cable = Cable()
    for (source, target), protocol, body, offload, place, value in given_packets:
        data = bytearray(packets.ip_header(source, target, protocol, len(body)) + body)
        if 0 <= place < len(data):
            data[place] = value
        if len(source) == 4:
            data[10:12] = b"\0\0"
            data[10:12] = checksum(bytes(data[:20])).to_bytes(2, "big")
        cable.take(framed(IPV4 if len(source) == 4 else IPV6, bytes(data), offload=offload))
    assert all(len(frame) <= HEADER + 14 + 1500 for frame in cable.frames)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.sampled_from([ARP, IPV4, IPV6, 0x88B5]))
def test_any_bytes_do_no_harm(data: bytes, kind: int) -> None:
    cable = Cable()
    cable.take(data)
    cable.take(framed(kind, data))
    assert len(cable.frames) <= 2


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=100))
def test_any_bytes_are_a_question_for_addresses_or_none(data: bytes, options: bytes) -> None:
    server, server6 = dhcp.server4(PLACES), dhcp.server6(PLACES)
    real = struct.pack(">BBBBIHH4s4s4s4s16s64s128s4s", 1, 1, 6, 0, 99, 0, 0, b"", b"", b"", b"", MAC, b"", b"", b"\x63\x82\x53\x63")
    for message in (data, real + options):
        answer = server.answer(message, MAC, 0.0)
        assert answer is None or len(answer) < 400
    assert server6.answer(data, MAC, 0.0) is None or data[:1] == b"\x0b"
