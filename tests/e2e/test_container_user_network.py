"""Containers on a network in user space: `gasang run --no-root IMAGE`, by its words, with ports, names and the host's loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engines.verbs import IMAGE, Gasang, serving

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox-static"),
]
SECONDS = 20.0


@pytest.fixture(scope="module")
def gasang() -> Iterator[Gasang]:
    with serving() as command:
        yield command


@pytest.fixture(autouse=True)
def cleared(gasang: Gasang) -> Iterator[None]:
    yield
    left = gasang("ps", "-aq").split()
    if left:
        gasang("rm", "-f", *left)
    assert served(gasang) == []


def served(gasang: Gasang) -> list[int]:
    """The processes of networks in user space that this daemon has begun."""
    with gasang.inside():
        ours = os.readlink("/proc/thread-self/ns/net")
    found = []
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            is_one = b"gasang.network.user.served" in Path(f"/proc/{entry}/cmdline").read_bytes()
            if is_one and os.readlink(f"/proc/{entry}/ns/net") == ours:
                found.append(int(entry))
        except OSError:
            continue
    return found


def heard(gasang: Gasang, port: int) -> bytes:
    """What a published port says, once who is behind it listens."""
    end = time.monotonic() + SECONDS
    with gasang.inside():
        while True:
            with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
                client.settimeout(SECONDS)
                try:
                    if said := client.makefile("rb").read():
                        return said
                except ConnectionError:
                    pass
            assert time.monotonic() < end


def port_of(gasang: Gasang, name: str) -> int:
    return int(json.loads(gasang("inspect", name))[0]["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"])


def test_who_it_is_and_its_published_port(gasang: Gasang) -> None:
    gasang("run", "-d", "--name", "web", "--no-root", "-p", "80", IMAGE, "sh", "-c", "while :; do echo hello | nc -l -p 80; done")
    assert heard(gasang, port_of(gasang, "web")) == b"hello\n"
    shown = gasang("exec", "web", "ip", "addr", "show", "eth0")
    assert "inet 10.0.2.15/24" in shown
    assert "inet6 fd00:a00:2::f/64" in shown
    assert "02:67:61:73:61:6e" in shown
    assert "default via 10.0.2.2 dev eth0" in gasang("exec", "web", "ip", "route")
    assert gasang("exec", "web", "cat", "/etc/resolv.conf") == "nameserver 10.0.2.3\n"
    assert "10.0.2.15" in gasang("exec", "web", "cat", "/etc/hosts")
    assert "1 packets received" in gasang("exec", "web", "ping", "-c", "1", "10.0.2.2")
    (place,) = json.loads(gasang("inspect", "web"))[0]["NetworkSettings"]["Networks"].items()
    assert (place[0], place[1]["IPAddress"], place[1]["GlobalIPv6Address"]) == ("user", "10.0.2.15", "fd00:a00:2::f")
    assert len(served(gasang)) == 1
    gasang("restart", "-t", "0", "web")
    assert heard(gasang, port_of(gasang, "web")) == b"hello\n"
    gasang("stop", "-t", "0", "web")
    assert served(gasang) == []


def test_the_hosts_loopback_only_where_that_is_allowed(gasang: Gasang) -> None:
    size = 8 << 20
    with gasang.inside():
        server = socket.create_server(("127.0.0.1", 0))
    with server:
        number = str(server.getsockname()[1])
        gasang("run", "--rm", "--network", "user", IMAGE, "nc", "-w", "2", "10.0.2.2", number, code=1)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
        server.settimeout(SECONDS)
        gasang("run", "-d", "--name", "box", "--network", "user,host=allow", IMAGE, "sh", "-c", f"nc 10.0.2.2 {number} | wc -c")
        connection, _ = server.accept()
        with connection:
            connection.sendall(bytes(size))
        gasang("wait", "box")
        assert gasang("logs", "box") == f"{size}\n"


def test_a_port_that_is_taken_is_said(gasang: Gasang) -> None:
    with gasang.inside():
        server = socket.create_server(("127.0.0.1", 0))
    with server:
        done = gasang.run("run", "--rm", "--no-root", "-p", f"{server.getsockname()[1]}:80", IMAGE, "true")
    assert done.returncode == 125
    assert b"address already in use" in done.stderr


def test_another_container_shares_it_and_nobody_joins_it(gasang: Gasang) -> None:
    gasang("run", "-d", "--name", "one", "--no-root", IMAGE, "sleep", "1000")
    assert "inet 10.0.2.15/24" in gasang("run", "--rm", "--network", "container:one", IMAGE, "ip", "addr")
    gasang("network", "create", "lan")
    assert gasang.run("network", "connect", "lan", "one").returncode != 0
    # Two of them are on networks of their own, with the same addresses.
    assert "inet 10.0.2.15/24" in gasang("run", "--rm", "--no-root", IMAGE, "ip", "addr")
    gasang("network", "rm", "lan")


def test_it_goes_on_without_the_daemon_and_ends_with_its_container(gasang: Gasang) -> None:
    gasang("run", "-d", "--name", "web", "--no-root", "-p", "80", IMAGE, "sh", "-c", "while :; do echo still | nc -l -p 80; done")
    port = port_of(gasang, "web")
    with gasang.inside():
        gasang("daemon", "stop")
        assert heard(gasang, port) == b"still\n"
        gasang("daemon", "start")
    assert heard(gasang, port) == b"still\n"
    gasang("kill", "web")
    gasang("wait", "web")
    assert served(gasang) == []
