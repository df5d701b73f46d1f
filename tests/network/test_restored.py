"""The host is left as it was: after the last machine, after a crash at any point, and where others have rules of their own."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gasang.core.errors import GasangError
from gasang.host import netns, nftables, rtnetlink, sysctls
from gasang.host.netlink import ROUTE, Socket
from gasang.network.ports import parse
from gasang.network.spec import EndpointSpec, NetworkSpec
from support.network_host import Host


def use(host: Host, count: int = 3) -> list[int]:
    """Three networks with machines; the namespaces."""
    networks = host.opened[-1]
    networks.create(NetworkSpec("six", ipv6=True))
    networks.create(NetworkSpec("cellar", internal=True, icc=False))
    namespaces = []
    for name in (networks.default().name, "six", "cellar"):
        for number in range(count):
            namespaces.append(host.namespace())
            endpoint = networks.connect(name, namespaces[-1], EndpointSpec(f"{name}{number}", name=f"{name}{number}"))
            networks.publish(endpoint, parse("80") + parse("0.0.0.0::53/udp"))
    return namespaces


@pytest.mark.parametrize("dying", [True, False])
def test_with_the_last_machine_goes_everything(host: Host, dying: bool) -> None:
    before = host.snapshot()
    networks = host.networks()
    namespaces = use(host)
    assert host.snapshot() != before
    assert sysctls.read("net/ipv4/ip_forward") == "1"
    for endpoint in networks.endpoints():
        networks.disconnect(endpoint, dying=dying)
    for namespace in namespaces if dying else ():
        host.end(namespace)
    assert networks.tidy(linger=60) is not None
    assert networks.tidy(linger=0) is None
    assert host.settled(before) == before


def test_a_cable_whose_namespace_somebody_holds_goes_too(host: Host) -> None:
    before = host.snapshot()
    networks = host.networks()
    endpoint = networks.connect(networks.default().name, host.namespace(), EndpointSpec("one"))
    networks.disconnect(endpoint, dying=True)
    assert endpoint.host_interface in host.snapshot()["links"]
    networks.tidy(linger=0)
    assert host.settled(before) == before


def test_a_failed_first_machine_leaves_nothing(host: Host) -> None:
    before = host.snapshot()
    networks = host.networks()
    with open(os.devnull, "rb") as file, pytest.raises(GasangError):
        networks.connect(networks.default().name, file.fileno(), EndpointSpec("one"))
    assert networks.tidy(linger=0) is None
    assert host.settled(before) == before


def test_it_can_be_used_again_after_it_went(host: Host) -> None:
    before = host.snapshot()
    networks = host.networks()
    for _ in range(2):
        namespace = host.namespace()
        endpoint = networks.connect(networks.default().name, namespace, EndpointSpec("one"))
        host.serve(namespace, "0.0.0.0", 80)
        assert host.reaches(None, endpoint.address(4), 80)
        networks.disconnect(endpoint)
        networks.tidy(linger=0)
        assert host.settled(before) == before


def test_a_network_in_use_again_does_not_go(host: Host) -> None:
    networks = host.networks()
    first = networks.connect(networks.default().name, host.namespace(), EndpointSpec("one"))
    networks.disconnect(first)
    namespace = host.namespace()
    networks.connect("bridge", namespace, EndpointSpec("two"))
    assert networks.tidy(linger=0) is None
    host.serve(namespace, "0.0.0.0", 80)
    assert host.reaches(None, "172.17.0.2", 80)


def test_forwarding_that_was_on_stays_on(host: Host) -> None:
    sysctls.write("net/ipv4/ip_forward", "1")
    before = host.snapshot()
    networks = host.networks()
    networks.disconnect(networks.connect(networks.default().name, host.namespace(), EndpointSpec("one")))
    networks.tidy(linger=0)
    assert host.settled(before) == before


def test_forwarding_on_which_others_came_to_rely_stays_on(host: Host) -> None:
    networks = host.networks()
    endpoint = networks.connect(networks.default().name, host.namespace(), EndpointSpec("one"))
    with Socket(ROUTE) as route:
        route.send([rtnetlink.new_bridge("other0", b"\x02\0\0\0\0\7")])
    networks.disconnect(endpoint)
    networks.tidy(linger=0)
    assert sysctls.read("net/ipv4/ip_forward") == "1"


def test_a_host_that_heeds_routers_goes_on_to(host: Host) -> None:
    sysctls.write("net/ipv6/conf/up0/accept_ra", "1")
    before = host.snapshot()
    networks = host.networks()
    networks.create(NetworkSpec("six", ipv6=True))
    endpoint = networks.connect("six", host.namespace(), EndpointSpec("one"))
    assert sysctls.read("net/ipv6/conf/all/forwarding") == "1"
    assert sysctls.read("net/ipv6/conf/up0/accept_ra") == "2"
    networks.disconnect(endpoint)
    networks.tidy(linger=0)
    assert host.settled(before) == before


def test_the_hosts_own_interfaces_are_not_joined_by_our_forwarding(host: Host) -> None:
    far = host.namespace()
    with Socket(ROUTE) as route:
        route.send([rtnetlink.new_veth("up1", 0, "far0", b"\x02\0\0\0\0\2", far)])
    host._address("up1", "198.51.100.1")
    host.inside(far, lambda: host._address("far0", "198.51.100.2"))
    for namespace, name, gateway in ((far, "far0", "198.51.100.1"), (host.outside, "out0", "192.0.2.1")):
        host.inside(namespace, lambda name=name, gateway=gateway: _route(name, gateway))  # type: ignore[misc]
    host.serve(far, "198.51.100.2", 80)
    assert host.is_barred(host.outside, "198.51.100.2", 80)
    networks = host.networks()
    namespace = host.namespace()
    networks.connect(networks.default().name, namespace, EndpointSpec("one"))
    assert host.is_barred(host.outside, "198.51.100.2", 80)
    assert host.reaches(namespace, "198.51.100.2", 80)


def _route(name: str, gateway: str) -> None:
    import socket

    with Socket(ROUTE) as route:
        route.send([rtnetlink.default_route(socket.if_nametoindex(name), socket.inet_aton(gateway))])


def test_rules_of_others_are_left_alone_and_obstacles_are_told(host: Host) -> None:
    with nftables.Netfilter() as netfilter:
        chain = nftables.add_base_chain(nftables.INET, "firewall", "forward", "filter", nftables.FORWARD, 0, policy=nftables.DROP)
        rule = nftables.add_rule(nftables.INET, "firewall", "forward", nftables.meta(nftables.META_PROTOCOL), nftables.compare(b"\x06"))
        netfilter.install(nftables.INET, "firewall", [chain, rule])
        before = host.snapshot()
        networks = host.networks()
        endpoint = networks.connect(networks.default().name, host.namespace(), EndpointSpec("one"))
        assert [sentence for sentence in networks.obstacles() if "firewall" in sentence]
        networks.disconnect(endpoint)
        networks.tidy(linger=0)
        assert host.settled(before) == before
        assert (nftables.INET, "firewall") in netfilter.tables()


def test_two_instances_do_not_touch_each_others(host: Host, tmp_path: Path) -> None:
    from gasang.network.names import tag_of
    from gasang.network.networks import Networks

    first = host.networks()
    namespace = host.namespace()
    endpoint = first.connect(first.default().name, namespace, EndpointSpec("one"))
    other = Networks({}, tag=tag_of("another"), resolv_conf=str(host.resolv_conf))
    host.opened.append(other)
    assert other.reconcile({}) == []
    mine = host.namespace()
    theirs = other.connect(other.default().name, mine, EndpointSpec("one"))
    assert theirs.address(4) == "172.18.0.2"
    host.serve(namespace, "0.0.0.0", 80)
    assert host.reaches(None, endpoint.address(4), 80)
    first.disconnect(endpoint)
    first.tidy(linger=0)
    host.serve(mine, "0.0.0.0", 80)
    assert host.reaches(None, theirs.address(4), 80)
    assert sysctls.read("net/ipv4/ip_forward") == "1"


STEPS = (*range(1, 40, 3), 200)


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_point_the_next_one_clears_up(host: Host, step: int, tmp_path: Path) -> None:
    before = host.snapshot()
    journal = tmp_path / "journal"
    child = os.fork()
    if child == 0:
        try:
            _die_at(host, step, journal)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) == (step != STEPS[-1]), "the last step is beyond the end"
    networks = host.networks(_replayed(journal))
    networks.reconcile({})
    assert networks.endpoints() == []
    assert host.settled(before) == before


def _die_at(host: Host, step: int, journal: Path) -> None:
    """Use networks, and die just before the kernel is told something for the `step`-th time."""
    count = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments)

        return call

    Socket._post = counted(Socket._post)  # type: ignore[method-assign]
    sysctls.write = counted(sysctls.write)

    def store(kind: str, identity: str, value: Mapping[str, Any] | None) -> None:
        with journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps([kind, identity, value]) + "\n")

    host.networks(store=store)
    use(host, 1)


def _replayed(journal: Path) -> dict[str, dict[str, Any]]:
    state: dict[str, dict[str, Any]] = {}
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.exists() else ():
        kind, identity, value = json.loads(line)
        state.setdefault(kind, {})
        if value is None:
            state[kind].pop(identity, None)
        else:
            state[kind][identity] = value
    return state


def test_machines_that_live_through_a_crash_keep_their_network(host: Host, tmp_path: Path) -> None:
    state: dict[str, dict[str, Any]] = {}
    networks = host.networks(store=lambda kind, identity, value: state.setdefault(kind, {}).__setitem__(identity, value))
    networks.create(NetworkSpec("lan"))
    spaces = {name: host.namespace() for name in ("one", "two", "lost")}
    ends = {name: networks.connect("lan", space, EndpointSpec(name, name=name)) for name, space in spaces.items()}
    networks.publish(ends["one"], parse("8080:80"))
    # The daemon is gone; its sockets with it.
    networks.close()
    again = host.networks({kind: {key: value for key, value in rows.items() if value} for kind, rows in state.items()})
    removed = again.reconcile({name: spaces[name] for name in ("one", "two")})
    assert removed == [ends["lost"].host_interface]
    host.serve(spaces["one"], "0.0.0.0", 80)
    assert host.reaches(spaces["two"], ends["one"].address(4), 80)
    assert host.reaches(None, "127.0.0.1", 8080)
    assert host.reaches(None, "::1", 8080)
    fresh = again.connect("lan", host.namespace(), EndpointSpec("three"))
    assert fresh.address(4) == ends["lost"].address(4)


def test_many_threads_at_once_leave_nothing(host: Host) -> None:
    before = host.snapshot()
    networks = host.networks()
    networks.create(NetworkSpec("lan"))
    networks.default()
    addresses: set[tuple[str, str]] = set()
    failures: list[BaseException] = []

    def live(number: int) -> None:
        try:
            for turn in range(4):
                namespace = netns.create()
                name = ("bridge", "lan")[(number + turn) % 2]
                endpoint = networks.connect(name, namespace, EndpointSpec(f"{number}-{turn}", name=f"m{number}"))
                networks.publish(endpoint, parse("80"))
                taken = (name, endpoint.ipv4)
                assert taken not in addresses
                addresses.add(taken)
                addresses.discard(taken)
                dying = turn % 2 == 0
                if not dying:
                    networks.disconnect(endpoint)
                os.close(namespace)
                if dying:
                    networks.disconnect(endpoint, dying=True)
                networks.tidy(linger=60)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=live, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert networks.endpoints() == []
    networks.tidy(linger=0)
    assert host.settled(before) == before


def test_what_the_switch_for_forwarding_moves_along_is_put_back(host: Host) -> None:
    """An administrator's own choice of interfaces, and that redirections are not heeded."""
    own = {"net/ipv4/conf/all/accept_redirects": "0", "net/ipv4/conf/up0/forwarding": "1", "net/ipv6/conf/up0/forwarding": "1"}
    for name, value in own.items():
        sysctls.write(name, value)
    before = host.snapshot()
    networks = host.networks()
    networks.create(NetworkSpec("six", ipv6=True))
    endpoint = networks.connect("six", host.namespace(), EndpointSpec("one"))
    networks.disconnect(endpoint)
    networks.tidy(linger=0)
    assert host.settled(before) == before
    assert {name: sysctls.read(name) for name in own} == own


def test_rules_that_somebody_flushed_are_made_again(host: Host) -> None:
    before = host.snapshot()
    networks = host.networks()
    first = networks.connect(networks.default().name, host.namespace(), EndpointSpec("one"))
    networks.publish(first, parse("0.0.0.0:8080:80"))
    ours = host.snapshot()
    with nftables.Netfilter() as netfilter:
        tables = [table for table in netfilter.tables() if table not in before["tables"]]
        assert len(tables) == 1
        netfilter.commit([nftables.delete_table(*tables[0])])
        networks.withdraw(first)
        assert netfilter.tables() == before["tables"]
        second = networks.connect("bridge", host.namespace(), EndpointSpec("two"))
        assert netfilter.tables() == [*before["tables"], *tables]
    networks.disconnect(second)
    assert host.settled({**ours, "links": ours["links"]})["rules"] == ours["rules"]
    networks.disconnect(first)
    networks.tidy(linger=0)
    assert host.settled(before) == before


def test_an_interface_that_has_a_bridges_name_is_not_taken(host: Host) -> None:
    with Socket(ROUTE) as route:
        route.send([rtnetlink.new_bridge("theirs0", b"\x02\0\0\0\0\7")])
    before = host.snapshot()
    networks = host.networks()
    networks.create(NetworkSpec("lan", bridge="theirs0"))
    with pytest.raises(GasangError, match="bridge theirs0 of network lan: an interface of that name is there and not ours"):
        networks.connect("lan", host.namespace(), EndpointSpec("one"))
    networks.tidy(linger=0)
    after = host.settled({**before, "parameters": {}})
    assert {what: after[what] for what in after if what != "parameters"} == {what: before[what] for what in before if what != "parameters"}


def test_a_bridge_is_named_after_its_instance(host: Host) -> None:
    """A state that was taken elsewhere names a bridge that is another's: it gets a name of its own when it is used."""
    state: dict[str, dict[str, Any]] = {}
    first = host.networks(store=lambda kind, identity, value: state.setdefault(kind, {}).__setitem__(identity, value))
    default = first.default()
    from gasang.network.names import tag_of
    from gasang.network.networks import Networks

    assert default.bridge == f"gasang-{tag_of(str(host.folder))}"
    copied = Networks(state, tag=tag_of("copy"), resolv_conf=str(host.resolv_conf))
    host.opened.append(copied)
    for networks in (first, copied):
        networks.connect("bridge", host.namespace(), EndpointSpec("one"))
    links = host.snapshot()["links"]
    assert {f"gasang-{tag_of(str(host.folder))}", f"gasang-{tag_of('copy')}"} <= set(links)
