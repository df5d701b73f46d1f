"""Guests with kernels of their own in networks: whom they reach, whom they ask for names, and that their networks stay apart."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from gasang.host import rtnetlink
from gasang.host.netlink import ROUTE, Socket
from gasang.host.tap import LARGEST, Tap
from gasang.network import guests
from gasang.network.networks import Networks
from gasang.network.ports import parse
from gasang.network.spec import Endpoint, EndpointSpec, NetworkSpec
from support.network_host import Host

UDP = socket.SOCK_DGRAM
PATIENCE = 20.0


class Guest:
    """A namespace that stands for a guest: the card in it is joined to the tap of the machine's namespace by a thread."""

    def __init__(self, host: Host, networks: Networks) -> None:
        self.host = host
        self.networks = networks
        self.outer, self.inner = host.namespace(), host.namespace()
        self.tap = networks.furnish(self.outer)
        host.stack.callback(os.close, self.tap)
        self.card = host.inside(self.inner, lambda: Tap("eth0"))
        host.stack.callback(self.card.close)
        os.set_blocking(self.tap, False)
        stop, stops = os.pipe()
        thread = threading.Thread(target=self._carry, args=(stop,))
        thread.start()
        for action in (lambda: os.close(stop), thread.join, lambda: os.close(stops)):
            host.stack.callback(action)

    def _carry(self, stop: int) -> None:
        other = {self.tap: self.card.descriptor, self.card.descriptor: self.tap}
        waiting = select.poll()
        for each in (*other, stop):
            waiting.register(each, select.POLLIN)
        while stop not in (ready := [each for each, _ in waiting.poll()]):
            for each in ready:
                with contextlib.suppress(OSError):  # one of them is not up yet: lost, as on any cable
                    os.write(other[each], os.read(each, LARGEST))

    def join(self, network: str, name: str, **wishes: Any) -> Endpoint:
        """What a guest's agent does in it comes with the place."""
        made = self.networks.connect(network, self.outer, EndpointSpec(name, name=name, guest=True, **wishes))
        self.host.inside(self.inner, lambda: self._configure(made))
        return made

    def _configure(self, place: Endpoint) -> None:
        index, hardware = socket.if_nametoindex("eth0"), bytes.fromhex(place.mac.replace(":", ""))
        address, _, prefix = place.ipv4.partition("/")
        server = socket.inet_aton(guests.SERVER)
        with Socket(ROUTE) as route:
            first = [rtnetlink.set_up(1), rtnetlink.set_hardware_address(index, hardware), rtnetlink.set_up(index)]
            route.send([*first, rtnetlink.new_address(index, socket.inet_aton(address), int(prefix))])
            if place.gateway4 and place.default_route:
                route.send([rtnetlink.default_route(index, socket.inet_aton(place.gateway4))])
            route.send([rtnetlink.route_on(index, server), rtnetlink.neighbour(index, server, guests.SERVER_ADDRESS)])


def question(name: str) -> bytes:
    """Of its IPv4 address (RFC 1035)."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\0\x00\x01\x00\x01"


def asked(host: Host, namespace: int, name: str) -> str:
    """The address that a guest hears for a name."""
    with host.inside(namespace, lambda: socket.socket(socket.AF_INET, UDP)) as client:
        client.settimeout(PATIENCE)
        client.sendto(question(name), (guests.SERVER, 53))
        answer = client.recv(512)
        assert answer[:2] == b"\x12\x34"
        return socket.inet_ntoa(answer[-4:])


@pytest.fixture
def networks(host: Host) -> Networks:
    made = host.networks()
    made.create(NetworkSpec("lan"))
    return made


def test_a_guest_and_a_container_reach_each_other_by_name(host: Host, networks: Networks) -> None:
    guest, container = Guest(host, networks), host.namespace()
    own = guest.join("lan", "vm")
    other = networks.connect("lan", container, EndpointSpec("box", name="box"))
    host.serve(container, "0.0.0.0", 80)
    host.serve(guest.inner, "0.0.0.0", 81)
    assert host.call(guest.inner, asked(host, guest.inner, "box"), 80) == own.address(4)
    assert host.call(container, own.address(4), 81) == other.address(4)
    assert asked(host, guest.inner, "vm") == own.address(4)
    assert f"nameserver {guests.SERVER}" in networks.resolv_conf(own)


def test_two_guests_and_a_published_port(host: Host, networks: Networks) -> None:
    first, second = Guest(host, networks), Guest(host, networks)
    one, two = first.join("lan", "one"), second.join("lan", "two")
    host.serve(first.inner, "0.0.0.0", 80)
    networks.publish(one, parse("127.0.0.1:8080:80"))
    assert host.call(second.inner, asked(host, second.inner, "one"), 80) == two.address(4)
    assert host.call(None, "127.0.0.1", 8080) == one.gateway4
    assert host.call(None, one.address(4), 80) == one.gateway4


def test_the_networks_of_one_guest_stay_apart(host: Host, networks: Networks) -> None:
    networks.create(NetworkSpec("other"))
    guest = Guest(host, networks)
    one = guest.join("lan", "vm")
    two = guest.join("other", "vm", mac=one.mac)
    assert (one.default_route, two.default_route) == (True, False)
    here, there = host.namespace(), host.namespace()
    at_lan = networks.connect("lan", here, EndpointSpec("here", name="here"))
    at_other = networks.connect("other", there, EndpointSpec("there", name="there"))
    host.serve(guest.inner, "0.0.0.0", 80)
    assert host.call(here, one.address(4), 80) == at_lan.address(4)
    assert host.call(there, two.address(4), 80) == at_other.address(4)
    assert asked(host, guest.inner, "there") == at_other.address(4)

    def interfaces() -> list[str]:
        return sorted(name for _, name in socket.if_nameindex())

    assert host.inside(guest.outer, interfaces) == ["eth0", "eth1", "guest", "lo", "tap"]
    networks.disconnect(one, namespace=guest.outer)
    assert networks.endpoint(two.id).default_route
    assert host.inside(guest.outer, interfaces) == ["eth1", "guest", "lo", "tap"]
    assert host.call(there, two.address(4), 80) == at_other.address(4)


def test_nobody_else_is_answered_by_a_guests_server(host: Host, networks: Networks) -> None:
    guest, stranger = Guest(host, networks), Guest(host, networks)
    guest.join("lan", "vm")
    stranger.join("lan", "stranger")
    host.inside(guest.outer, lambda: networks._telling.naming._server.release("stranger"))  # nearer by, nobody answers
    with host.inside(stranger.inner, lambda: socket.socket(socket.AF_INET, UDP)) as client:
        client.settimeout(0.5)
        client.connect((guests.SERVER, 53))
        client.send(question("vm"))
        with pytest.raises(OSError):  # noqa: PT011  (refused, or no answer)
            client.recv(512)


def test_the_next_daemon_answers_it_too(host: Host, networks: Networks) -> None:
    kept: dict[str, dict[str, Any]] = {"network": {}, "endpoint": {}, "host": {}}
    first = host.networks(store=lambda kind, key, value: kept[kind].update({key: value}))
    first.create(NetworkSpec("net"))
    guest = Guest(host, first)
    own = guest.join("net", "vm")
    first.close()
    second = host.networks(kept)
    assert second.reconcile({"vm": guest.outer}) == []
    assert asked(host, guest.inner, "vm") == own.address(4)


@pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox")
def test_a_guest_that_asks_is_told_who_it_is(host: Host, tmp_path: Path) -> None:
    """By DHCP, and only by its own server; after a daemon was killed, by the next one."""
    kept: dict[str, dict[str, Any]] = {"network": {}, "endpoint": {}, "host": {}}
    networks = host.networks(store=lambda kind, key, value: kept[kind].update({key: value}))
    networks.create(NetworkSpec("lan"))
    one, two = Guest(host, networks), Guest(host, networks)
    ends = [
        networks.connect("lan", guest.outer, EndpointSpec(str(at) * 64, name=f"web{at}", guest=True))
        for at, guest in enumerate((one, two), 1)
    ]
    script = tmp_path / "told"
    script.write_text('#!/bin/sh\necho "$1 $ip/$mask $hostname $dns $staticroutes"\n')
    script.chmod(0o755)

    def told(guest: Guest, end: Endpoint) -> str:
        def ask() -> str:
            with Socket(ROUTE) as route:
                index = socket.if_nametoindex("eth0")
                route.send([rtnetlink.set_down(index), rtnetlink.set_hardware_address(index, bytes.fromhex(end.mac.replace(":", "")))])
                route.send([rtnetlink.set_up(index)])
            words = ["busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "5", "-T", "1", "-O", "staticroutes", "-s", str(script)]
            return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout

        return host.inside(guest.inner, ask)

    def wanted(end: Endpoint) -> str:
        return f"bound {end.ipv4} {end.name} {guests.SERVER} {guests.SERVER}/32 0.0.0.0 0.0.0.0/0 {end.gateway4}"

    for guest, end in zip((one, two), ends, strict=True):
        assert wanted(end) in told(guest, end)
    state = {kind: {key: value for key, value in items.items() if value is not None} for kind, items in kept.items()}
    networks.close()
    again = host.networks(state)
    again.reconcile({end.machine: guest.outer for guest, end in zip((one, two), ends, strict=True)})
    assert wanted(ends[1]) in told(two, ends[1])


def test_what_stands_between_network_and_guest_has_nothing_to_say(host: Host, networks: Networks) -> None:
    guest = Guest(host, networks)
    own = guest.join("lan", "vm")

    def groups(interface: str) -> set[str]:
        """Of IPv4 in the order of the host's bytes, of IPv6 as they are."""
        found, here = set(), False
        for words in map(str.split, Path("/proc/thread-self/net/igmp").read_text().splitlines()[1:]):
            here = words[1] == interface if words[0].isdigit() and words[2] == ":" else here
            found |= {words[0]} if here and len(words[0]) == 8 else set()
        lines = map(str.split, Path("/proc/thread-self/net/igmp6").read_text().splitlines())
        return found | {words[2] for words in lines if words[1] == interface}

    everybody = {"010000E0", "ff020000000000000000000000000001", "ff010000000000000000000000000001"}
    assert groups(own.host_interface) <= everybody  # reports of any other group reach each machine of the network
    for interface in (guests.BRIDGE, guests.TAP, "eth0"):
        assert host.inside(guest.outer, lambda name=interface: groups(name)) <= everybody
    assert "010000E0" in host.inside(guest.outer, lambda: groups(guests.BRIDGE))
