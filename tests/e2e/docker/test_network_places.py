"""A container's place in networks: what it may ask for, what it is told, and what becomes of it as networks come and go."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import socket
import struct
import subprocess
import threading

import pytest

from support.engines.client import until
from support.engines.registry import free_port


def run(docker, image, name, *options):
    """A container that stays."""
    docker("run", "-d", "--name", name, *options, image, "sleep", "600")


def networks(docker, name):
    """What inspect shows of a container's networks."""
    return docker.inspect(name)["NetworkSettings"]["Networks"]


def lan(docker, fresh, *options):
    """A new network."""
    name = fresh("network")
    docker("network", "create", *options, name)
    return name


def answers(docker, name, called):
    """Whether somebody of that name answers."""
    return docker("exec", name, "ping", "-c1", "-W1", called, code=None).code == 0


def test_a_network_that_is_not_there_fails_at_the_start(docker, image, box):
    first, second = box(), box()
    assert "network no-such-one not found" in docker("run", "--name", first, "--network", "no-such-one", image, code=125).said
    state = docker.inspect(first)["State"]
    assert (state["Status"], state["ExitCode"]) == ("created", 128)
    assert "network no-such-one not found" in state["Error"]
    docker("create", "--name", second, "--network", "no-such-one", image)
    assert "network no-such-one not found" in docker("start", second, code=1).said
    docker("network", "create", "no-such-one")
    try:
        docker("start", second)
    finally:
        docker("rm", "-f", second)
        docker("network", "rm", "no-such-one")


def test_a_container_that_is_not_there_fails_at_the_start(docker, image, box):
    name = box()
    docker("create", "--name", name, "--network", "container:no-such-one", image)
    assert "No such container: no-such-one" in docker("start", name, code=1).said
    other = box()
    docker("create", "--name", other, image)
    third = box()
    said = docker("run", "--name", third, "--network", f"container:{other}", image, code=125).said
    assert "cannot join network of a non running container" in said


def test_a_network_by_its_id(docker, image, name, fresh):
    network = lan(docker, fresh)
    run(docker, image, name, "--network", docker.inspect("network", network)["Id"])
    shown = networks(docker, name)
    if docker.engine.name == "gasang":  # dockerd 26 keeps the id as the key
        assert list(shown) == [network]
    assert len(shown) == 1


def test_what_a_container_reads_follows_its_networks(docker, image, box, fresh):
    network = lan(docker, fresh)
    web, client = box(), box()
    run(docker, image, web, "--network", network)
    run(docker, image, client)

    def read(path):
        return docker("exec", client, "cat", path).text

    before = read("/etc/hosts")
    docker("exec", client, "sh", "-c", "echo 10.9.8.7 mine >> /etc/hosts")
    docker("network", "connect", network, client)
    address = networks(docker, client)[network]["IPAddress"]
    own = f"{address}\t{docker.format(client, '{{.Config.Hostname}}')}"
    assert own in read("/etc/hosts").splitlines()
    assert "nameserver 127.0.0.11" in read("/etc/resolv.conf")
    assert answers(docker, client, web)
    docker("network", "disconnect", network, client)
    after = read("/etc/hosts")
    assert own not in after.splitlines()
    assert "10.9.8.7 mine" in after.splitlines()
    # dockerd takes away all lines with its host name.
    kept = {line for line in before.splitlines() if docker.engine.name == "gasang" or not line.startswith("172.")}
    assert kept <= set(after.splitlines())
    assert not answers(docker, client, web)
    docker("network", "connect", network, client)
    assert answers(docker, client, web)


def test_resolv_conf_that_the_container_wrote_is_left_to_it(docker, image, name, fresh):
    network = lan(docker, fresh)
    run(docker, image, name)
    docker("exec", name, "sh", "-c", "echo nameserver 192.0.2.9 > /etc/resolv.conf")
    docker("network", "connect", network, name)
    assert docker("exec", name, "cat", "/etc/resolv.conf").text == "nameserver 192.0.2.9"


def test_connecting_what_does_not_run(docker, image, name, fresh):
    network = lan(docker, fresh, "--subnet", "10.214.0.0/24")
    docker("create", "--name", name, image, "sleep", "600")
    docker("network", "connect", "--ip", "10.214.0.9", "--alias", "second", network, name)
    docker("network", "connect", network, name)
    assert networks(docker, name)[network]["IPAddress"] == ""
    docker("start", name)
    assert networks(docker, name)[network]["IPAddress"] == "10.214.0.9"
    assert docker("exec", name, "ls", "/sys/class/net").lines.count("eth1") == 1
    assert "already exists in network" in docker("network", "connect", network, name, code=1).said
    docker("stop", "-t", "0", name)
    docker("network", "disconnect", network, name)
    docker("network", "disconnect", "bridge", name)
    assert networks(docker, name) == {}
    docker("start", name)
    assert "eth0" not in docker("exec", name, "ls", "/sys/class/net").lines


def test_connecting_to_the_default_bridge_before_anybody_used_it(docker, image, name, fresh):
    run(docker, image, name, "--network", lan(docker, fresh))
    docker("network", "connect", "bridge", name)
    assert set(docker("exec", name, "ls", "/sys/class/net").lines) >= {"eth0", "eth1"}


def test_what_cannot_be_connected(docker, image, box, fresh):
    network = lan(docker, fresh)
    plain, alone, hosted, sharing = box(), box(), box(), box()
    run(docker, image, plain)
    run(docker, image, alone, "--network", "none")
    run(docker, image, hosted, "--network", "host")
    run(docker, image, sharing, "--network", f"container:{plain}")
    alone_words = "cannot be connected to multiple networks with one of the networks in private (none) mode"
    shared_words = "sharing network namespace with another container or host cannot be connected to any other network"
    host_words = "cannot be disconnected from host network or connected to host network"
    for words, where, which in (
        (host_words, "host", plain),
        (alone_words, "none", plain),
        (alone_words, network, alone),
        (shared_words, network, hosted),
        (shared_words, network, sharing),
    ):
        assert words in docker("network", "connect", where, which, code=1).said, (where, which)
    assert host_words in docker("network", "disconnect", "host", hosted, code=1).said
    for where in ("host", "none", network):
        assert "is not connected to network" in docker("network", "disconnect", where, plain, code=1).said
    assert "network no-such-one not found" in docker("network", "connect", "no-such-one", plain, code=1).said
    assert "No such container: no-such-one" in docker("network", "connect", network, "no-such-one", code=1).said
    docker("network", "disconnect", "none", alone)
    docker("network", "connect", network, alone)
    assert answers(docker, alone, networks(docker, alone)[network]["IPAddress"])
    docker("restart", "-t", "0", alone)
    assert list(networks(docker, alone)) == [network]
    assert networks(docker, alone)[network]["IPAddress"]


def test_who_shares_a_network_shares_its_files(docker, image, box, fresh):
    network = lan(docker, fresh)
    first, second = box(), box()
    run(docker, image, first, "--network", network, "--hostname", "shared", "--add-host", "other:10.9.8.7")
    run(docker, image, second, "--network", f"container:{first}")
    for path in ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname"):
        assert docker("exec", second, "cat", path).text == docker("exec", first, "cat", path).text, path
    assert docker("exec", second, "hostname").text == "shared"
    assert docker.format(second, "{{.HostConfig.NetworkMode}}") == f"container:{docker.format(first, '{{.Id}}')}"
    docker("exec", second, "sh", "-c", "echo 10.9.8.6 written >> /etc/hosts")
    assert "10.9.8.6 written" in docker("exec", first, "cat", "/etc/hosts").text


def test_links_in_a_network_with_names(docker, image, box, fresh):
    network, elsewhere = lan(docker, fresh), lan(docker, fresh)
    target, linked, other = box(), box(), box()
    run(docker, image, linked, "--network", network, "--link", f"{target}:db")
    assert not answers(docker, linked, "db")
    run(docker, image, target, "--network", network)
    assert answers(docker, linked, "db")
    run(docker, image, other, "--network", network)
    assert not answers(docker, other, "db")
    docker("network", "connect", "--link", f"{target}:db", elsewhere, other)
    assert not answers(docker, other, "db")
    docker("network", "disconnect", elsewhere, other)
    docker("network", "disconnect", network, other)
    docker("network", "connect", "--link", f"{target}:db", network, other)
    assert answers(docker, other, "db")
    assert networks(docker, other)[network]["Links"] == [f"{target}:db"]
    assert docker.inspect(linked)["HostConfig"]["Links"] is None


def test_links_of_the_default_bridge(docker, image, box, fresh):
    target, linked = box(), box()
    run(docker, image, target, "-e", "COLOUR=red", "--expose", "80", "--expose", "53/udp")
    address = networks(docker, target)["bridge"]["IPAddress"]
    docker("create", "--name", linked, "--link", f"{target}:the-db", image, "sh", "-c", "env; cat /etc/hosts")
    assert docker.inspect(linked)["HostConfig"]["Links"] == [f"/{target}:/{linked}/the-db"]
    lines = set(docker("start", "--attach", linked).lines)
    assert f"{address}\tthe-db {docker.format(target, '{{.Config.Hostname}}')} {target}" in lines
    expected = {
        "NAME": f"/{linked}/the-db",
        "PORT_80_TCP": f"tcp://{address}:80",
        "PORT_80_TCP_ADDR": address,
        "PORT_80_TCP_PORT": "80",
        "PORT_80_TCP_PROTO": "tcp",
        "PORT_53_UDP": f"udp://{address}:53",
        "ENV_COLOUR": "red",
    }
    assert {f"THE_DB_{name}={value}" for name, value in expected.items()} <= lines
    said = docker("create", "--link", "no-such-one:x", image, code=1).said
    assert "could not get container for no-such-one" in said
    apart = box()
    run(docker, image, apart, "--network", lan(docker, fresh))
    assert "does not belong to the default network" in docker("run", "--rm", "--link", f"{apart}:x", image, "true", code=125).said
    docker("stop", "-t", "0", target)
    assert "non running container" in docker("start", linked, code=1).said


def test_the_host_name_is_a_name_too(docker, image, box, fresh):
    network = lan(docker, fresh)
    first, second = box(), box()
    run(docker, image, first, "--network", network, "--hostname", "called", "--network-alias", "other")
    run(docker, image, second, "--network", network)
    for called in ("called", "OTHER", f"called.{network}"):
        assert answers(docker, second, called), called
    key = docker.format(first, "{{.Id}}")[:12]
    assert networks(docker, first)[network]["DNSNames"] == [first, "other", key, "called"]


def test_names_end_at_the_network(docker, image, box, fresh):
    one, two = lan(docker, fresh), lan(docker, fresh)
    here, there, both = box(), box(), box()
    run(docker, image, here, "--network", one, "--network-alias", "svc")
    run(docker, image, there, "--network", two)
    run(docker, image, both, "--network", one)
    docker("network", "connect", two, both)
    assert not answers(docker, there, here)
    assert not answers(docker, there, "svc")
    assert not answers(docker, there, f"{here}.{one}")
    for called in (here, there, f"{here}.{one}"):
        assert answers(docker, both, called), called


def test_names_after_the_daemon_was_killed(docker, engine, image, box, fresh):
    if engine.name != "gasang":
        pytest.skip("dockerd ends its containers")
    network = lan(docker, fresh)
    first, second = box(), box()
    run(docker, image, first, "--network", network)
    run(docker, image, second)
    docker("network", "connect", "--link", f"{first}:db", network, second)
    engine.kill()
    engine.start()
    assert answers(docker, second, first)
    assert answers(docker, second, "db")
    # It was told to ask 127.0.0.11, and asks there still when only the default bridge is left.
    docker("network", "disconnect", network, second)
    engine.kill()
    engine.start()
    said = docker("exec", second, "nslookup", "-timeout=2", "no-such-name.invalid", code=None)
    assert "connection refused" not in f"{said.text}{said.said}".lower()
    assert "no servers could be reached" not in f"{said.text}{said.said}"


def _resolver(address, stop):
    """A resolver that answers every question for an address with 203.0.113.77, and first with an answer to something else."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))
    server.settimeout(0.2)
    with server:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                data, client = server.recvfrom(512)
                end = data.index(b"\0", 12) + 5
                kind = struct.unpack(">H", data[end - 4 : end - 2])[0]
                forged = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("198.51.100.66")
                wrong = struct.pack(">H", struct.unpack(">H", data[:2])[0] ^ 1)
                server.sendto(wrong + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + data[12:end] + forged, client)
                record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("203.0.113.77") if kind == 1 else b""
                server.sendto(data[:2] + struct.pack(">HHHHH", 0x8180, 1, int(kind == 1), 0, 0) + data[12:end] + record, client)


def test_names_from_elsewhere_are_asked_of_the_containers_own_resolver(docker, image, name, fresh):
    network = lan(docker, fresh, "--subnet", "10.215.0.0/24", "--gateway", "10.215.0.1")
    run(docker, image, name, "--network", network, "--dns", "10.215.0.1")
    stop = threading.Event()
    thread = threading.Thread(target=_resolver, args=("10.215.0.1", stop))
    thread.start()
    try:
        found = docker("exec", name, "nslookup", "example.test").text
    finally:
        stop.set()
        thread.join()
    assert "203.0.113.77" in found
    assert "198.51.100.66" not in found


def test_fixed_addresses_that_cannot_be(docker, image, fresh):
    chosen, given = lan(docker, fresh), lan(docker, fresh, "--subnet", "10.216.0.0/24")
    for options, words in (
        (("--ip", "172.17.0.9"), "supported on user defined networks only"),
        (("--network", chosen, "--ip", "172.30.0.9"), "only when connecting to networks with user configured subnets"),
        (("--network", given, "--ip", "10.217.0.9"), "no configured subnet or ip-range contain the IP address 10.217.0.9"),
        (("--network", given, "--ip6", "fd00::9"), "only when connecting to networks with user configured subnets"),
    ):
        before = docker("ps", "-aq").lines
        assert words in docker("run", "--rm", *options, image, "true", code=125).said, options
        assert docker("ps", "-aq").lines == before


def test_an_address_is_free_again_and_takes_its_hardware_address_along(docker, image, box):
    first, second = box(), box()
    run(docker, image, first)
    was = networks(docker, first)["bridge"]
    docker("stop", "-t", "0", first)
    assert networks(docker, first)["bridge"]["IPAddress"] == ""
    run(docker, image, second)
    docker("start", first)
    now = [networks(docker, each)["bridge"] for each in (first, second)]
    assert len({place["IPAddress"] for place in now}) == 2
    assert len({place["MacAddress"] for place in now}) == 2
    assert was["IPAddress"] in {place["IPAddress"] for place in now}


def test_a_hardware_address_that_was_asked_for_stays(docker, image, name):
    run(docker, image, name, "--mac-address", "02:42:ac:11:aa:cc")
    docker("restart", "-t", "0", name)
    assert networks(docker, name)["bridge"]["MacAddress"] == "02:42:ac:11:aa:cc"


def test_more_networks_than_one_from_the_start(docker, image, fresh):
    one, two = lan(docker, fresh), lan(docker, fresh, "--subnet", "10.218.0.0/24")
    done = docker("run", "--rm", "--network", one, "--network", f"name={two},ip=10.218.0.9,alias=x", image, "ip", "-o", "-4", "addr")
    assert len([line for line in done.lines if " eth" in line]) == 2
    assert any("10.218.0.9/24" in line for line in done.lines)


def test_the_way_out_can_be_chosen(docker, engine, image, fresh):
    """Docker 28: gw-priority."""
    if engine.name != "gasang":
        pytest.skip("dockerd 26 does not know it")
    one, two = lan(docker, fresh, "--subnet", "10.219.0.0/24"), lan(docker, fresh, "--subnet", "10.220.0.0/24")
    words = ("--network", one, "--network", f"name={two},gw-priority=5")
    assert "default via 10.220.0.1" in docker("run", "--rm", *words, image, "ip", "route").text


def test_what_inspect_shows_of_a_network(docker, engine, image, name, fresh):
    network = fresh("network")
    options = ("--subnet", "10.221.0.0/24", "--gateway", "10.221.0.254", "--ip-range", "10.221.0.128/25", "--attachable")
    docker("network", "create", *options, "--aux-address", "router=10.221.0.200", "-o", "x.y=z", "--label", "a=b", network)
    run(docker, image, name, "--network", network)
    shown = docker.inspect("network", network)
    config = {
        "Subnet": "10.221.0.0/24",
        "Gateway": "10.221.0.254",
        "IPRange": "10.221.0.128/25",
        "AuxiliaryAddresses": {"router": "10.221.0.200"},
    }
    assert shown["IPAM"] == {"Driver": "default", "Options": {}, "Config": [config]}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z", shown["Created"])
    assert (shown["Driver"], shown["Scope"], shown["Internal"], shown["Attachable"], shown["Ingress"], shown["ConfigOnly"]) == (
        "bridge", "local", False, True, False, False,
    )  # fmt: skip
    assert (shown["Options"], shown["Labels"], shown["EnableIPv6"]) == ({"x.y": "z"}, {"a": "b"}, False)
    [[key, member]] = shown["Containers"].items()
    place = networks(docker, name)[network]
    assert key == docker.format(name, "{{.Id}}")
    assert (member["Name"], member["EndpointID"], member["MacAddress"]) == (name, place["EndpointID"], place["MacAddress"])
    assert member["IPv4Address"] == f"{place['IPAddress']}/24"
    assert ipaddress.ip_address(place["IPAddress"]) in ipaddress.ip_network("10.221.0.128/25")
    for builtin, driver in (("host", "host"), ("none", "null")):
        shown = docker.inspect("network", builtin)
        assert (shown["Driver"], shown["IPAM"]["Config"], shown["Containers"]) == (driver, None, {})
    default = docker.inspect("network", "bridge")["Options"]
    assert default["com.docker.network.bridge.default_bridge"] == "true"
    assert default["com.docker.network.bridge.host_binding_ipv4"] == ("127.0.0.1" if engine.name == "gasang" else "0.0.0.0")
    assert default["com.docker.network.driver.mtu"] == "1500"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("host",), "operation is not permitted on predefined host network"),
        (("bridge",), "operation is not permitted on predefined bridge network"),
        (("default",), "operation is not permitted on predefined default network"),
        (("-d", "host", "x"), 'only one instance of "host" network is allowed'),
        (("-d", "null", "x"), 'only one instance of "null" network is allowed'),
        (("--ipam-driver", "no-such-driver", "x"), "no-such-driver"),
        (("--scope", "swarm", "x"), "swarm"),
        (("--subnet", "10.222.0.5/24", "x"), "invalid subnet 10.222.0.5/24: it should be 10.222.0.0/24"),
        (("--subnet", "10.222.0.0/33", "x"), "invalid CIDR block notation"),
        (("--subnet", "10.222.0.0/24", "--gateway", "10.223.0.1", "x"), "no matching subnet for gateway"),
        (("--subnet", "10.222.0.0/24", "--ip-range", "10.223.0.0/24", "x"), "no matching subnet for range"),
        (("-o", "com.docker.network.driver.mtu=wide", "x"), "failed to parse com.docker.network.driver.mtu value: wide"),
    ],
)
def test_networks_that_cannot_be(docker, words, said):
    assert said in docker("network", "create", *words, code=1).said
    docker("network", "inspect", "x", code=1)


@pytest.mark.parametrize("name", ["host", "none", "bridge"])
def test_networks_that_stay(docker, name):
    assert f"{name} is a pre-defined network and cannot be removed" in docker("network", "rm", name, code=1).said


def test_ranges_of_ports(docker, image, box):
    first = free_port()
    while first > 65000 or not all(map(_is_free, range(first, first + 4))):
        first = free_port()
    one, two = box(), box()
    run(docker, image, one, "-p", f"127.0.0.1:{first}-{first + 2}:80-82", "-p", f"127.0.0.1:{first}:80/udp")
    expected = [f"{80 + step}/tcp -> 127.0.0.1:{first + step}" for step in range(3)] + [f"80/udp -> 127.0.0.1:{first}"]
    assert sorted(docker("port", one).lines) == sorted(expected)
    assert docker("port", one, "81/tcp").text == f"127.0.0.1:{first + 1}"
    assert "No public port '99'" in docker("port", one, "99", code=1).said
    run(docker, image, two, "-p", f"127.0.0.1:{first}-{first + 3}:80")
    assert docker("port", two).text == f"80/tcp -> 127.0.0.1:{first + 3}"
    full = docker("run", "--rm", "-p", f"127.0.0.1:{first}-{first + 1}:80", image, "true", code=125).said
    assert re.search("all ports are allocated|port is already allocated", full)


def _is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def test_ports_that_cannot_be_leave_nothing(docker, engine, image, box):
    port = free_port()
    run(docker, image, box(), "-p", f"127.0.0.1:{port}:80")

    def left():
        links = len(subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout.splitlines())
        return links, len(os.listdir(f"/proc/{engine.pid}/fd"))

    before = left()
    for binding in (f"127.0.0.1:{port}:80", "203.0.113.5:0:80"):
        docker("run", "--rm", "-p", "127.0.0.1::79", "-p", binding, image, "true", code=125)
    until(lambda: left()[0] <= before[0] and left()[1] <= before[1] + 8)
    # The first of the two ports is free again each time: none was kept.
    free = free_port()
    for _ in range(2):
        docker("run", "--rm", "-p", f"127.0.0.1:{free}:79", "-p", f"127.0.0.1:{port}:80", image, "true", code=125)
    run(docker, image, box(), "-p", f"127.0.0.1:{free}:79")


def test_where_a_network_publishes(docker, image, name, fresh):
    """The switch for Docker's way, one network at a time."""
    network = lan(docker, fresh, "-o", "com.docker.network.bridge.host_binding_ipv4=127.0.0.3")
    run(docker, image, name, "--network", network, "-p", "80")
    bindings = docker.inspect(name)["NetworkSettings"]["Ports"]["80/tcp"]
    assert [binding["HostIp"] for binding in bindings] == ["127.0.0.3"]


def test_events_of_networks(docker, image, name, fresh):
    network = fresh("network")
    client = docker.open(
        "events", "--filter", "type=network", "--filter", f"network={network}", "--format", "{{.Action}} {{.Actor.Attributes.name}}"
    )
    # The client says nothing once it listens: repeat until it has seen one.
    seen: list[bytes] = []
    reader = threading.Thread(target=lambda: seen.extend(iter(client.stdout.readline, b"")))
    reader.start()

    def heard():
        docker("network", "create", network)
        docker("network", "rm", network)
        return seen

    try:
        until(heard)
        docker("network", "create", network)
        run(docker, image, name, "--network", network)
        docker("rm", "-f", name)
        docker("network", "rm", network)
        until(lambda: seen[-4:] == [f"{action} {network}\n".encode() for action in ("create", "connect", "disconnect", "destroy")])
    finally:
        client.kill()
        reader.join()


def test_the_host_and_its_ports(docker, image, name):
    done = docker("run", "-d", "--name", name, "--network", "host", "-p", "80", image, "sleep", "600")
    assert "Published ports are discarded when using host network mode" in done.said
    assert docker("port", name).text == ""


def test_prune_by_time_and_label(docker, fresh):
    kept, gone = lan(docker, fresh, "--label", "keep"), lan(docker, fresh)
    assert docker("network", "prune", "-f", "--filter", "until=10m").text == ""
    lines = docker("network", "prune", "-f", "--filter", "label!=keep").lines
    assert gone in lines
    assert kept not in lines
    assert "invalid filter" in docker("network", "prune", "-f", "--filter", "colour=red", code=1).said
    assert kept in json.loads(docker("network", "inspect", kept).out)[0]["Name"]
