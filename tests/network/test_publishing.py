"""Published ports, from everywhere one may call them."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from gasang.core.errors import StateError, UsageError
from gasang.network.networks import Networks
from gasang.network.ports import parse
from gasang.network.spec import Endpoint, EndpointSpec, NetworkSpec, PortSpec
from support.network_host import OUTSIDE, OUTSIDE6, Host

pytestmark = pytest.mark.usefixtures("firewall")

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


def machine(host: Host, networks: Networks, **wishes: Any) -> tuple[int, Endpoint]:
    if not any(network.name == "lan" for network in networks.list()):
        networks.create(NetworkSpec("lan", **wishes))
    namespace = host.namespace()
    endpoint = networks.connect("lan", namespace, EndpointSpec(f"m{namespace}"))
    for kind in (TCP, UDP):
        host.serve(namespace, "0.0.0.0", 80, kind=kind)
    return namespace, endpoint


@pytest.mark.parametrize(("kind", "protocol"), [(TCP, "tcp"), (UDP, "udp")])
@pytest.mark.parametrize("ipv6", [False, True])
def test_unless_told_otherwise_on_loopback_only(host: Host, kind: int, protocol: str, ipv6: bool) -> None:
    networks = host.networks()
    _, endpoint = machine(host, networks, ipv6=ipv6)
    published = networks.publish(endpoint, parse(f"8080:80/{protocol}"))
    assert {item.host_address for item in published} == {"127.0.0.1", "::1"}
    assert host.call(None, "127.0.0.1", 8080, kind=kind) == endpoint.gateway4
    assert host.is_barred(None, "192.0.2.1", 8080, kind=kind)
    assert host.is_barred(host.outside, "192.0.2.1", 8080, kind=kind)


@pytest.mark.parametrize(("kind", "protocol"), [(TCP, "tcp"), (UDP, "udp")])
def test_on_ipv6_loopback_by_the_proxy(host: Host, kind: int, protocol: str) -> None:
    networks = host.networks()
    _, endpoint = machine(host, networks)
    networks.publish(endpoint, parse(f"8080:80/{protocol}"))
    assert host.call(None, "::1", 8080, kind=kind) == endpoint.gateway4


@pytest.mark.parametrize(("kind", "protocol"), [(TCP, "tcp"), (UDP, "udp")])
def test_on_every_address_if_told_so(host: Host, kind: int, protocol: str) -> None:
    networks = host.networks()
    namespace, endpoint = machine(host, networks, publish_on=("0.0.0.0", "::"), ipv6=True)
    host.serve(namespace, "::", 81, kind=kind)
    networks.publish(endpoint, parse(f"8080:80/{protocol}") + parse(f"8081:81/{protocol}"))
    for caller in ("127.0.0.1", "192.0.2.1", endpoint.gateway4):
        assert host.reaches(None, caller, 8080, kind=kind)
    # From outside: under its own address, translated by rules and not by the proxy.
    assert host.call(host.outside, "192.0.2.1", 8080, kind=kind) == OUTSIDE
    assert host.call(host.outside, "2001:db8::1", 8081, kind=kind) == OUTSIDE6


@pytest.mark.parametrize(("kind", "protocol"), [(TCP, "tcp"), (UDP, "udp")])
def test_machines_reach_published_ports_also_their_own_and_other_networks(host: Host, kind: int, protocol: str) -> None:
    networks = host.networks()
    namespace, endpoint = machine(host, networks, publish_on=("0.0.0.0",))
    neighbour, _ = machine(host, networks)
    networks.create(NetworkSpec("other"))
    stranger = host.namespace()
    networks.connect("other", stranger, EndpointSpec("stranger"))
    networks.publish(endpoint, parse(f"8080:80/{protocol}"))
    for caller in (namespace, neighbour, stranger):
        assert host.reaches(caller, "192.0.2.1", 8080, kind=kind)
        assert host.reaches(caller, endpoint.gateway4, 8080, kind=kind)


def test_one_address_is_not_another(host: Host) -> None:
    networks = host.networks()
    _, one = machine(host, networks)
    _, two = machine(host, networks)
    networks.publish(one, parse("127.0.0.1:8080:80"))
    networks.publish(two, parse("127.0.0.2:8080:81"))
    assert host.reaches(None, "127.0.0.1", 8080)
    assert host.is_barred(None, "127.0.0.2", 8080)


def test_ports_in_use_are_refused_whole(host: Host) -> None:
    networks = host.networks()
    _, one = machine(host, networks)
    _, two = machine(host, networks)
    networks.publish(one, parse("8080:80"))
    before = host.snapshot()
    with pytest.raises(StateError, match="already allocated"):
        networks.publish(two, parse("9090:80") + parse("8080:80"))
    assert host.snapshot() == before
    assert networks.endpoint(two.id).published == ()
    assert networks.publish(two, parse("9090:80"))
    with pytest.raises(UsageError, match="cannot publish there"):
        networks.publish(two, [PortSpec(80, host_address="203.0.113.9", host_port=80)])


def test_withdrawn_ports_are_free_at_once(host: Host) -> None:
    networks = host.networks()
    _, one = machine(host, networks)
    _, two = machine(host, networks)
    for endpoint in (one, two, one):
        networks.publish(endpoint, parse("8080:80") + parse("8080:80/udp"))
        assert host.reaches(None, "127.0.0.1", 8080)
        assert host.reaches(None, "127.0.0.1", 8080, kind=UDP)
        networks.withdraw(endpoint)
        assert host.is_barred(None, "127.0.0.1", 8080)
    networks.publish(one, parse("8080:80"))
    networks.disconnect(one)
    socket.create_server(("127.0.0.1", 8080)).close()


def test_a_udp_caller_follows_the_port_to_its_next_machine(host: Host) -> None:
    networks = host.networks()
    networks.create(NetworkSpec("lan"))
    spaces = [host.namespace() for _ in range(2)]
    ends = [networks.connect("lan", space, EndpointSpec(f"m{space}")) for space in spaces]
    with socket.socket(socket.AF_INET, UDP) as caller:
        caller.settimeout(20)
        for end, space in zip(ends, spaces, strict=True):
            networks.publish(end, parse("127.0.0.1:8080:80/udp"))
            host.serve(space, end.address(4), 80, kind=UDP)
            caller.sendto(b"who?", ("127.0.0.1", 8080))
            assert caller.recv(100)
            networks.withdraw(end)


def test_many_ports_at_once(host: Host) -> None:
    networks = host.networks()
    _, endpoint = machine(host, networks)
    published = networks.publish(endpoint, parse("127.0.0.1:20000-20255:80-335"))
    assert len(published) == 256
    assert host.reaches(None, "127.0.0.1", 20000)
