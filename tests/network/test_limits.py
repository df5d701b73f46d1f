"""Limits of a network's ports: what is asked for, and what the kernel then lets through."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import time
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import UnsupportedError, UsageError
from gasang.network.limits import Limits, limits_of
from gasang.network.networks import Networks
from gasang.network.spec import Endpoint, EndpointSpec, NetworkSpec, SubnetSpec
from support.network_host import Host

ALL = 0x0003
TEST_TYPE = 0x88B5
"""An EtherType for experiments (IEEE 802, 9.2.3)."""


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({"gasang.bandwidth": "100M"}, Limits(bandwidth=100_000_000)),
        ({"gasang.bandwidth": "1.5Gbit/s"}, Limits(bandwidth=1_500_000_000)),
        ({"gasang.latency": "20ms", "gasang.loss": "0.5%"}, Limits(latency=20_000, loss=5000)),
        ({"gasang.vlan": "12", "gasang.guard": "true", "other": "x"}, Limits(vlan=12, guard=True)),
        ({}, Limits()),
    ],
)
def test_what_is_asked_for(options: dict[str, str], limits: Limits) -> None:
    assert limits_of(options) == limits


@pytest.mark.parametrize(
    "options",
    [{"bandwidth": "1"}, {"bandwidth": "1T"}, {"bandwidth": "999G"}, {"vlan": "0"}, {"vlan": "4095"}, {"loss": "101%"}, {"loss": "1"},
     {"latency": "11s"}, {"latency": "-1ms"}, {"guard": "maybe"}, {"speed": "1M"}],
)  # fmt: skip
def test_what_cannot_be_asked_for(options: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        limits_of({f"gasang.{name}": text for name, text in options.items()})


@given(st.dictionaries(st.sampled_from([f"gasang.{name}" for name in ("bandwidth", "latency", "loss", "vlan", "guard")]), st.text()))
def test_any_text_is_limits_or_refused(options: dict[str, str]) -> None:
    try:
        limits_of(options)
    except UsageError:
        return


def joined(networks: Networks, host: Host, count: int, options: Mapping[str, str], **other: object) -> list[tuple[int, Endpoint]]:
    networks.create(NetworkSpec("lan", options=dict(options), subnets=(SubnetSpec("10.7.0.0/24"), SubnetSpec("fd07::/64")), **other))  # type: ignore[arg-type]
    places = [host.namespace() for _ in range(count)]
    return [(place, networks.connect("lan", place, EndpointSpec(f"{number:064x}"))) for number, place in enumerate(places, 1)]


def raw(host: Host, namespace: int, kind: int = TEST_TYPE) -> socket.socket:
    made = host.inside(namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind)))
    made.bind(("eth0", kind))
    made.settimeout(20)
    return made


def heard(host: Host, sender: int, listener: int, frames: list[bytes], kind: int = TEST_TYPE) -> list[bytes]:
    """Which of the frames come, in order; the last one is known to."""
    with raw(host, sender, ALL) as out, raw(host, listener, kind) as inward:
        for frame in frames:
            out.send(frame)
        got: list[bytes] = []
        while not got or got[-1] != frames[-1]:
            got.append(inward.recv(2000))
        return got


def hardware(end: Endpoint) -> bytes:
    return bytes.fromhex(end.mac.replace(":", ""))


def ethernet(to: bytes, source: bytes, kind: int, content: bytes) -> bytes:
    return to + source + kind.to_bytes(2, "big") + content.ljust(46, b"\0")


def arp(end: Endpoint, mac: bytes, address: str) -> bytes:
    body = struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 2, mac, socket.inet_aton(address), bytes(6), bytes(4))
    return ethernet(b"\xff" * 6, hardware(end), 0x0806, body)


def test_a_guarded_machine_speaks_in_its_own_name_alone(host: Host) -> None:
    networks = host.networks()
    (one, first), (two, second) = joined(networks, host, 2, {"gasang.guard": "true"})
    host.serve(two, second.address(4), 80)
    assert host.call(one, second.address(4), 80) == first.address(4)
    to, own = hardware(second), hardware(first)
    true = ethernet(to, own, TEST_TYPE, b"true")
    assert heard(host, one, two, [ethernet(to, b"\2\0\0\0\0\7", TEST_TYPE, b"false"), true]) == [true]
    honest = arp(first, own, first.address(4))
    assert heard(host, one, two, [arp(first, own, second.address(4)), arp(first, to, first.address(4)), honest], 0x0806)[-1:] == [honest]
    lies = [item for item in heard(host, one, two, [arp(first, own, "10.7.0.1"), honest], 0x0806) if item == arp(first, own, "10.7.0.1")]
    assert not lies


def test_tags_are_of_the_networks_vlan(host: Host) -> None:
    networks = host.networks()
    (one, first), (two, second) = joined(networks, host, 2, {"gasang.vlan": "12"})
    to, own = hardware(second), hardware(first)
    right, wrong = (ethernet(to, own, 0x8100, struct.pack(">HH", tag, TEST_TYPE)) for tag in (0x200C, 13))
    last = ethernet(to, own, TEST_TYPE, b"last")
    with raw(host, one, ALL) as out, raw(host, two, ALL) as inward:
        for frame in (wrong, right, last):
            out.send(frame)
        tags = []
        while True:
            data, _extra, _flags, place = inward.recvmsg(2000, 100)
            if place[1] == TEST_TYPE:
                tags.append(data)
                if data == last:
                    break
    assert len(tags) == 2  # the kernel takes the tag off before it shows a frame


def test_everything_can_be_lost(host: Host) -> None:
    networks = host.networks()
    (one, _first), (_two, second) = joined(networks, host, 2, {"gasang.loss": "100%"})
    with pytest.raises(OSError, match=r"timed out|No route"):
        host.call(one, second.address(4), 80, patience=0.5)


def test_a_bandwidth_holds_each_way(host: Host) -> None:
    networks = host.networks()
    (one, _first), (two, second) = joined(networks, host, 2, {"gasang.bandwidth": "20M"})
    server = host.inside(two, lambda: socket.create_server((second.address(4), 81)))
    with server, host.inside(one, lambda: socket.create_connection((second.address(4), 81))) as client, server.accept()[0] as caller:
        begun, got, rate = time.monotonic(), 0, 0.0
        client.setblocking(False)
        while (passed := time.monotonic() - begun) < 1.0 or (rate < 10e6 and passed < 20):  # a busy host takes its time
            with contextlib.suppress(BlockingIOError):
                client.send(bytes(65536))
            got += len(caller.recv(1 << 18))
            rate = got * 8 / (time.monotonic() - begun)
    assert 10e6 < rate < 25e6


def test_the_kernel_says_what_it_cannot(host: Host) -> None:
    networks = host.networks()
    networks.create(NetworkSpec("far", options={"gasang.latency": "5ms"}))
    place = host.namespace()
    end = None
    with contextlib.suppress(UnsupportedError):
        end = networks.connect("far", place, EndpointSpec("1" * 64))
    if end is None:  # and nothing is left of the cable
        assert not [name for name in host.snapshot()["links"] if name.startswith("gv")]
    else:
        shown = subprocess.run(["tc", "qdisc", "show", "dev", end.host_interface], capture_output=True, text=True, check=True).stdout
        assert "delay 5ms" in shown


def test_rules_go_with_the_machine_and_the_network(host: Host) -> None:
    before = host.snapshot()
    networks = host.networks()
    ends = joined(networks, host, 2, {"gasang.guard": "true", "gasang.loss": "1%"})
    chains = host.snapshot()["chains"]
    networks.disconnect(ends[0][1])
    assert host.snapshot()["chains"] == chains - 1
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    networks.connect("lan", host.namespace(), EndpointSpec("9" * 64))
    assert host.snapshot()["chains"] == chains
    for end in networks.endpoints():
        networks.disconnect(end)
    networks.tidy(0)
    assert host.snapshot()["tables"] == before["tables"]


def test_a_new_daemon_keeps_what_machines_live_of(host: Host) -> None:
    kept: dict[str, dict[str, object]] = {"network": {}, "endpoint": {}, "host": {}}
    networks = host.networks(store=lambda kind, key, value: kept[kind].update({key: value}))
    ends = joined(networks, host, 2, {"gasang.guard": "true"})
    chains = host.snapshot()["chains"]
    state = {kind: {key: value for key, value in items.items() if value is not None} for kind, items in kept.items()}
    networks.close()
    again = host.networks(state)
    again.reconcile({ends[0][1].machine: ends[0][0]})
    assert host.snapshot()["chains"] == chains - 1
