"""Networks on the switch in user space, with real namespaces: for machines as others are, and a process that outlives who began it."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gasang.core.errors import OutOfSpaceError, StateError, UsageError
from gasang.host import netns, rtnetlink
from gasang.host.netlink import ROUTE, Socket
from gasang.network.networks import Networks
from gasang.network.spec import SWITCH, Endpoint, EndpointSpec, Network, NetworkSpec, PortSpec, SubnetSpec
from gasang.network.switch.handle import Handle
from support.network_host import OUTSIDE, Host
from support.supervised import eventually

UDP = socket.SOCK_DGRAM


def join(host: Host, networks: Networks, network: str, machine: str, **wishes: Any) -> tuple[int, Endpoint]:
    namespace = host.namespace()
    return namespace, networks.connect(network, namespace, EndpointSpec(machine, name=machine, **wishes))


def lan(networks: Networks, **wishes: Any) -> Network:
    options = {f"gasang.{name}": text for name, text in wishes.pop("limits", {}).items()}
    return networks.create(NetworkSpec("lan", driver=SWITCH, options=options, **wishes))


def process_of(networks: Networks, network: Network) -> int:
    with networks._lock:  # a switch that is begun anew is in nobody's list for a moment
        return networks._drivers.of(network)._live[network.id].handle.process


@pytest.fixture
def clean(host: Host) -> Any:
    """Nothing is left of the switches."""
    yield
    for networks in host.opened:
        for network in networks.list():
            networks._drivers.of(network).end(network)
    assert not any(path.exists() for path in (host.folder / "switches").glob("*"))


pytestmark = pytest.mark.usefixtures("clean")


def test_machines_reach_each_other_the_host_and_the_outside(host: Host) -> None:
    before = host.snapshot()
    networks = host.networks()
    network = lan(networks, ipv6=True, publish_on=("192.0.2.1",))
    (first, one), (second, two) = (join(host, networks, "lan", name) for name in ("one", "two"))
    for family, anywhere in ((4, "0.0.0.0"), (6, "::")):
        host.serve(first, anywhere, 80 + family)
        assert host.call(second, one.address(family), 80 + family) == two.address(family)
        assert host.call(None, one.address(family), 80 + family) == (two.gateway4 if family == 4 else two.gateway6)
    host.serve(host.outside, OUTSIDE, 80)
    assert host.call(second, OUTSIDE, 80) == "192.0.2.1"
    published = networks.publish(one, [PortSpec(84, host_port=8080)])
    assert published[0].host_port == 8080
    assert host.call(host.outside, "192.0.2.1", 8080) == OUTSIDE
    assert host.call(first, "192.0.2.1", 8080)  # its own port: the frames come back to where they came from
    counts = networks.counts(network)
    assert counts["one"]["frames_in"] > 10
    assert counts["host"]["bytes_out"] > 100
    for endpoint in (one, two):
        networks.disconnect(endpoint)
    assert networks.tidy(linger=0) is None
    assert host.snapshot() == before
    assert networks.counts(network) == {}


def test_the_hosts_stack_is_not_at_the_cables(host: Host) -> None:
    """The end of a cable on this side is where nobody has an address, so nothing passes by the tap and its rules."""
    networks = host.networks()
    network = lan(networks, ipv6=True)
    _, end = join(host, networks, "lan", "one")
    assert {end.host_interface, network.bridge} & set(host.snapshot()["links"]) == {network.bridge}
    with netns.entered(networks._drivers.of(network)._live[network.id].handle.namespace), Socket(ROUTE) as route:
        assert {link.name for link in map(rtnetlink.link_of, route.dump(rtnetlink.all_links()))} >= {end.host_interface}
        assert not route.dump(rtnetlink.all_addresses())


def test_the_process_has_given_up_what_it_does_not_need(host: Host) -> None:
    networks = host.networks()
    network = lan(networks)
    join(host, networks, "lan", "one")
    place = Path(f"/proc/{process_of(networks, network)}")
    status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    assert status["Uid"].split() == status["Gid"].split() == ["65534"] * 4
    assert {status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"].strip() == "1"
    assert os.listdir(place / "root") == ["proc"]
    assert os.stat(place / "ns" / "net").st_ino != os.stat("/proc/thread-self/ns/net").st_ino


def test_limits_hold(host: Host) -> None:
    networks = host.networks()
    lan(networks, icc=False, limits={"guard": "true", "vlan": "12", "latency": "60ms", "bandwidth": "8M", "loss": "0%"})
    (first, one), (second, two) = (join(host, networks, "lan", name) for name in ("one", "two"))
    host.serve(first, "0.0.0.0", 80)
    host.serve(None, one.gateway4, 80)
    assert host.is_barred(second, one.address(4), 80)
    begun = time.monotonic()
    assert host.call(second, one.gateway4, 80) == two.address(4)
    assert time.monotonic() - begun > 0.06

    def as_another() -> None:
        with Socket(ROUTE) as route:
            route.send([rtnetlink.new_address(socket.if_nametoindex("eth0"), socket.inet_aton("172.18.0.99"), 16)])
        with socket.socket(socket.AF_INET, UDP) as made:
            made.bind(("172.18.0.99", 0))
            made.sendto(b"it is somebody else", (one.gateway4, 9))

    refused = networks.counts(networks.inspect("lan"))["two"]["refused"]
    host.inside(second, as_another)
    end = time.monotonic() + 30
    while networks.counts(networks.inspect("lan"))["two"]["refused"] == refused:
        assert time.monotonic() < end


def test_tags_of_other_vlans_do_not_pass(host: Host) -> None:
    networks = host.networks()
    lan(networks, limits={"vlan": "12"})
    (first, _), (second, two) = (join(host, networks, "lan", name) for name in ("one", "two"))

    def ear() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
        made.bind(("eth0", 0x88B5))
        made.settimeout(30)
        return made

    def say() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
            raw.bind(("eth0", 0))
            head = bytes.fromhex(two.mac.replace(":", "")) + b"\2\0\0\0\0\1"
            for tag, text in ((13, b"no"), (0xFFF, b"no"), (12, b"yes")):
                raw.send(head + b"\x81\0" + tag.to_bytes(2, "big") + b"\x88\xb5" + text.ljust(46))

    with host.inside(second, ear) as listening:
        host.inside(first, say)
        assert listening.recv(200)[14:17] == b"yes"


def test_a_capture_sees_what_passes(host: Host) -> None:
    networks = host.networks()
    lan(networks)
    with pytest.raises(StateError):
        networks.listen("lan")
    (first, one), (second, _) = (join(host, networks, "lan", name) for name in ("one", "two"))
    listener = networks.listen("lan")
    host.serve(first, "0.0.0.0", 80, kind=UDP)
    host.call(second, one.address(4), 80, kind=UDP)
    frames = listener.frames(100)
    assert any(frame.data[12:14] == b"\x08\0" and b"who?" in frame.data for frame in frames)
    assert listener.counts() == (len(frames), 0)
    others = [networks.listen("lan") for _ in range(7)]
    with pytest.raises(OutOfSpaceError):
        networks.listen("lan")
    for each in (listener, *others):
        each.close()
    host.call(second, one.address(4), 80, kind=UDP)
    networks.listen("lan").close()


def test_a_switch_outlives_its_daemon_and_the_next_one_finds_it(host: Host) -> None:
    state: dict[str, dict[str, Any]] = {"network": {}, "endpoint": {}, "host": {}}

    def store(kind: str, key: str, value: dict[str, Any] | None) -> None:
        state[kind][key] = value if value is not None else state[kind].pop(key, None) or {}
        if value is None:
            del state[kind][key]

    networks = host.networks(store=store)
    network = lan(networks)
    (first, one), (second, two) = (join(host, networks, "lan", name) for name in ("one", "two"))
    third, _ = join(host, networks, "lan", "three")
    process = process_of(networks, network)
    networks.close()
    host.opened.remove(networks)
    host.serve(first, "0.0.0.0", 80)
    assert host.call(second, one.address(4), 80) == two.address(4)
    host.end(third)
    stray = host.folder / "switches" / "0123456789ab"
    namespace = netns.create()
    other = Handle.start(stray, namespace)
    other.close()
    os.close(namespace)
    again = host.networks(state, store)
    again.reconcile({"one": first, "two": second})
    assert not stray.exists()
    assert host.call(second, one.address(4), 80) == two.address(4)
    assert set(again.counts(network)) == {"one", "two", "host"}
    fourth, _ = join(host, again, "lan", "four")
    assert host.call(fourth, one.address(4), 80)
    os.kill(process, 0)
    os.waitid(os.P_PID, other.process, os.WEXITED)


def test_a_switch_that_is_killed_is_begun_anew_with_its_ports(host: Host) -> None:
    networks = host.networks()
    network = lan(networks)
    (first, one), (second, two) = (join(host, networks, "lan", name) for name in ("one", "two"))
    host.serve(first, "0.0.0.0", 80)
    process = process_of(networks, network)
    networks._drivers.of(network)._live[network.id].begun -= 10  # it has lived for a while
    os.kill(process, signal.SIGKILL)
    eventually(lambda: process_of(networks, network) != process, 30)
    assert host.call(second, one.address(4), 80, patience=10.0) == two.address(4)
    # One that does not live long is begun when the next machine joins.
    os.kill(process_of(networks, network), signal.SIGKILL)
    third, _ = join(host, networks, "lan", "three")
    assert host.call(third, one.address(4), 80, patience=10.0)


def test_after_both_were_killed_machines_are_plugged_in_again(host: Host) -> None:
    state: dict[str, dict[str, Any]] = {"network": {}, "endpoint": {}, "host": {}}

    def store(kind: str, key: str, value: dict[str, Any] | None) -> None:
        if value is None:
            state[kind].pop(key, None)
        else:
            state[kind][key] = value

    networks = host.networks(store=store)
    network = lan(networks)
    (first, one), (second, two) = (join(host, networks, "lan", name) for name in ("one", "two"))
    process = process_of(networks, network)
    networks.close()
    host.opened.remove(networks)
    os.kill(process, signal.SIGKILL)
    with suppress(ChildProcessError):  # whoever began it may have waited for it already
        os.waitid(os.P_PID, process, os.WEXITED)
    again = host.networks(state, store)
    again.reconcile({"one": first, "two": second})
    host.serve(first, "0.0.0.0", 80)
    assert host.call(second, one.address(4), 80) == two.address(4)


def test_two_hosts_share_a_network_by_a_tunnel(host: Host) -> None:
    """VXLAN between two namespaces that stand for hosts, with machines on both; each host is the way out of its own."""
    options = {"vxlan": "42", "peers": OUTSIDE}
    here = host.networks()
    subnet = SubnetSpec("10.7.0.0/24", range="10.7.0.0/25")
    network = lan(here, subnets=(subnet,), mtu=1450, limits=options)
    first, one = join(host, here, "lan", "one")

    def there() -> tuple[Networks, int, Endpoint]:
        networks = Networks({}, tag="abcd", resolv_conf=str(host.resolv_conf), folder=host.folder / "others")
        other = SubnetSpec("10.7.0.0/24", range="10.7.0.128/25")
        lan(networks, subnets=(other,), mtu=1450, limits={"vxlan": "42", "peers": "192.0.2.1:4789"})
        return networks, *join(host, networks, "lan", "two")

    others, second, two = host.inside(host.outside, there)
    try:
        host.serve(second, "0.0.0.0", 80)
        assert host.call(first, two.address(4), 80) == one.address(4)
        host.serve(first, "0.0.0.0", 81, kind=UDP)
        assert host.call(second, one.address(4), 81, kind=UDP) == two.address(4)
        # Both hosts have the gateway's address, and each answers its own machines alone.
        host.serve(None, one.gateway4, 82)
        assert host.call(first, one.gateway4, 82) == one.address(4)
        assert host.is_barred(second, two.gateway4, 82)
        assert here.counts(network)["vxlan"]["frames_in"] > 4
        here.create(NetworkSpec("more", driver=SWITCH, options={f"gasang.{key}": text for key, text in options.items()}))
        with pytest.raises(StateError, match="4789"):
            join(host, here, "more", "three")
        own = {"gasang.vxlan": "7", "gasang.peers": "192.0.2.1", "gasang.vxlan-port": "4790"}
        here.create(NetworkSpec("own", driver=SWITCH, options=own))
        with pytest.raises(UsageError, match="itself"):
            join(host, here, "own", "four")
    finally:

        def end() -> None:
            for each in others.list():
                others._drivers.of(each).end(each)
            others.close()

        host.inside(host.outside, end)
