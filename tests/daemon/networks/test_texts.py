"""/etc/hosts and /etc/resolv.conf, and how they are kept true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gasang.daemon.containers.record import Container
from gasang.daemon.networks import texts


def container(hostname: str = "box", domain: str = "", extra: tuple[str, ...] = (), **place: Any) -> Container:
    places = {"bridge": {"IPAddress": "172.17.0.2", "Gateway": "172.17.0.1", **place}}
    return Container("c" * 64, "n", "", "", "", {"Hostname": hostname, "Domainname": domain}, {"ExtraHosts": list(extra)}, places)


def test_hosts() -> None:
    lines = texts.hosts(container(extra=("a:1.2.3.4", "b=fd00::1", "gw:host-gateway")), ["9.9.9.9\tlinked"]).splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[-5:] == ["1.2.3.4\ta", "fd00::1\tb", "172.17.0.1\tgw", "9.9.9.9\tlinked", "172.17.0.2\tbox"]


def test_its_own_names() -> None:
    place = {"IPAddress": "10.0.0.2", "GlobalIPv6Address": "fd00::2"}
    assert texts.own_lines(container(domain="test"), place) == ["10.0.0.2\tbox.test box", "fd00::2\tbox.test box"]
    assert texts.own_lines(container("a.b.c"), place)[0] == "10.0.0.2\ta.b.c a"
    assert texts.own_lines(container(), {}) == []


def test_lines_go_and_come_in_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(b"1.1.1.1\tone\n# \xff mine\n2.2.2.2\ttwo\n2.2.2.2\ttwo\n")
    number = path.stat().st_ino
    texts.replace_lines(path, ["2.2.2.2\ttwo", "3.3.3.3\tnot there"], ["4.4.4.4\tfour"])
    assert path.read_bytes() == b"1.1.1.1\tone\n# \xff mine\n2.2.2.2\ttwo\n4.4.4.4\tfour\n"
    assert path.stat().st_ino == number


def test_what_the_container_wrote_stays(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("ours\n")
    texts.replace_text(path, "ours\n", "new\n")
    assert path.read_text() == "new\n"
    texts.replace_text(path, "ours\n", "newer\n")
    assert path.read_text() == "new\n"


def test_a_file_without_measure_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("x" * (1 << 17))
    texts.replace_lines(path, (), ["1.1.1.1\tone"])
    texts.replace_text(path, "ours\n", "new\n")
    assert path.read_text() == "x" * (1 << 17)
