"""Links, addresses and routes, told to the kernel and read back, in a namespace of the test's own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, PermissionDeniedError
from gasang.host import netns, rtnetlink
from gasang.host.netlink import ROUTE, Answer, NetlinkError, Socket, attribute


@pytest.fixture
def route() -> Iterator[Socket]:
    try:
        namespace = netns.create()
    except PermissionDeniedError:
        pytest.skip("network namespaces need root")
    with netns.entered(namespace), Socket(ROUTE) as made:
        yield made
    os.close(namespace)


def links(route: Socket) -> dict[str, rtnetlink.Link]:
    found = [rtnetlink.link_of(answer) for answer in route.dump(rtnetlink.all_links())]
    return {link.name: link for link in found}


def test_a_bridge_with_a_cable(route: Socket) -> None:
    other = netns.create()
    route.send([rtnetlink.new_bridge("br0", b"\x02\0\0\0\0\1", 1400)])
    bridge = links(route)["br0"]
    route.send([rtnetlink.new_veth("end0", bridge.index, "far0", b"\x02\0\0\0\0\2", other, 1400)])
    end = links(route)["end0"]
    assert (bridge.kind, bridge.up, bridge.mtu, bridge.hardware_address) == ("bridge", True, 1400, b"\x02\0\0\0\0\1")
    assert (end.kind, end.up, end.master, end.mtu) == ("veth", True, bridge.index, 1400)
    with netns.entered(other), Socket(ROUTE) as inner:
        far = links(inner)["far0"]
        assert (far.index, far.hardware_address, far.up) == (end.peer, b"\x02\0\0\0\0\2", False)
    route.send([rtnetlink.isolate_port("end0"), rtnetlink.hairpin_port("end0")])
    route.send([rtnetlink.delete_link("end0")])
    assert "end0" not in links(route)
    os.close(other)


def test_addresses_and_routes(route: Socket) -> None:
    route.send([rtnetlink.new_bridge("d0", b"\x02\0\0\0\0\1")])
    index = links(route)["d0"].index
    route.send(
        [
            rtnetlink.new_address(index, socket.inet_aton("10.1.0.1"), 16),
            rtnetlink.new_address(index, socket.inet_pton(socket.AF_INET6, "fd00::1"), 64),
            rtnetlink.default_route(index, socket.inet_aton("10.1.0.2")),
            rtnetlink.route_to(socket.inet_aton("10.9.0.0"), 16, socket.inet_aton("10.1.0.3"), index),
        ]
    )
    addresses = {rtnetlink.network_of(answer) for answer in route.dump(rtnetlink.all_addresses())}
    assert {ip_network("10.1.0.0/16"), ip_network("fd00::/64")} <= addresses
    routes = {rtnetlink.network_of(answer) for answer in route.dump(rtnetlink.all_routes())}
    # A default route covers everything and says nothing.
    assert {ip_network("10.1.0.0/16"), ip_network("10.9.0.0/16"), None} <= routes
    route.send([rtnetlink.delete_address(index, socket.inet_aton("10.1.0.1"), 16)])
    assert ip_network("10.1.0.0/16") not in {rtnetlink.network_of(answer) for answer in route.dump(rtnetlink.all_addresses())}


def test_a_name_and_what_is_refused(route: Socket) -> None:
    route.send([rtnetlink.new_bridge("d0", b"\x02\0\0\0\0\1")])
    index = links(route)["d0"].index
    with pytest.raises(NetlinkError, match="bridge d0"):
        route.send([rtnetlink.new_bridge("d0", b"\x02\0\0\0\0\1")])
    assert rtnetlink.link_of(route.send([rtnetlink.settle_link(index)])[0]).name == "d0"


@given(st.binary(max_size=120), st.sampled_from([rtnetlink.NEW_ROUTE, rtnetlink.NEW_ADDRESS]))
def test_whatever_comes_is_a_network_or_refused(data: bytes, kind: int) -> None:
    try:
        network = rtnetlink.network_of(Answer(kind, 0, 1, data))
    except BadInputError:
        return
    assert network is None or network.version in (4, 6)


@given(st.binary(max_size=16), st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=20)), max_size=8))
def test_whatever_comes_is_a_link_or_refused(head: bytes, pairs: list[tuple[int, bytes]]) -> None:
    data = head + b"".join(attribute(kind, value) for kind, value in pairs)
    try:
        link = rtnetlink.link_of(Answer(rtnetlink.NEW_LINK, 0, 1, data))
    except BadInputError:
        return
    assert isinstance(link.name, str)
