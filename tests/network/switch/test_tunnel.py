"""Frames between hosts: which packets bring one, who of the peers gets which, and what no peer can do to others."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import StateError, UsageError
from gasang.network import overlay
from gasang.network.switch import tunnel, vxlan
from gasang.network.switch.control import vxlan_document, vxlan_of
from gasang.network.switch.ports import Allowed
from gasang.network.switch.switch import Switch
from gasang.network.switch.vxlan import Vxlan, peers_of
from gasang.network.user.service import cable

ONE, TWO, EVERYBODY = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2", b"\xff" * 6
SECOND = 10**9
VALID = b"\x08\0\0\0\0\0\x2a\0"
"""RFC 7348, figure 1: the flag I, and the number 42."""


class Bench:
    """A tunnel without a socket, and a way to ask it."""

    def __init__(self, *peers: str, aging: int = 300 * SECOND) -> None:
        wanted = Vxlan(42, peers_of(peers))
        self.family = wanted.family
        self.state: Any = wanted.tunnel(self.family, aging)

    def hear(self, source: str, packet: bytes, now: int = 0) -> bool:
        ((address, port),) = peers_of([source])
        for at, word in enumerate(struct.unpack("=4Q", vxlan._name(self.family, address, port).ljust(32, b"\0"))):
            self.state.source[at] = word
        data = ctypes.create_string_buffer(packet, len(packet) + 64)
        return bool(tunnel.accepted(ctypes.addressof(self.state), ctypes.addressof(data), len(packet), now))

    def to(self, address: bytes, now: int = 0) -> set[int]:
        data = ctypes.create_string_buffer(address + bytes(64))
        peers = tunnel.peers_for(ctypes.addressof(self.state), ctypes.addressof(data), now)
        return {at for at in range(32) if peers >> at & 1}


def frame(to: bytes, source: bytes, kind: int = 0x88B5, content: bytes = bytes(46)) -> bytes:
    return to + source + struct.pack(">H", kind) + content


@pytest.mark.parametrize("peers", [("192.0.2.1", "192.0.2.2", "192.0.2.3:4790"), ("[2001:db8::1]:4789", "192.0.2.2", "2001:db8::3")])
def test_stations_are_learned_by_peer(peers: tuple[str, ...]) -> None:
    bench = Bench(*peers, aging=10)
    assert bench.to(EVERYBODY) == bench.to(ONE) == {0, 1, 2}
    assert bench.hear(peers[1], VALID + frame(EVERYBODY, ONE))
    assert bench.to(ONE) == {1}
    assert bench.to(b"\x01\0\x5e\0\0\1") == {0, 1, 2}
    assert bench.hear(peers[2], VALID + frame(EVERYBODY, ONE), 5)
    assert bench.to(ONE, 6) == {2}
    assert bench.to(ONE, 15) == {0, 1, 2}


def test_of_two_peers_on_one_host_the_port_tells() -> None:
    bench = Bench("192.0.2.1:4789", "192.0.2.1:4790")
    assert bench.hear("192.0.2.1:4790", VALID + frame(EVERYBODY, ONE))
    assert bench.to(ONE) == {1}
    assert bench.hear("192.0.2.1:50000", VALID + frame(EVERYBODY, TWO))  # as kernels choose it
    assert bench.to(TWO) == {0}


@pytest.mark.parametrize(
    ("source", "packet"),
    [
        ("192.0.2.9", VALID + frame(EVERYBODY, ONE)),
        ("192.0.2.1", b"\0" + VALID[1:] + frame(EVERYBODY, ONE)),
        ("192.0.2.1", b"\xf7" + VALID[1:] + frame(EVERYBODY, ONE)),
        ("192.0.2.1", VALID[:6] + b"\x2b\0" + frame(EVERYBODY, ONE)),
        ("192.0.2.1", VALID + frame(EVERYBODY, ONE)[:13]),
        ("192.0.2.1", VALID[:7]),
        ("192.0.2.1", b""),
        ("192.0.2.1", VALID + frame(EVERYBODY, EVERYBODY)),
        ("192.0.2.1", VALID + frame(EVERYBODY, bytes(6))),
        ("192.0.2.1", VALID + frame(EVERYBODY, ONE, 0x8100)),
        ("192.0.2.1", VALID + frame(EVERYBODY, ONE, 0x88A8)),
    ],
)
def test_what_is_refused(source: str, packet: bytes) -> None:
    bench = Bench("192.0.2.1", "192.0.2.2")
    assert not bench.hear(source, packet)
    assert bench.to(ONE) == {0, 1}


def test_reserved_bits_are_ignored() -> None:
    assert Bench("192.0.2.1").hear("192.0.2.1", b"\xff\xff\xff\xff\0\0\x2a\xff" + frame(EVERYBODY, ONE))


def test_one_peer_cannot_make_another_unreachable() -> None:
    """It fills the table: who is not in it is spoken to by way of all peers."""
    bench = Bench("192.0.2.1", "192.0.2.2")
    for number in range(2000):
        bench.hear("192.0.2.1", VALID + frame(EVERYBODY, b"\2\1" + number.to_bytes(4, "big")))
    assert bench.hear("192.0.2.2", VALID + frame(EVERYBODY, ONE))
    assert 1 in bench.to(ONE)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=80), st.booleans())
def test_any_packet(junk: bytes, begins: bool) -> None:
    bench = Bench("192.0.2.1")
    packet = VALID + junk if begins else junk
    if bench.hear("192.0.2.1", packet):
        assert len(packet) >= 22
        assert packet[0] & 8
        assert packet[4:7] == b"\0\0\x2a"


@pytest.mark.parametrize(
    "text", ["", "host", "1.2.3", "1.2.3.4:0", "1.2.3.4:65536", "[::1", "[::1]x", "224.0.0.1", "0.0.0.0", "fe80::1%eth0"]
)
def test_what_is_no_peer(text: str) -> None:
    with pytest.raises(UsageError):
        peers_of([text])


def test_what_options_say() -> None:
    said = {"gasang.vxlan": "42", "gasang.peers": "192.0.2.7, [2001:db8::1]:99", "gasang.vxlan-port": "4800", "gasang.guard": "true"}
    made = overlay.vxlan_of(said)
    assert made == Vxlan(42, (("192.0.2.7", 4800), ("2001:db8::1", 99)), 4800)
    assert made is not None
    assert vxlan_of(vxlan_document(made)) == made
    assert overlay.mtu_of(made) == 1430
    assert overlay.mtu_of(Vxlan(1, peers_of(["192.0.2.7"]))) == 1450
    assert overlay.vxlan_of({"gasang.guard": "true"}) is None
    many = ",".join(f"192.0.2.{number}" for number in range(1, 40))
    for wrong in ({"vxlan": "16777216", "peers": "192.0.2.7"}, {"vxlan": "42"}, {"peers": "192.0.2.7"}, {"vxlan": "42", "peers": many}):
        with pytest.raises(UsageError):
            overlay.vxlan_of({f"gasang.{name}": text for name, text in wrong.items()})


def test_switches_are_joined_and_strangers_are_not_heard() -> None:
    """Two switches on one host, each with one machine; checksums are filled in and segments cut on the way."""
    switches, ends = [Switch(), Switch()], []
    ports = [_free(), _free()]
    for number, made in enumerate(switches):
        ours, theirs = cable()
        made.add(ours)
        ends.append(socket.socket(fileno=theirs))
        ends[-1].settimeout(30)
        wanted = Vxlan(42, (("127.0.0.1", ports[1 - number]),), ports[number])
        made.add(vxlan.listening(wanted), Allowed(outward=True), wanted)
        with pytest.raises(StateError):
            vxlan.listening(wanted)
    with pytest.raises(UsageError, match="itself"):
        vxlan.listening(Vxlan(42, (("127.0.0.1", own := _free()),), own))
    one, two = ends
    one.send(bytes(12) + frame(EVERYBODY, ONE))
    assert two.recv(200) == bytes(12) + frame(EVERYBODY, ONE)
    two.send(bytes(12) + frame(ONE, TWO))
    assert one.recv(200) == bytes(12) + frame(ONE, TWO)
    udp = frame(TWO, ONE, 0x800, bytes(20) + struct.pack(">HHHH", 5, 6, 13, 0) + b"hello")
    one.send(struct.pack("<BBHHHHH", 1, 0, 0, 0, 34, 6, 0) + udp)
    got = two.recv(200)
    assert got[:12] == bytes(12)
    assert got[52:54] != b"\0\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:  # 127.0.0.2 is none of the peers
        stranger.bind(("127.0.0.2", 0))
        for packet in (VALID + frame(ONE, TWO), b"", os.urandom(60), VALID):
            stranger.sendto(packet, ("127.0.0.1", ports[0]))
    two.send(bytes(12) + frame(ONE, TWO, content=b"last".ljust(46)))
    assert one.recv(200)[26:30] == b"last"
    assert switches[0].counts(1).refused == 4
    assert switches[0].stations()[0, TWO] == 1
    for each in (*switches, *ends):
        each.close()


def _free() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])
