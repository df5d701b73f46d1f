"""The way out of networks that are beside the host's: machines reach the outside by it, and it is begun anew where it has ended."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.host import netns
from gasang.network import way_out
from gasang.network.names import tag_of
from gasang.network.networks import Networks
from gasang.network.place import Beside, Here
from gasang.network.spec import EndpointSpec
from gasang.network.user import apart
from gasang.network.way_out import WayOut
from support.network_host import OUTSIDE, Host


@pytest.fixture
def place(host: Host) -> Iterator[Beside]:
    made = Beside(host.namespace())
    yield made
    made.close()


def test_machines_reach_the_outside_by_it(host: Host, place: Beside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.serve(host.outside, OUTSIDE, 80)
    before = host.snapshot()
    monkeypatch.setattr(way_out, "_YOUNG", 0.0)
    networks = Networks({}, tag=tag_of(str(tmp_path)), place=place)
    file = tmp_path / "out"
    out = WayOut(file, place)
    out.begin()
    try:
        assert out.problem == ""
        namespace = host.namespace()
        networks.connect(networks.default().name, namespace, EndpointSpec("one"))
        assert host.call(namespace, OUTSIDE, 80) == "192.0.2.1"  # as if the host itself called
        number = int(file.read_text())
        out.begin()
        assert int(file.read_text()) == number  # it is there
        os.kill(number, signal.SIGKILL)
        host._until(lambda: apart.number(file) not in (0, number))  # nobody has to join for that
        host._until(lambda: out.problem == "" and apart.is_alive(file))
        assert host.call(namespace, OUTSIDE, 80) == "192.0.2.1"
        assert host.snapshot() == before
    finally:
        out.end()
        networks.close()
    assert not apart.is_alive(file)


def test_a_new_daemon_finds_it(host: Host, place: Beside, tmp_path: Path) -> None:
    first = WayOut(tmp_path / "out", place)
    first.begin()
    number = int((tmp_path / "out").read_text())
    second = WayOut(tmp_path / "out", place)
    second.begin()
    assert int((tmp_path / "out").read_text()) == number
    second.end()
    assert not apart.is_alive(tmp_path / "out")
    first.end()


def test_one_that_ends_at_once_is_not_begun_again_and_again(host: Host, place: Beside, tmp_path: Path) -> None:
    file = tmp_path / "out"
    out = WayOut(file, place)
    out.begin()
    os.kill(int(file.read_text()), signal.SIGKILL)
    apart.wait(file)
    host._until(lambda: "way-out" not in [thread.name for thread in threading.enumerate()])
    assert not apart.is_alive(file)
    out.begin()
    assert apart.is_alive(file)
    out.end()


def test_why_there_is_none_is_told(host: Host, place: Beside, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    taken = tmp_path / "out"
    taken.mkdir()
    out = WayOut(taken, place)
    out.begin()
    assert out.problem
    assert "no way out" in caplog.records[-1].message


def test_where_networks_are_the_hosts_it_is_nothing(host: Host, tmp_path: Path) -> None:
    before = host.snapshot()
    out = WayOut(tmp_path / "out", Here())
    out.begin()
    assert not (tmp_path / "out").exists()
    out.end()
    os.close(netns.current())
    assert host.snapshot() == before
