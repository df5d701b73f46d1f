"""Networks out of clients' documents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gasang.core.errors import GasangError, NotFoundError, PermissionDeniedError, StateError, UnsupportedError, UsageError
from gasang.daemon.networks.catalogue import Catalogue, network_id, without_bridge
from gasang.host import netlink, traffic
from gasang.network.names import tag_of
from gasang.network.networks import Networks
from support.privileges import needs_root

OPTIONS = {"bridge.enable_icc": "False", "driver.mtu": "1400", "bridge.host_binding_ipv4": "0.0.0.0"}


@pytest.fixture
def catalogue() -> Any:
    """One without networks; nothing is put on the host before a machine joins."""
    networks = Networks({}, tag=tag_of("catalogue"))
    yield Catalogue(networks)
    networks.close()


def test_a_document_becomes_a_network(catalogue: Catalogue) -> None:
    option = "com.docker.network."
    made = catalogue.create(
        "lan",
        {
            "IPAM": {"Config": [{"Subnet": "10.231.0.0/24", "AuxiliaryAddresses": {"router": "10.231.0.9"}}]},
            "Internal": True,
            "Attachable": True,
            "Labels": {"a": 1},
            "Options": {f"{option}{name}": value for name, value in OPTIONS.items()},
        },
    )  # fmt: skip
    spec = made.spec
    assert (spec.internal, spec.attachable, spec.icc, spec.masquerade, spec.mtu) == (True, True, False, True, 1400)
    assert spec.publish_on == ("0.0.0.0", "::")
    shown = catalogue.show(made)
    assert shown["IPAM"]["Config"] == [{"Subnet": "10.231.0.0/24", "Gateway": "10.231.0.1", "AuxiliaryAddresses": {"router": "10.231.0.9"}}]
    assert shown["Labels"] == {"a": "1"}
    assert catalogue.find(made.id[:12]) is made
    with pytest.raises(StateError, match="network with name lan already exists"):
        catalogue.create("lan", {})
    assert catalogue.remove("lan") is made
    with pytest.raises(NotFoundError, match="network lan not found"):
        catalogue.find("lan")


@needs_root
@pytest.mark.parametrize("able", [True, False])
def test_limits_that_a_bridge_cannot_keep_are_a_switchs(catalogue: Catalogue, able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's kernel is asked; here, what it answers where it has a discipline, and where it has none of that name."""
    name = traffic.shaped

    def shaped(index: int, bandwidth: int, latency: int) -> netlink.Message:
        made = name(index, bandwidth or 8_000_000, 0)
        return made if able else replace(made, body=made.body.replace(b"tbf\0", b"xyz\0"))

    monkeypatch.setattr(traffic, "shaped", shaped)
    late = {"Options": {"gasang.latency": "20ms"}}
    assert catalogue.create("late", late).spec.driver == ("bridge" if able else "switch")
    assert catalogue.create("named", {**late, "Driver": "bridge"}).spec.driver == "bridge"
    assert catalogue.create("plain", {}).spec.driver == "bridge"


@pytest.mark.parametrize(
    ("name", "document", "kind"),
    [
        ("host", {}, PermissionDeniedError),
        ("default", {}, PermissionDeniedError),
        ("x", {"Driver": "host"}, PermissionDeniedError),
        ("x", {"Driver": "macvlan"}, UnsupportedError),
        ("x", {"Scope": "swarm"}, UnsupportedError),
        ("x", {"Ingress": True}, UnsupportedError),
        ("x", {"ConfigOnly": True}, UnsupportedError),
        ("x", {"ConfigFrom": {"Network": "y"}}, UnsupportedError),
        ("x", {"EnableIPv4": False}, UnsupportedError),
        ("x", {"IPAM": {"Driver": "dhcp"}}, NotFoundError),
        ("x", {"IPAM": 3}, UsageError),
        ("x", {"Options": 3}, UsageError),
        ("x", {"IPAM": {"Config": [3]}}, UsageError),
        ("x", {"IPAM": {"Config": [{"Subnet": "10.0.0.1/24"}]}}, UsageError),
        ("x", {"IPAM": {"Config": [{"Subnet": "10.0.0.0"}]}}, UsageError),
        ("x", {"IPAM": {"Config": [{"Subnet": "10.0.0.0/24", "AuxiliaryAddresses": 3}]}}, UsageError),
        ("x", {"Options": {"com.docker.network.driver.mtu": "-1"}}, UsageError),
        ("x", {"Options": {"com.docker.network.bridge.host_binding_ipv4": "here"}}, UsageError),
    ],
)
def test_what_is_not_made(catalogue: Catalogue, name: str, document: dict[str, Any], kind: type[GasangError]) -> None:
    with pytest.raises(kind):
        catalogue.create(name, document)
    assert [network.name for network in catalogue.all()] == ["bridge"]


@pytest.mark.parametrize("name", ["host", "none", "bridge", "default"])
def test_what_stays(catalogue: Catalogue, name: str) -> None:
    with pytest.raises(PermissionDeniedError, match="pre-defined"):
        catalogue.remove(name)


def test_what_is_no_network_of_its_own() -> None:
    assert without_bridge("host") == "host"
    assert without_bridge(network_id("none")[:12]) == "none"
    assert without_bridge("web") == ""
