"""Virtual machines in the daemon's networks: beside containers, reached from the host, as twins, restored, and joined while they run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gasang.core.paths import cache_folder
from gasang.native.cache import default_directory
from support.debian_guest import IMAGE
from support.engines.verbs import IMAGE as BUSYBOX
from support.engines.verbs import Gasang, archive, served
from support.supervised import eventually as eventually_within

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox-static"),
]
PULL_SECONDS = 1500
eventually = partial(eventually_within, limit=60.0)
SERVER = (
    "use IO::Socket::INET; $| = 1; $s = IO::Socket::INET->new(LocalPort => 80, Listen => 9, ReuseAddr => 1); "
    "while ($c = $s->accept) { print $c `hostname`; close $c }"
)


@pytest.fixture(scope="module")
def image() -> Path:
    """A home with the image in it, kept from one run of the tests to the next. Needs a Debian mirror."""
    folder = cache_folder(os.environ) / "tests"
    environment = {**os.environ, "GASANG_HOME": str(folder), "GASANG_NATIVE_CACHE": str(default_directory())}
    words = [sys.executable, "-m", "gasang", "pull", IMAGE]
    done = subprocess.run(words, capture_output=True, timeout=PULL_SECONDS, check=False, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    return folder


@pytest.fixture(scope="module")
def gasang(image: Path) -> Iterator[Gasang]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GASANG_NATIVE_CACHE", str(default_directory()))
        with served() as command:
            shutil.copytree(image / "data" / "images", command.home / "data" / "images", dirs_exist_ok=True)
            (command.home / "cache").mkdir(exist_ok=True)
            (command.home / "cache" / "ready").symlink_to(image / "cache" / "ready")
            command("load", data=archive())
            yield command


@pytest.fixture(autouse=True)
def cleared(gasang: Gasang) -> Iterator[None]:
    yield
    left = gasang("ps", "-aq").split()
    if left:
        gasang("rm", "-f", *left)
    gasang("network", "prune", "-f")


def box(gasang: Gasang, network: str = "lan") -> None:
    """A container that tells whoever calls its port 80 that it is one."""
    script = "echo box >/text; while :; do nc -l -p 80 </text; done"
    gasang("run", "-d", "--name", "box", "--network", network, BUSYBOX, "sh", "-c", script)


def vm(gasang: Gasang, *options: str) -> None:
    """A machine called web that tells whoever calls its port 80 how it is called."""
    gasang("run", "-d", "--name", "web", "--memory", "512M", *options, "--vm", IMAGE, "--", "perl", "-e", SERVER)
    eventually(lambda: gasang.run("exec", "web", "bash", "-c", ": </dev/tcp/localhost/80").returncode == 0)


def told(gasang: Gasang, name: str, host: str) -> str:
    """What a machine hears that calls port 80 of a host."""
    done = gasang.run("exec", name, "timeout", "20", "bash", "-c", f"cat </dev/tcp/{host}/80")
    assert done.returncode == 0, done
    return done.stdout.decode().strip()


def boxed(gasang: Gasang, host: str) -> str:
    """The same of the container."""
    return gasang("exec", "box", "sh", "-c", f"nc -w 20 {host} 80 </dev/null").strip()


def called(gasang: Gasang, port: str) -> str:
    """What is heard on the daemon's host that calls a published port."""
    with gasang.inside(), socket.create_connection(("127.0.0.1", int(port)), 20) as client:
        return client.makefile().readline().strip()


def place(gasang: Gasang, name: str, network: str = "lan") -> tuple[str, str]:
    """IP and hardware address, as inspect tells."""
    found = json.loads(gasang("inspect", name))[0]["NetworkSettings"]["Networks"][network]
    return found["IPAddress"], found["MacAddress"]


def card(gasang: Gasang, name: str) -> tuple[str, str]:
    """What the guest itself says of that."""
    address = gasang("exec", name, "hostname", "-I").split()
    return " ".join(address), gasang("exec", name, "cat", "/sys/class/net/eth0/address").strip()


def published(gasang: Gasang, name: str) -> str:
    return str(json.loads(gasang("inspect", name))[0]["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"])


def test_a_life_in_a_network(gasang: Gasang) -> None:
    gasang("network", "create", "--guard", "--bandwidth", "200M", "lan")
    box(gasang)
    vm(gasang, "--network", "lan", "-p", "80", "--cpus", "2", "--require-jail")
    assert place(gasang, "web") == card(gasang, "web")
    # Linux uses a pair of queues for each processor, and joined segments; what it says on the control queue is what it then gets
    assert gasang("exec", "web", "sh", "-c", "ls -d /sys/class/net/eth0/queues/rx-*").split()[-1].endswith("rx-1")
    features = gasang("exec", "web", "cat", "/sys/class/net/eth0/device/features").strip()
    assert [number for number, agreed in enumerate(features[:24]) if agreed == "0"] == [4, 6, 10, 14, 20]
    assert (told(gasang, "web", "box"), boxed(gasang, "web")) == ("box", "web")
    port = published(gasang, "web")
    assert called(gasang, port) == "web"
    assert "web" in gasang("network", "inspect", "lan")
    figures = json.loads(gasang("stats", "--no-stream", "--format", "json", "web"))[0]
    assert figures["received"] > 0 < figures["sent"]

    daemon = int(gasang("daemon", "status", "--format", "{process}"))
    os.kill(daemon, signal.SIGKILL)
    eventually(lambda: gasang.run("daemon", "status").returncode != 0)
    with gasang.inside():
        gasang("daemon", "start")
    assert (told(gasang, "web", "box"), boxed(gasang, "web"), called(gasang, port)) == ("box", "web", "web")

    assert gasang("fork", "web", "--format", "{name}") == "web-1\n"
    eventually(lambda: boxed(gasang, "web-1") == "web-1")
    assert place(gasang, "web-1") == card(gasang, "web-1")
    assert len({*place(gasang, "web"), *place(gasang, "web-1")}) == 4
    assert (told(gasang, "web-1", "web"), told(gasang, "web", "web-1"), told(gasang, "web-1", "box")) == ("web", "web-1", "box")
    assert called(gasang, published(gasang, "web-1")) == "web-1"
    assert boxed(gasang, "web") == "web"

    gasang("snapshot", "create", "web", "base")
    gasang("stop", "web")
    gasang("run", "-d", "--name", "squatter", "--network", "lan", BUSYBOX, "sleep", "1000")  # has the address that it had
    gasang("restore", "web", "base")
    eventually(lambda: boxed(gasang, "web") == "web")
    assert place(gasang, "web") == card(gasang, "web") != place(gasang, "squatter")
    assert told(gasang, "web", "web-1") == "web-1"

    before = place(gasang, "web"), published(gasang, "web")
    eventually(lambda: list((gasang.home / "data" / "containers").glob("family-*/*.standing/machine")))
    gasang("restore", "web", "base")  # by one that stands ready, which knows another address
    eventually(lambda: boxed(gasang, "web") == "web")
    assert (card(gasang, "web"), published(gasang, "web")) == (place(gasang, "web"), published(gasang, "web")) == before
    assert (told(gasang, "web", "web-1"), called(gasang, published(gasang, "web"))) == ("web-1", "web")


def test_in_the_foreground(gasang: Gasang) -> None:
    gasang("network", "create", "lan")
    box(gasang)
    ask = ("timeout", "20", "bash", "-c", "cat </dev/tcp/box/80; cat; exit 7")
    words = ("run", "-i", "--vm", "--name", "brief", "--memory", "256M", "--network", "lan", IMAGE, "--", *ask)
    done = gasang.run(*words, data=b"typed")
    assert (done.returncode, done.stdout) == (7, b"box\ntyped"), done
    assert gasang("ps", "-a", "--format", "{name}").split() == ["box"]


def test_joining_and_leaving_while_it_runs(gasang: Gasang) -> None:
    gasang("network", "create", "--driver", "switch", "other")
    box(gasang, "other")
    vm(gasang)
    assert place(gasang, "web", "bridge") == card(gasang, "web")
    gasang("network", "connect", "--alias", "server", "other", "web")
    assert (told(gasang, "web", "box"), boxed(gasang, "server")) == ("box", "web")
    assert card(gasang, "web")[0].split() == [place(gasang, "web", "bridge")[0], place(gasang, "web", "other")[0]]
    gasang("network", "disconnect", "bridge", "web")
    assert card(gasang, "web") == place(gasang, "web", "other")
    assert (told(gasang, "web", "box"), boxed(gasang, "server")) == ("box", "web")
    gasang("network", "disconnect", "other", "web")
    assert card(gasang, "web")[0] == ""


def test_one_without_a_network(gasang: Gasang) -> None:
    vm(gasang, "--network", "none")
    assert gasang("exec", "web", "ls", "/sys/class/net") == "lo\n"
    gasang("network", "disconnect", "none", "web")
    assert b"machine web: it was started without a network card" in gasang.run("network", "connect", "bridge", "web").stderr
    for words, cause in (
        (("--network", "host"), b"a virtual machine has a network of its own"),
        (("--network", "nowhere"), b"network nowhere not found"),
    ):
        assert cause in gasang.run("run", "-d", "--name", "odd", *words, "--vm", IMAGE).stderr


def test_a_network_of_its_own_in_user_space(gasang: Gasang) -> None:
    vm(gasang, "--no-root", "-p", "80", "--require-jail")
    port = published(gasang, "web")
    assert called(gasang, port) == "web"
    assert place(gasang, "web", "user") == ("10.0.2.15", "02:67:61:73:61:6e")
    addresses, hardware = card(gasang, "web")
    assert (addresses.split()[0], hardware) == place(gasang, "web", "user")
    assert gasang("exec", "web", "cat", "/etc/resolv.conf").strip() == "nameserver 10.0.2.3"
    with gasang.inside(), socket.create_server(("127.0.0.1", 0)) as server:
        secret = server.getsockname()[1]
        assert gasang.run("exec", "web", "timeout", "20", "bash", "-c", f": </dev/tcp/10.0.2.2/{secret}").returncode == 1
    gasang("snapshot", "create", "web", "before")
    gasang("fork", "web")
    other = published(gasang, "web-1")
    assert port != other
    assert [called(gasang, each) for each in (port, other)] == ["web", "web-1"]
    gasang("restore", "web", "before")
    eventually(lambda: called(gasang, port) == "web")
    gasang("rm", "-f", "web-1")
    with gasang.inside(), socket.create_server(("127.0.0.1", int(other))):
        pass
    done = gasang.run("run", "-d", "--vm", "--network", "user", "-p", f"{port}:80", IMAGE)
    assert done.returncode != 0
    assert b"port is already allocated" in done.stderr or b"address already in use" in done.stderr
    gasang("network", "create", "lan")
    assert b"has no network of its own" in gasang.run("network", "connect", "lan", "web").stderr


def test_it_outlives_the_daemon(gasang: Gasang) -> None:
    vm(gasang, "--network", "user,host=allow", "-p", "80")
    port = published(gasang, "web")
    daemon = int(gasang("daemon", "status", "--format", "{process}"))
    os.kill(daemon, signal.SIGKILL)
    eventually(lambda: gasang.run("daemon", "status").returncode != 0)
    with gasang.inside():
        gasang("daemon", "start")
    assert called(gasang, port) == "web"
    with gasang.inside(), socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        script = f"echo hello >/dev/tcp/10.0.2.2/{server.getsockname()[1]}"
        gasang("exec", "web", "timeout", "20", "bash", "-c", script)
        with server.accept()[0] as connection:
            assert connection.makefile().readline() == "hello\n"
    gasang("restart", "-t", "1", "web")
    eventually(lambda: gasang.run("exec", "web", "bash", "-c", ": </dev/tcp/localhost/80").returncode == 0)
    assert called(gasang, published(gasang, "web")) == "web"
    gasang("rm", "-f", "web")
    with gasang.inside(), socket.create_server(("127.0.0.1", int(port))):
        pass


def test_no_network_is_called_so(gasang: Gasang) -> None:
    assert b"predefined user network" in gasang.run("network", "create", "user").stderr
