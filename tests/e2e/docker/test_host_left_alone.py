"""Ours alone: the host's own rules, links, routes and parameters are the same before and after, whatever happened between.

A host of its own, with rules of its own by iptables for both families, an interface that leads outside, and settings that the kernel's
switch for forwarding moves along.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from gasang.host.nftables import INET, Netfilter, delete_table
from support.engines.client import Docker, until
from support.engines.engine import ENGINES, Engine, OwnNetwork, remove, short_home
from support.engines.registry import free_port

RULES = """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:MINE - [0:0]
-A INPUT -p tcp -m tcp --dport 9 -j DROP
-A FORWARD -i up0 -j MINE
-A MINE -p udp -j REJECT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s {subnet} -o up0 -j MASQUERADE
COMMIT
"""
SETTINGS = {
    "net/ipv4/ip_forward": "0",
    "net/ipv4/conf/all/accept_redirects": "0",
    "net/ipv4/conf/up0/forwarding": "1",
    "net/ipv6/conf/up0/accept_ra": "1",
}
PARAMETERS = ("net/ipv4/conf", "net/ipv6/conf", "net/bridge", "net/netfilter")
CHANGE_BY_THEMSELVES = {"nf_conntrack_count", "stable_secret"}


def run(*words: str, typed: str | None = None) -> str:
    """What a program of the host says."""
    return subprocess.run(words, input=typed, capture_output=True, text=True, check=True, timeout=30).stdout


def parameters() -> dict[str, str]:
    """Every parameter of the network that forwarding, bridges and rules may touch."""
    found = {"/proc/sys/net/ipv4/ip_forward": Path("/proc/sys/net/ipv4/ip_forward").read_text()}
    for top in PARAMETERS:
        for parent, _, names in os.walk(f"/proc/sys/{top}"):  # an interface may go meanwhile
            for name in set(names) - CHANGE_BY_THEMSELVES:
                with suppress(FileNotFoundError, PermissionError):
                    found[f"{parent}/{name}"] = Path(parent, name).read_text()
    return found


def rules() -> dict[str, object]:
    """The rules of the host, whoever made them; counters apart."""
    said = {}
    for program in ("iptables-save", "ip6tables-save", "iptables-legacy-save", "ip6tables-legacy-save"):
        if shutil.which(program):
            said[program] = [line.partition(" [")[0] for line in run(program).splitlines() if not line.startswith("#")]
    with Netfilter() as netfilter:
        return {**said, "tables": netfilter.tables(), "chains": netfilter.counted("chains"), "rules": netfilter.counted("rules")}


def host() -> dict[str, object]:
    """Everything of the host that must be as it was."""
    commands = {
        "links": ("ip", "-o", "link"),
        "addresses": ("ip", "-o", "addr"),
        "routes": ("ip", "route", "show", "table", "all"),
        "routes6": ("ip", "-6", "route", "show", "table", "all"),
        "policies": ("ip", "rule"),
    }
    return {**{what: run(*words) for what, words in commands.items()}, **rules(), "parameters": parameters()}


def settled(before: dict[str, object]) -> None:
    """Wait until the host is as before; what differs is told."""
    try:
        until(lambda: host() == before, seconds=25, pause=0.3)
    except AssertionError:
        now = host()
        for what, value in before.items():
            assert now[what] == value, what
        raise


@dataclass
class Apart:
    """An engine on a host of its own, and that host as it was before."""

    engine: Engine
    docker: Docker
    before: dict[str, object]


@pytest.fixture
def apart(engine: Engine, base: bytes, tmp_path: Path) -> Iterator[Apart]:
    """The engine has an image, and has not run anything yet."""
    if engine.name != "gasang":
        pytest.skip("dockerd leaves its bridge and its rules")
    network = OwnNetwork()
    network.enter()
    home = short_home("gasang")
    own = ENGINES["gasang"](home)
    try:
        furnish()
        before = host()
        own.start()
        docker = Docker(own, tmp_path / "docker")
        docker("import", "--change", "ENV PATH=/bin", "-", "box", typed=base)
        yield Apart(own, docker, before)
    finally:
        if own.process is None or own.process.poll() is not None:
            own.start()
        names = docker("ps", "-aq").lines
        if names:
            docker("rm", "-f", *names)
        own.stop()
        network.leave()
        remove(home)


def furnish() -> None:
    """Interfaces, routes, rules and settings that are the host's own."""
    run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
    for name, address in (("up0", "192.0.2.1/24"), ("up1", "198.51.100.1/24")):
        run("ip", "addr", "add", address, "dev", name)
        run("ip", "link", "set", name, "up")
    run("ip", "-6", "addr", "add", "2001:db8::1/64", "dev", "up0", "nodad")
    run("ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.2")
    run("iptables-restore", typed=RULES.format(subnet="192.0.2.0/24"))
    run("ip6tables-restore", typed=RULES.format(subnet="2001:db8::/64"))
    for name, value in SETTINGS.items():
        Path("/proc/sys", name).write_text(value)
    # Link-local addresses come in the kernel's own time.
    until(lambda: run("ip", "-6", "-o", "addr", "show", "scope", "link").count("fe80") == 2 and "tentative" not in run("ip", "-6", "addr"))


def busy(docker: Docker) -> list[str]:
    """Containers in networks of every kind, with ports of both protocols and families published; their names."""
    docker("network", "create", "--ipv6", "--subnet", "fd00:213::/64", "six")
    docker("network", "create", "--internal", "cellar")
    docker("network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "apart")
    port = free_port()
    docker("run", "-d", "--name", "web", "-p", f"{port}:80", "-p", f"{port}:53/udp", "box", "sleep", "600")
    docker("run", "-d", "--name", "six1", "--network", "six", "-p", "[::1]::80", "-p", "0.0.0.0::80/udp", "box", "sleep", "600")
    docker("run", "-d", "--name", "cellar1", "--network", "cellar", "box", "sleep", "600")
    docker("run", "-d", "--name", "apart1", "--network", "apart", "-p", "80", "box", "sleep", "600")
    docker("network", "connect", "six", "web")
    return ["web", "six1", "cellar1", "apart1"]


def own_rules_are_there(before: dict[str, object]) -> None:
    """While we are there, the host's own rules are what they were, in their own tables."""
    now = rules()
    assert {name: now[name] for name in now if name.endswith("-save")} == {name: before[name] for name in now if name.endswith("-save")}
    assert now["tables"] != before["tables"]


def test_after_the_last_container(apart: Apart) -> None:
    names = busy(apart.docker)
    own_rules_are_there(apart.before)
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
    apart.docker("rm", "-f", *names)
    settled(apart.before)


def test_after_the_daemon_has_ended_with_no_container(apart: Apart) -> None:
    apart.docker("rm", "-f", *busy(apart.docker))
    apart.engine.stop()
    assert host() == apart.before


def test_after_a_daemon_was_killed_and_another_came(apart: Apart) -> None:
    names = busy(apart.docker)
    apart.engine.kill()
    own_rules_are_there(apart.before)
    apart.engine.start()
    apart.docker("rm", "-f", *names)
    settled(apart.before)


def test_of_containers_that_ended_while_no_daemon_was_there(apart: Apart) -> None:
    busy(apart.docker)
    pids = apart.docker("inspect", "--format", "{{.State.Pid}}", "web", "six1", "cellar1", "apart1").lines
    apart.engine.kill()
    for pid in pids:
        os.kill(int(pid), 9)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    apart.engine.start()
    settled(apart.before)


def test_a_port_in_use_leaves_nothing(apart: Apart) -> None:
    port = free_port()
    apart.docker("run", "-d", "--name", "first", "-p", f"127.0.0.1:{port}:80", "box", "sleep", "600")
    with_one = {what: value for what, value in host().items() if what != "parameters"}
    for _ in range(3):
        apart.docker("run", "--rm", "-p", "127.0.0.1::79", "-p", f"127.0.0.1:{port}:80", "box", "true", code=125)
    until(lambda: {what: value for what, value in host().items() if what != "parameters"} == with_one)
    apart.docker("rm", "-f", "first")
    settled(apart.before)


def test_rules_that_somebody_flushed_are_back_with_the_next_container(apart: Apart) -> None:
    def serve(name: str, port: int) -> None:
        page = "mkdir /www && echo served > /www/index.html && exec httpd -f -h /www"
        apart.docker("run", "-d", "--name", name, "-p", f"0.0.0.0:{port}:80", "box", "sh", "-c", page)

    def reached(port: int) -> bool:
        return "served" in apart.docker("run", "--rm", "box", "timeout", "2", "wget", "-qO-", f"http://192.0.2.1:{port}/", code=None).text

    first, second = free_port(), free_port()
    serve("first", first)
    until(lambda: reached(first))
    ours = [table for table in rules()["tables"] if table not in apart.before["tables"]]  # type: ignore[attr-defined,operator]
    assert len(ours) == 1
    with Netfilter() as netfilter:
        netfilter.commit([delete_table(INET, ours[0][1])])
    serve("second", second)
    assert ours[0] in rules()["tables"]  # type: ignore[operator]
    assert reached(first)
    assert reached(second)
    with Netfilter() as netfilter:
        netfilter.commit([delete_table(INET, ours[0][1])])
    # What ends finds nothing to take back, and that is no failure.
    apart.docker("rm", "-f", "first", "second")
    settled(apart.before)


def test_two_daemons_on_one_host(apart: Apart, base: bytes, tmp_path: Path) -> None:
    """Each has bridges, subnets and rules of its own; what one puts away is not the other's."""
    home = short_home("gasang")
    other = ENGINES["gasang"](home)
    other.start()
    docker = Docker(other, tmp_path / "other")
    try:
        docker("import", "--change", "ENV PATH=/bin", "-", "box", typed=base)
        # Both know their default network before either has it on the host.
        subnets = [each("network", "inspect", "bridge").out for each in (apart.docker, docker)]
        assert all(subnets)
        for each in (apart.docker, docker):
            each("network", "create", "lan")
            each("run", "-d", "--name", "web", "box", "sh", "-c", "echo served > /index.html && exec httpd -f -h /")
            each("run", "-d", "--name", "lan1", "--network", "lan", "box", "sleep", "600")
        for each in (apart.docker, docker):
            where = each("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web").text
            until(lambda: each("run", "--rm", "box", "wget", "-qO-", f"http://{where}/", code=None).text == "served")  # noqa: B023
        addresses = {each("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web").text for each in (apart.docker, docker)}
        assert len(addresses) == 2
        other.kill()
        apart.docker("rm", "-f", "web", "lan1")
        other.start()
        assert docker("exec", "web", "cat", "/index.html").text == "served"
        where = docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web").text
        assert docker("run", "--rm", "box", "wget", "-qO-", f"http://{where}/").text == "served"
        docker("rm", "-f", "web", "lan1")
    finally:
        other.stop()
        remove(home)
    settled(apart.before)
