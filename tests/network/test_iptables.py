"""iptables where there is no nftables: everything goes again, others' rules stay, and without either there is the proxy."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest

from gasang.host.nftables import Netfilter
from gasang.network import iptables
from gasang.network.ports import parse
from gasang.network.spec import EndpointSpec, NetworkSpec
from support.network_host import OUTSIDE, Host


@pytest.fixture(autouse=True)
def _without_nftables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Netfilter, "usable", lambda _self: False)


@pytest.fixture
def _with_iptables() -> None:
    if not shutil.which("iptables-legacy-restore"):
        pytest.skip("iptables-legacy (package iptables) is not installed")


@pytest.mark.usefixtures("_with_iptables")
def test_all_goes_and_rules_of_others_stay(host: Host) -> None:
    subprocess.run(["iptables-legacy", "-A", "FORWARD", "-s", "203.0.113.0/24", "-j", "DROP"], check=True)
    subprocess.run(["iptables-legacy", "-P", "FORWARD", "DROP"], check=True)
    before = host.snapshot()
    networks = host.networks()
    networks.create(NetworkSpec("six", ipv6=True))
    ends = [networks.connect(name, host.namespace(), EndpointSpec(name)) for name in (networks.default().name, "six")]
    networks.publish(ends[1], parse("8080:80"))
    assert len(host.snapshot()["iptables"]) > len(before["iptables"])
    assert any("drops what it does not know" in sentence for sentence in networks.obstacles())
    for end in ends:
        networks.disconnect(end)
    networks.tidy(linger=0)
    assert host.settled(before) == before


@pytest.mark.usefixtures("_with_iptables")
def test_after_a_crash_rules_are_made_anew_without_doubles(host: Host) -> None:
    state: dict[str, dict[str, Any]] = {}
    networks = host.networks(store=lambda kind, identity, value: state.setdefault(kind, {}).__setitem__(identity, value))
    namespace = host.namespace()
    endpoint = networks.connect(networks.default().name, namespace, EndpointSpec("one"))
    networks.publish(endpoint, parse("8080:80"))
    before = host.snapshot()
    networks.close()
    host.networks(state).reconcile({"one": namespace})
    assert host.snapshot() == before


def test_without_either_the_proxy_still_serves(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iptables, "_PROGRAMS", {4: ("no-such-program",), 6: ()})
    networks = host.networks()
    namespace = host.namespace()
    endpoint = networks.connect(networks.default().name, namespace, EndpointSpec("one"))
    host.serve(namespace, "0.0.0.0", 80)
    host.serve(host.outside, OUTSIDE, 80)
    networks.publish(endpoint, parse("0.0.0.0:8080:80"))
    for address in ("127.0.0.1", "192.0.2.1"):
        assert host.call(None, address, 8080) == endpoint.gateway4
    assert host.is_barred(namespace, OUTSIDE, 80)
    assert [sentence for sentence in networks.obstacles() if "neither nftables nor iptables" in sentence]


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(Exception, match="no-such-program: it cannot be run"):
        iptables.run(["no-such-program"])
    with pytest.raises(Exception, match="false: it failed"):
        iptables.run(["false"])
