"""What is asked of a place in a network, and what the record keeps of it."""

from __future__ import annotations

from typing import Any

import pytest

from gasang.core.errors import UsageError
from gasang.daemon.containers.record import Container
from gasang.daemon.networks import endpoints
from gasang.daemon.networks.endpoints import WANTED_MAC, asked_of, asked_of_all
from gasang.network.spec import Endpoint, Network, NetworkSpec, SubnetSpec

MAC = "02:42:ac:11:00:09"


def network(name: str = "lan", *subnets: str, internal: bool = False) -> Network:
    spec = NetworkSpec(name, subnets=tuple(SubnetSpec(subnet) for subnet in subnets), internal=internal)
    return Network(f"id-{name}", spec, spec.subnets or (SubnetSpec("172.18.0.0/16"),), "gs0", 0)


def container() -> Container:
    return Container("c" * 64, "name", "", "", "", {"Hostname": "called"}, {"Dns": ["192.0.2.53"]})


def host(mode: str = "default", **more: Any) -> dict[str, Any]:
    return {"NetworkMode": mode, "PortBindings": {}, "PublishAllPorts": False, **more}


def test_each_network_has_what_is_asked_of_it() -> None:
    document = {"NetworkingConfig": {"EndpointsConfig": {"lan": {"Aliases": ["web"]}, "default": None}}}
    found = asked_of_all(document, host("lan"))
    assert set(found) == {"lan", "bridge"}
    assert found["lan"]["Aliases"] == ["web"]
    assert list(asked_of_all({}, host())) == ["bridge"]
    assert list(asked_of_all({}, host("none"))) == ["none"]
    assert asked_of_all({}, host("container:x")) == {}


def test_a_hardware_address_as_old_clients_say_it() -> None:
    assert asked_of_all({"MacAddress": MAC}, host("lan"))["lan"][WANTED_MAC] == MAC
    other = {"MacAddress": MAC, "NetworkingConfig": {"EndpointsConfig": {"lan": {"MacAddress": "02:42:ac:11:00:0a"}}}}
    assert asked_of_all(other, host("lan"))["lan"][WANTED_MAC] == "02:42:ac:11:00:0a"


@pytest.mark.parametrize(
    ("document", "mode"),
    [
        ({"NetworkingConfig": {"EndpointsConfig": []}}, "default"),
        ({"NetworkingConfig": {"EndpointsConfig": {"lan": 3}}}, "default"),
        ({"NetworkingConfig": {"EndpointsConfig": {"lan": {}}}}, "container:x"),
        ({"MacAddress": "zz"}, "default"),
        ({"MacAddress": 3}, "default"),
        ({}, "what:x"),
    ],
)
def test_documents_that_are_wrong(document: dict[str, Any], mode: str) -> None:
    with pytest.raises(UsageError):
        asked_of_all(document, host(mode))


def test_who_shares_a_network_publishes_nothing() -> None:
    with pytest.raises(UsageError, match="conflicting options"):
        asked_of_all({}, host("container:x", PublishAllPorts=True))


@pytest.mark.parametrize("config", [{"IPv4Address": "fd00::1"}, {"IPv6Address": "10.0.0.1"}, {"IPv4Address": "x"}])
def test_addresses_that_are_none(config: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        asked_of({"IPAMConfig": config}, "endpoint")


def test_fixed_addresses_need_a_subnet_that_stays() -> None:
    asked = asked_of({"IPAMConfig": {"IPv4Address": "10.7.0.9"}}, "endpoint")
    endpoints.check(asked, network("lan", "10.7.0.0/24"))
    endpoints.check(asked_of({}, "endpoint"), network())
    for wrong in (network("bridge"), network(), network("lan", "10.8.0.0/24"), network("lan", "fd00::/64")):
        with pytest.raises(UsageError, match="invalid config for network"):
            endpoints.check(asked, wrong)


def test_what_became_of_it_is_forgotten_and_what_was_asked_for_stays() -> None:
    asked = asked_of({"MacAddress": MAC, "Aliases": ["web"]}, "endpoint")
    assert asked["MacAddress"] == ""
    place = Endpoint("e", "id-lan", "c" * 64, "eth0", "gv0", "02:42:0a:07:00:02", "name", ("web",), "10.7.0.2/24", "", "10.7.0.1")
    asked.update(endpoints.fact(network(), place))
    assert (asked["IPAddress"], asked["IPPrefixLen"], asked["Gateway"], asked["MacAddress"]) == (
        "10.7.0.2", 24, "10.7.0.1", "02:42:0a:07:00:02",
    )  # fmt: skip
    assert asked["DNSNames"] == ["name", "web"]
    endpoints.forget(asked)
    assert (asked["IPAddress"], asked["MacAddress"], asked["DNSNames"], asked["Aliases"]) == ("", "", None, ["web"])
    assert endpoints.wish(container(), asked, default_route=True).mac == MAC


def test_the_wish() -> None:
    asked = asked_of({"Aliases": ["web", "called"], "Links": ["db:base", "cache"]}, "endpoint")
    wish = endpoints.wish(container(), asked, default_route=False)
    assert wish.aliases == ("web", "called", "c" * 12)
    assert wish.links == ("base=db", "cache=cache")
    assert (wish.resolvers, wish.default_route) == (("192.0.2.53",), False)


def test_the_way_out() -> None:
    places = {name: asked_of({"GwPriority": priority}, "x") for name, priority in (("a", 0), ("b", 5), ("c", 9))}
    assert endpoints.first_to_last(places, "b") == ["b", "a", "c"]
    nets = [network("b"), network("a"), network("c", internal=True)]
    assert endpoints.way_out(places, nets) == "id-b"
    assert endpoints.way_out(places, nets[1:]) == "id-a"
    assert endpoints.way_out(places, nets[2:]) == ""
