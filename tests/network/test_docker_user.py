"""Beside dockerd's rules, which drop what others forward: frames of our networks pass, its own networks stay apart, and all goes again."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from gasang.host import sysctls
from gasang.host.tap import Tap
from gasang.network.docker_user import DockerUser
from gasang.network.ports import parse
from gasang.network.spec import EndpointSpec
from support.network_host import OUTSIDE, Host

pytestmark = pytest.mark.skipif(not shutil.which("iptables-nft-restore"), reason="needs iptables")
RULES = """*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
"""
"""What dockerd makes, as far as it concerns others."""


class Rules:
    """dockerd's, put there by a program; `old`: not with nftables."""

    def __init__(self, program: str) -> None:
        self.old = "legacy" in program
        self._program = program

    def come(self) -> None:
        subprocess.run([f"{self._program}-restore"], input=RULES, text=True, check=True)

    def saved(self, word: str) -> str:
        """The lines with that word."""
        done = subprocess.run([f"{self._program}-save", "-t", "filter"], capture_output=True, text=True, check=True)
        return "\n".join(line for line in done.stdout.splitlines() if word in line)


@pytest.fixture(params=["iptables-nft", "iptables-legacy"])
def dockers(request: pytest.FixtureRequest) -> Rules:
    """Each kind in turn."""
    if not shutil.which(f"{request.param}-restore"):
        pytest.skip(f"{request.param} is not installed")
    return Rules(str(request.param))


def test_machines_reach_each_other_the_outside_and_are_reached(host: Host, dockers: Rules) -> None:
    dockers.come()
    before, saved = host.snapshot(), dockers.saved("DOCKER-USER")
    networks = host.networks()
    default = networks.default().name
    one, other = host.namespace(), host.namespace()
    ends = [networks.connect(default, space, EndpointSpec(name)) for name, space in (("one", one), ("other", other))]
    assert networks.obstacles() == []
    networks.publish(ends[1], parse("0.0.0.0:8080:80"))
    host.serve(other, ends[1].address(4), 80)
    host.serve(host.outside, OUTSIDE, 80)
    if sysctls.read("net/bridge/bridge-nf-call-iptables") == "1":
        assert host.reaches(one, ends[1].address(4), 80)
    assert host.call(one, OUTSIDE, 80) == "192.0.2.1"
    assert host.reaches(host.outside, "192.0.2.1", 8080)
    assert "docker+ -j RETURN" in dockers.saved("GASANG")
    for end in ends:
        networks.disconnect(end)
    networks.tidy(linger=0)
    assert dockers.saved("GASANG") == ""
    assert dockers.saved("DOCKER-USER") == saved
    assert host.settled(before) == before


def test_it_is_told_and_a_network_of_dockerds_stays_apart(host: Host, dockers: Rules, caplog: pytest.LogCaptureFixture) -> None:
    dockers.come()
    caplog.set_level("INFO")
    networks = host.networks()
    space = host.namespace()
    networks.connect(networks.default().name, space, EndpointSpec("one"))
    assert [record.message for record in caplog.records if "its chain DOCKER-USER leads to GASANG-" in record.message]
    theirs = Tap("docker0")
    try:
        host._address("docker0", "198.51.100.1")
        assert host.is_barred(space, "198.51.100.7", 80)
    finally:
        theirs.close()


def test_a_dockerd_that_comes_later_is_noticed(host: Host, dockers: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and one with rules of the old kind when the next machine joins."""
    monkeypatch.setattr("gasang.network.docker_user._PATIENCE", 0.0)
    networks = host.networks()
    default = networks.default().name
    first = host.namespace()
    networks.connect(default, first, EndpointSpec("one"))
    host.serve(host.outside, OUTSIDE, 80)
    dockers.come()
    if dockers.old:
        assert host.is_barred(first, OUTSIDE, 80)
        networks.connect(default, host.namespace(), EndpointSpec("two"))
    host._until(lambda: bool(dockers.saved("GASANG")))
    assert host.reaches(first, OUTSIDE, 80)


def test_another_firewall_that_drops_is_told_of_once_and_left_alone(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    rules = "table inet theirs { chain forward { type filter hook forward priority 0; policy drop; }; }"
    if not shutil.which("nft"):
        pytest.skip("nft is not installed")
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    before = host.snapshot()
    networks = host.networks()
    for _ in range(2):
        end = networks.connect(networks.default().name, host.namespace(), EndpointSpec("one"))
        networks.disconnect(end)
        networks.tidy(linger=0)
    told = [record.message for record in caplog.records]
    assert told == ["networks: table theirs of the host's firewall drops what it does not know, machines' packets too: let it accept them"]
    assert host.settled(before) == before


def test_without_dockerd_nothing_is_done(host: Host) -> None:
    before = host.snapshot()
    made = DockerUser("abcd")
    made.accept(["gsabcd1"])
    assert not made.is_accepting()
    made.clear()
    made.close()
    assert host.snapshot() == before
