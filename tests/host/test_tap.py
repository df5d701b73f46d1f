"""Taps, in a network namespace of the test's own."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import pytest

from gasang.core.errors import GasangError, PermissionDeniedError, UnsupportedError
from gasang.host import netns, rtnetlink
from gasang.host.netlink import ROUTE, Socket
from gasang.host.tap import CSUM, HEADER, TSO4, TSO6, Tap

MAC = b"\x02\0\0\0\0\7"
PING = MAC + b"\x02\0\0\0\0\x08" + b"\x88\xb5" + b"hello"
"""An Ethernet frame of a type for experiments."""


@pytest.fixture
def namespace() -> Iterator[None]:
    try:
        made = netns.create()
    except PermissionDeniedError:
        pytest.skip("network namespaces need root")
    with netns.entered(made):
        yield
    os.close(made)


@pytest.fixture
def tap(namespace: None) -> Iterator[Tap]:
    try:
        made = Tap("tap0")
    except UnsupportedError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def up(name: str, bridge: int = 0) -> None:
    with Socket(ROUTE) as route:
        route.send([rtnetlink.without_link_local(socket.if_nametoindex(name)), rtnetlink.join_bridge(socket.if_nametoindex(name), bridge)])


def frames(tap: Tap, kind: bytes) -> list[bytes]:
    """Those of a type; the kernel says things of its own."""
    return [frame for frame in tap.receive(32) if frame[HEADER + 12 : HEADER + 14] == kind]


def test_frames_go_both_ways(tap: Tap) -> None:
    up("tap0")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.bind(("tap0", 0x88B5))
        wire.settimeout(30)
        tap.send([memoryview(bytes(HEADER)), memoryview(PING[:7]), memoryview(PING[7:])])
        assert wire.recv(2000) == PING
        wire.send(PING)
        assert select.select([tap.descriptor], [], [], 30)[0]
        assert frames(tap, b"\x88\xb5") == [bytes(HEADER) + PING]
        assert frames(tap, b"\x88\xb5") == []


@pytest.mark.parametrize(
    "frame", [b"", bytes(HEADER), bytes(HEADER + 13), b"\1\1" + bytes(10) + PING, b"\xff" * 70000, b"\xff" * HEADER + PING]
)
def test_what_the_kernel_does_not_take_is_lost(tap: Tap, frame: bytes) -> None:
    up("tap0")
    tap.send([memoryview(frame)])


def test_an_interface_that_is_down_has_nothing(tap: Tap) -> None:
    tap.send([memoryview(bytes(HEADER) + PING)])
    assert tap.receive(10) == []
    tap.join(CSUM | TSO4 | TSO6)
    tap.join(0xFFFF)


def test_a_port_of_a_bridge(tap: Tap) -> None:
    with Socket(ROUTE) as route:
        route.send([rtnetlink.new_bridge("br0", b"\x02\0\0\0\0\1")])
        index = socket.if_nametoindex("br0")
        route.send([rtnetlink.join_bridge(socket.if_nametoindex("tap0"), index, 1400)])
        link = rtnetlink.link_of(route.send([rtnetlink.get_link("tap0")])[0])
    assert (link.master, link.up, link.mtu) == (index, True, 1400)


def test_a_tap_goes_with_its_owner(namespace: None) -> None:
    Tap("gone0").close()
    assert "gone0" not in [name for _, name in socket.if_nameindex()]


@pytest.mark.parametrize("name", ["", "x" * 16, "tap%d", "a/b", "lo", "tap0"])
def test_names_that_cannot_be(tap: Tap, name: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(GasangError, match="network interface"):
        Tap(name)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_socket_stands_in_for_a_tap() -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one.setblocking(False)
    tap = Tap.taken(one.detach())
    tap.join(CSUM | TSO4)
    tap.send([memoryview(bytes(HEADER)), memoryview(PING)])
    assert other.recv(100) == b"\3\0\0\0"
    assert other.recv(100) == bytes(HEADER) + PING
    other.send(bytes(HEADER) + PING)
    assert tap.receive(4) == [bytes(HEADER) + PING]
    other.close()
    tap.join(CSUM)
    tap.send([memoryview(PING)])
    tap.close()
