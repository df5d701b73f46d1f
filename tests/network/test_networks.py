"""Networks as machines see them, with real namespaces: who reaches whom, and from where it seems to come."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

import pytest

from gasang.core.errors import NotFoundError, StateError, UsageError
from gasang.host import rtnetlink
from gasang.host.netlink import ROUTE, NetlinkError, Socket
from gasang.network.networks import Networks
from gasang.network.ports import parse
from gasang.network.spec import Endpoint, EndpointSpec, Network, NetworkSpec, PortSpec, SubnetSpec
from support.network_host import OUTSIDE, OUTSIDE6, Host

pytestmark = pytest.mark.usefixtures("firewall")

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


def join(host: Host, networks: Networks, network: str, machine: str, **wishes: Any) -> tuple[int, Endpoint]:
    namespace = host.namespace()
    return namespace, networks.connect(network, namespace, EndpointSpec(machine, name=machine, **wishes))


def test_a_machine_has_its_interface_address_and_route(host: Host) -> None:
    networks = host.networks()
    namespace, endpoint = join(host, networks, networks.default().name, "one")
    assert endpoint.ipv4 == "172.17.0.2/16"
    assert endpoint.gateway4 == "172.17.0.1"
    assert endpoint.mac == "02:42:ac:11:00:02"
    assert endpoint.dns == (OUTSIDE,)

    def look() -> list[rtnetlink.Link]:
        with Socket(ROUTE) as route:
            return [rtnetlink.link_of(answer) for answer in route.dump(rtnetlink.all_links())]

    links = {link.name: link for link in host.inside(namespace, look)}
    assert links["lo"].up
    assert links["eth0"].up
    assert links["eth0"].hardware_address.hex(":") == endpoint.mac


@pytest.mark.parametrize("kind", [TCP, UDP])
@pytest.mark.parametrize("family", [4, 6])
def test_two_machines_of_a_network_reach_each_other(host: Host, kind: int, family: int) -> None:
    networks = host.networks()
    networks.create(NetworkSpec("lan", ipv6=True))
    (first, one), (second, two) = (join(host, networks, "lan", name) for name in ("one", "two"))
    host.serve(first, "::" if family == 6 else "0.0.0.0", 80, kind=kind)
    assert host.call(second, one.address(family), 80, kind=kind) == two.address(family)
    assert host.call(None, one.address(family), 80, kind=kind) == (two.gateway4 if family == 4 else two.gateway6)


@pytest.mark.parametrize(("spec", "address", "seen"), [({}, OUTSIDE, "192.0.2.1"), ({"ipv6": True}, OUTSIDE6, "2001:db8::1")])
def test_machines_go_out_under_the_hosts_address(host: Host, spec: dict[str, Any], address: str, seen: str) -> None:
    networks = host.networks()
    networks.create(NetworkSpec("lan", **spec))
    namespace, _ = join(host, networks, "lan", "one")
    host.serve(host.outside, address, 80)
    host.serve(host.outside, address, 80, kind=UDP)
    assert host.call(namespace, address, 80) == seen
    assert host.call(namespace, address, 80, kind=UDP) == seen


def test_networks_do_not_reach_each_other_nor_the_outside_them(host: Host) -> None:
    networks = host.networks()
    networks.create(NetworkSpec("red"))
    networks.create(NetworkSpec("blue"))
    red, one = join(host, networks, "red", "one")
    blue, _ = join(host, networks, "blue", "two")
    host.serve(red, "0.0.0.0", 80)
    host.serve(red, "0.0.0.0", 80, kind=UDP)
    assert host.reaches(None, one.address(4), 80)
    assert host.is_barred(blue, one.address(4), 80)
    assert host.is_barred(blue, one.address(4), 80, kind=UDP)

    def route_there() -> None:
        with Socket(ROUTE) as route:
            route.send([rtnetlink.default_route(socket.if_nametoindex("out0"), socket.inet_aton("192.0.2.1"))])

    host.inside(host.outside, route_there)
    assert host.is_barred(host.outside, one.address(4), 80)


def test_an_internal_network_has_no_way_out(host: Host) -> None:
    networks = host.networks()
    networks.create(NetworkSpec("cellar", internal=True))
    (first, one), (second, _) = (join(host, networks, "cellar", name) for name in ("one", "two"))
    networks.create(NetworkSpec("open"))
    third, _ = join(host, networks, "open", "three")
    host.serve(host.outside, OUTSIDE, 80)
    host.serve(first, "0.0.0.0", 80)
    assert one.gateway4 == ""
    assert host.reaches(second, one.address(4), 80)
    assert host.is_barred(second, OUTSIDE, 80)
    assert host.is_barred(third, one.address(4), 80)

    def route_out() -> None:
        with Socket(ROUTE) as route:
            route.send([rtnetlink.default_route(socket.if_nametoindex("eth0"), socket.inet_aton("172.17.0.1"))])

    # Also one that gives itself a route.
    host.inside(second, route_out)
    assert host.is_barred(second, OUTSIDE, 80)
    assert networks.publish(one, [PortSpec(80, host_port=8080)]) == ()


def test_members_can_be_kept_apart(host: Host) -> None:
    networks = host.networks()
    networks.create(NetworkSpec("flats", icc=False, publish_on=("0.0.0.0",)))
    (first, one), (second, _) = (join(host, networks, "flats", name) for name in ("one", "two"))
    host.serve(first, "0.0.0.0", 80)
    host.serve(host.outside, OUTSIDE, 80)
    assert host.is_barred(second, one.address(4), 80)
    assert host.reaches(second, OUTSIDE, 80)
    networks.publish(one, parse("8080:80"))
    assert host.reaches(second, one.gateway4, 8080)


def test_a_machine_reaches_no_loopback_of_the_host(host: Host) -> None:
    networks = host.networks()
    namespace, endpoint = join(host, networks, networks.default().name, "one")
    host.serve(None, "127.0.0.1", 99, kind=UDP)

    def lure() -> None:
        with Socket(ROUTE) as route:
            index = socket.if_nametoindex("eth0")
            (link,) = [item for item in route.dump(rtnetlink.all_links()) if rtnetlink.link_of(item).name == "lo"]
            assert rtnetlink.link_of(link).index == 1
            route.send([rtnetlink.delete_address(1, socket.inet_aton("127.0.0.1"), 8)])
            route.send([rtnetlink.route_to(socket.inet_aton("127.0.0.0"), 8, socket.inet_aton(endpoint.gateway4), index)])

    with open("/proc/sys/net/ipv4/conf/all/route_localnet", encoding="ascii") as file:
        assert file.read().strip() == "0"

    def open_up() -> None:
        for name in ("all", "eth0"):
            with open(f"/proc/sys/net/ipv4/conf/{name}/route_localnet", "w", encoding="ascii") as parameter:
                parameter.write("1")

    host.inside(namespace, open_up)
    host.inside(namespace, lure)
    assert host.reaches(None, "127.0.0.1", 99, kind=UDP)
    assert host.is_barred(namespace, "127.0.0.1", 99, kind=UDP)


def test_a_machine_can_be_in_several_networks(host: Host) -> None:
    networks = host.networks()
    for name in ("red", "blue"):
        networks.create(NetworkSpec(name))
    namespace, first = join(host, networks, "red", "both")
    second = networks.connect("blue", namespace, EndpointSpec("both"))
    other, _ = join(host, networks, "blue", "other")
    host.serve(namespace, "0.0.0.0", 80)
    host.serve(host.outside, OUTSIDE, 80)
    assert host.reaches(other, second.address(4), 80)
    assert (first.interface, second.interface) == ("eth0", "eth1")
    assert (first.default_route, second.default_route) == (True, False)
    assert host.reaches(namespace, OUTSIDE, 80)
    networks.disconnect(first, namespace=namespace)
    assert host.inside(namespace, lambda: {name for _, name in socket.if_nameindex()}) == {"lo", "eth1"}
    # The default route went over to the network that is left.
    assert networks.endpoint(second.id).default_route
    assert host.reaches(namespace, OUTSIDE, 80)
    assert networks.connect("red", namespace, EndpointSpec("both")).interface == "eth0"


def test_an_echo_comes_back(host: Host) -> None:
    networks = host.networks()
    networks.create(NetworkSpec("lan"))
    (namespace, _), (_, two) = (join(host, networks, "lan", name) for name in ("one", "two"))
    request = b"\x08\0\xf7\xff\0\0\0\0"
    for target in (two.address(4), two.gateway4, OUTSIDE):
        with host.inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)) as pinger:
            pinger.settimeout(20)
            pinger.sendto(request, (target, 0))
            answer, (sender, _) = pinger.recvfrom(200)
            assert (sender, answer[20]) == (target, 0), "type 0 is the echo's reply"


def test_a_machine_without_a_network_has_lo(host: Host) -> None:
    namespace = host.namespace()
    host.networks().isolate(namespace)
    host.serve(namespace, "127.0.0.1", 80)
    assert host.reaches(namespace, "127.0.0.1", 80)
    assert host.inside(namespace, lambda: [name for _, name in socket.if_nameindex()]) == ["lo"]


def test_addresses_asked_for_are_given(host: Host) -> None:
    networks = host.networks()
    networks.create(NetworkSpec("lan", subnets=(SubnetSpec("10.9.0.0/24", "10.9.0.254", "10.9.0.128/25"), SubnetSpec("fd01::/64"))))
    _, one = join(host, networks, "lan", "one")
    _, two = join(host, networks, "lan", "two", ipv4="10.9.0.7", ipv6="fd01::7", mac="02:00:00:00:00:07")
    assert (one.ipv4, one.gateway4, one.ipv6) == ("10.9.0.128/24", "10.9.0.254", "fd01::2/64")
    assert (two.ipv4, two.ipv6, two.mac) == ("10.9.0.7/24", "fd01::7/64", "02:00:00:00:00:07")
    with pytest.raises(StateError, match=r"10\.9\.0\.7: it is in use"):
        join(host, networks, "lan", "three", ipv4="10.9.0.7")
    with pytest.raises(UsageError, match="it is not in"):
        join(host, networks, "lan", "three", ipv4="10.8.0.7")
    with pytest.raises(UsageError, match="no IPv6"):
        join(host, networks, networks.default().name, "three", ipv6="fd01::9")
    # What failed took nothing.
    assert join(host, networks, "lan", "three")[1].ipv4 == "10.9.0.129/24"


def test_a_subnet_collides_with_nothing(host: Host) -> None:
    with Socket(ROUTE) as route:
        index = socket.if_nametoindex("up0")
        route.send([rtnetlink.new_address(index, socket.inet_aton("172.17.5.1"), 24)])
    networks = host.networks()
    assert networks.default().subnets[0].subnet == "172.18.0.0/16"
    assert networks.create(NetworkSpec("next")).subnets[0].subnet == "172.19.0.0/16"
    with pytest.raises(StateError, match="another network has"):
        networks.create(NetworkSpec("clash", subnets=(SubnetSpec("172.18.4.0/24"),)))


def test_a_subnet_of_ours_gives_way_to_the_hosts_when_nobody_is_in_it(host: Host) -> None:
    networks = host.networks()
    networks.disconnect(join(host, networks, networks.default().name, "one")[1])
    networks.tidy(linger=0)
    with Socket(ROUTE) as route:
        route.send([rtnetlink.new_address(socket.if_nametoindex("up0"), socket.inet_aton("172.17.0.1"), 16)])
    _, again = join(host, networks, "bridge", "one")
    assert again.ipv4 == "172.18.0.2/16"
    assert networks.inspect("bridge").subnets[0].subnet == "172.18.0.0/16"


def test_an_interface_that_is_there_already_is_refused_and_leaves_nothing(host: Host) -> None:
    networks = host.networks()
    namespace, _ = join(host, networks, networks.default().name, "one")
    before = host.snapshot()
    with pytest.raises(NetlinkError, match="File exists"):
        networks.connect("bridge", namespace, EndpointSpec("one", interface="eth0"))
    assert host.snapshot() == before
    assert join(host, networks, "bridge", "two")[1].ipv4 == "172.17.0.3/16"


def test_a_namespace_that_is_none_is_refused_and_leaves_nothing(host: Host) -> None:
    networks = host.networks()
    join(host, networks, networks.default().name, "one")
    before = host.snapshot()
    with open(os.devnull, "rb") as file, pytest.raises(NetlinkError):
        networks.connect("bridge", file.fileno(), EndpointSpec("two"))
    assert host.snapshot() == before


def test_networks_are_found_listed_and_removed(host: Host) -> None:
    stored: dict[tuple[str, str], Any] = {}
    networks = host.networks(store=lambda kind, identity, value: stored.update({(kind, identity): value}))
    lan = networks.create(NetworkSpec("lan", labels={"for": "tests"}))
    default = networks.default()
    assert networks.default() is default
    assert networks.inspect(lan.id[:6]) is networks.inspect("lan") is lan
    assert networks.list() == [lan, default]
    _, endpoint = join(host, networks, "lan", "one")
    with pytest.raises(StateError, match=r"machines are in it \(one\)"):
        networks.remove("lan")
    with pytest.raises(StateError, match="default"):
        networks.remove("bridge")
    with pytest.raises(StateError, match="there is one of that name"):
        networks.create(NetworkSpec("lan"))
    networks.disconnect(endpoint)
    networks.disconnect(endpoint)
    assert networks.prune() == [lan]
    with pytest.raises(NotFoundError):
        networks.inspect("lan")
    assert stored[("network", lan.id)] is None
    assert stored[("endpoint", endpoint.id)] is None
    assert Network.from_json(json.loads(json.dumps(stored[("network", default.id)]))) == default


def test_what_is_stored_is_all_that_is_needed(host: Host) -> None:
    state: dict[str, dict[str, Any]] = {}

    def store(kind: str, identity: str, value: dict[str, Any] | None) -> None:
        state.setdefault(kind, {})[identity] = json.loads(json.dumps(value))

    networks = host.networks(store=store)
    lan = networks.create(NetworkSpec("lan", subnets=(SubnetSpec("10.9.0.0/24", reserved={"router": "10.9.0.2"}),)))
    namespace, one = join(host, networks, "lan", "one", aliases=("uno",))
    networks.publish(one, parse("127.0.0.1:8080:80"))
    networks.close()
    again = host.networks(state)
    assert again.inspect("lan") == lan
    assert again.endpoints() == [networks.endpoint(one.id)]
    assert again.reconcile({"one": namespace}) == []
    assert join(host, again, "lan", "two")[1].ipv4 == "10.9.0.4/24"
    host.serve(namespace, "0.0.0.0", 80)
    assert host.reaches(None, "127.0.0.1", 8080)
