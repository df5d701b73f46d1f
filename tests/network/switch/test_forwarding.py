"""Where frames go: VLANs, stations, isolation, guards and loss, decided with a time that is given."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.native import ctype_of
from gasang.network.switch import forwarding, shaping, state

SECOND = 10**9
MACS = [bytes((2, 0, 0, 0, 0, number)) for number in range(8)]
EVERYBODY = b"\xff" * 6
TEST = 0x88B5


class Bench:
    """A switch without descriptors that are any, and a way to ask it."""

    def __init__(self, count: int, aging: int = 300 * SECOND) -> None:
        self.state: Any = ctype_of(state.Switch)()
        self.state.aging, self.state.most_learned, self.state.seed, self.state.count = aging, 4, 7, count
        for number, port in enumerate(self.state.ports):
            port.descriptor = 1 if number < count else -1

    def to(self, number: int, frame: bytes, now: int = 0) -> set[int]:
        """The ports that it goes to."""
        data = ctypes.create_string_buffer(frame, len(frame) + 64)
        ports = forwarding.decide(ctypes.addressof(self.state), number, ctypes.addressof(data), len(frame), now)
        return {at for at in range(state.PORTS) if ports >> at & 1}


def frame(to: bytes, source: bytes, content: bytes = b"", kind: int = TEST, tag: int | None = None) -> bytes:
    tagged = struct.pack(">HH", 0x8100, tag) if tag is not None else b""
    return to + source + tagged + struct.pack(">H", kind) + content.ljust(46, b"\0")


def test_stations_are_learned_move_and_are_forgotten() -> None:
    bench = Bench(3, aging=10)
    assert bench.to(0, frame(EVERYBODY, MACS[1])) == {1, 2}
    assert bench.to(1, frame(MACS[1], MACS[2])) == {0}
    assert bench.to(0, frame(MACS[1], MACS[3])) == set()
    assert bench.to(2, frame(EVERYBODY, MACS[1]), 1) == {0, 1}
    assert bench.to(1, frame(MACS[1], MACS[2]), 2) == {2}
    assert bench.to(1, frame(MACS[1], MACS[2]), 11) == {0, 2}


def test_one_port_does_not_fill_the_table() -> None:
    bench = Bench(2)
    for number in range(100):
        bench.to(0, frame(EVERYBODY, b"\2\0\0\0\1" + bytes((number,))))
    assert bench.state.ports[0].learned == 4
    bench.to(1, frame(EVERYBODY, MACS[1]))
    assert bench.to(0, frame(MACS[1], b"\2\0\0\0\1\0")) == {1}
    forwarding.leave(ctypes.addressof(bench.state), 0)
    assert (bench.state.ports[0].learned, bench.state.ports[1].learned) == (0, 1)


def test_vlans() -> None:
    bench = Bench(4)
    for number, vlan in enumerate((10, 20, 0, 10)):
        bench.state.ports[number].vlan = vlan
    trunk = bench.state.ports[2]
    trunk.trunk, trunk.allowed[10 >> 6] = 1, 1 << 10
    assert bench.to(0, frame(EVERYBODY, MACS[1])) == {2, 3}
    assert bench.to(0, frame(EVERYBODY, MACS[1], tag=10)) == {2, 3}
    assert bench.to(0, frame(EVERYBODY, MACS[1], tag=20)) == set()
    assert bench.to(0, frame(EVERYBODY, MACS[1], tag=0xE000)) == {2, 3}
    assert bench.to(2, frame(EVERYBODY, MACS[2], tag=10)) == {0, 3}
    assert bench.to(2, frame(EVERYBODY, MACS[2], tag=20)) == set()
    assert bench.to(2, frame(EVERYBODY, MACS[2], tag=0xFFF)) == set()
    assert bench.to(2, frame(EVERYBODY, MACS[2], kind=0x88A8)) == set()
    assert bench.to(1, frame(MACS[1], MACS[3])) == set()  # known in another VLAN alone


def test_isolated_ports_and_what_is_never_forwarded() -> None:
    bench = Bench(3)
    bench.state.ports[0].isolated = bench.state.ports[1].isolated = 1
    assert bench.to(0, frame(EVERYBODY, MACS[1])) == {2}
    assert bench.to(2, frame(EVERYBODY, MACS[2])) == {0, 1}
    assert bench.to(1, frame(MACS[1], MACS[3])) == set()
    assert bench.to(2, frame(b"\x01\x80\xc2\0\0\x0e", MACS[2])) == set()
    for source in (EVERYBODY, bytes(6)):
        assert bench.to(2, frame(MACS[1], source)) == set()
    assert bench.state.ports[2].refused == 3


def ip(source: str, protocol: int = 6, content: bytes = b"") -> bytes:
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20, 0, 0, 64, protocol, 0, socket.inet_aton(source), bytes(4)) + content


def ip6(source: str, following: int = 6, content: bytes = b"") -> bytes:
    return struct.pack(">IHBB16s16s", 6 << 28, len(content), following, 64, socket.inet_pton(socket.AF_INET6, source), bytes(16)) + content


def arp(mac: bytes, source: str) -> bytes:
    return struct.pack(">HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, mac, socket.inet_aton(source), bytes(6), bytes(4))


def neighbour(target: str, kind: int = 136) -> bytes:
    return bytes((kind, 0, 0, 0, 0, 0, 0, 0)) + socket.inet_pton(socket.AF_INET6, target)


HOPS = b"\x3a\0" + bytes(6)
OTHER = "10.0.0.9"


@pytest.mark.parametrize(
    ("kind", "content", "passes"),
    [
        (0x800, ip("10.0.0.2"), True),
        (0x800, ip("0.0.0.0", 17, b"\0\x44\0\x43"), True),
        (0x800, ip(OTHER), False),
        (0x800, ip("10.0.0.2", 17, b"\0\x43\0\x44"), False),
        (0x800, ip("10.0.0.2")[:19], False),
        (0x806, arp(MACS[1], "10.0.0.2"), True),
        (0x806, arp(MACS[1], "0.0.0.0"), True),
        (0x806, arp(MACS[1], OTHER), False),
        (0x806, arp(MACS[2], "10.0.0.2"), False),
        (0x86DD, ip6("fd00::2"), True),
        (0x86DD, ip6("fe80::1:2"), True),
        (0x86DD, ip6("::", 58, neighbour("fd00::2", 135)), True),
        (0x86DD, ip6("fd00::9"), False),
        (0x86DD, ip6("fd00::2", 58, neighbour("fd00::2")), True),
        (0x86DD, ip6("fd00::2", 58, neighbour("fd00::9")), False),
        (0x86DD, ip6("fe80::1", 58, b"\x86" + bytes(15)), False),
        (0x86DD, ip6("fe80::1", 0, HOPS + b"\x86" + bytes(15)), False),
        (0x86DD, ip6("fe80::1", 44, HOPS + b"\x86" + bytes(15)), False),
        (0x86DD, ip6("fd00::2", 17, b"\2\x23\2\x22"), False),
        (TEST, b"what is no IP", True),
    ],
)
def test_a_guarded_port_speaks_in_its_own_name(kind: int, content: bytes, passes: bool) -> None:
    for tag in (None, 5):
        bench = Bench(2)
        port = bench.state.ports[0]
        port.vlan, bench.state.ports[1].vlan = 5, 5
        port.guarded, port.address, port.ipv4 = 1, int.from_bytes(MACS[1], "big"), int.from_bytes(socket.inet_aton("10.0.0.2"), "big")
        address = socket.inet_pton(socket.AF_INET6, "fd00::2")
        port.ipv6_high, port.ipv6_low = int.from_bytes(address[:8], "big"), int.from_bytes(address[8:], "big")
        whole = frame(EVERYBODY, MACS[1], tag=tag, kind=kind)[: 18 if tag else 14] + content
        assert bench.to(0, whole) == ({1} if passes else set())
        assert bench.to(0, frame(EVERYBODY, MACS[2], tag=tag)) == set()


def test_nobody_takes_a_guarded_ports_place() -> None:
    bench = Bench(3)
    bench.state.ports[0].guarded, bench.state.ports[0].address = 1, int.from_bytes(MACS[1], "big")
    bench.to(0, frame(EVERYBODY, MACS[1]))
    assert bench.to(2, frame(EVERYBODY, MACS[1])) == set()
    assert bench.to(1, frame(MACS[1], MACS[2])) == {0}


def test_loss_is_as_it_was_asked_for() -> None:
    bench = Bench(2)
    bench.state.ports[0].loss = 250_000
    lost = sum(not bench.to(0, frame(EVERYBODY, MACS[1])) for _ in range(4000))
    assert lost == bench.state.ports[0].lost
    assert 850 < lost < 1150


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.binary(max_size=90)
            | st.builds(
                frame,
                st.sampled_from(MACS),
                st.sampled_from(MACS),
                st.binary(max_size=60),
                st.sampled_from([0x800, 0x806, 0x86DD, 0x8100]),
                st.none() | st.integers(0, 65535),
            ),
        ),
        max_size=12,
    )
)
def test_any_frames(frames: Sequence[tuple[int, bytes]]) -> None:
    bench = Bench(4)
    for number, port in enumerate(bench.state.ports[:4]):
        port.vlan, port.trunk, port.guarded, port.address = number & 1, number >> 1, number & 1, int.from_bytes(MACS[1], "big")
    for now, (number, data) in enumerate(frames):
        ports = bench.to(number, data, now)
        assert number not in ports
        assert ports <= {0, 1, 2, 3}
    stations = [each for each in bench.state.stations if each.key]
    assert [sum(each.port == number for each in stations) for number in range(4)] == [port.learned for port in bench.state.ports[:4]]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(14, 400), st.integers(0, 2000)), max_size=60), st.integers(0, 500), st.integers(0, 3))
def test_frames_that_wait_leave_in_order_and_at_their_rate(frames: Sequence[tuple[int, int]], latency: int, cost: int) -> None:
    port: Any = ctype_of(state.Port)()
    ring = ctypes.create_string_buffer(4096)
    port.ring, port.ring_size, port.latency = ctypes.addressof(ring), 4096, latency
    port.leaving.cost, port.leaving.burst = cost << 16, 500
    at, now, charged = ctypes.addressof(port), 0, 0
    waiting: list[bytes] = []
    for number, (size, later) in enumerate(frames):
        data = bytes((number,)) * size
        kept = ctypes.create_string_buffer(data)
        if shaping.hold(at, ctypes.addressof(kept), size, now):
            waiting.append(data)
            charged = max(charged, now) + size * cost
        now += later
        while port.ring_head != port.ring_tail:
            record: Any = ctype_of(state.Held).from_address(shaping.first(at))
            if record.due > now:
                break
            assert ctypes.string_at(ctypes.addressof(record) + ctypes.sizeof(record), record.size) == waiting.pop(0)
            shaping.drop_first(at)
        assert port.leaving.until == (charged if cost else 0)
    assert bool(waiting) == (port.ring_head != port.ring_tail)
