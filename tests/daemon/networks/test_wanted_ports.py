"""Which ports a container asks for, and why it cannot have one."""

from __future__ import annotations

from typing import Any

import pytest

from gasang.core.errors import GasangError, StateError, UnsupportedError, UsageError
from gasang.daemon.containers.record import Container
from gasang.daemon.networks.wanted_ports import ports_of, shown, taken
from gasang.network.spec import PortSpec, Published


def container(bindings: dict[str, Any], exposed: tuple[str, ...] = (), *, everything: bool = False) -> Container:
    host = {"PortBindings": bindings, "PublishAllPorts": everything}
    return Container("c" * 64, "name", "", "", "", {"ExposedPorts": {name: {} for name in exposed}}, host)


def test_what_is_asked_for() -> None:
    bindings = {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostPort": "8000-8010"}],
        "53/udp": [{}],
        "81": None,
    }
    assert ports_of(container(bindings)) == [
        PortSpec(80, "tcp", "127.0.0.1", 8080),
        PortSpec(80, "tcp", "", 8000, 8010),
        PortSpec(53, "udp"),
        PortSpec(81, "tcp"),
    ]


def test_all_that_is_exposed() -> None:
    found = ports_of(container({"80/tcp": [{"HostPort": "1"}]}, ("80/tcp", "81/tcp", "53/udp"), everything=True))
    assert found == [PortSpec(80, "tcp", "", 1), PortSpec(81), PortSpec(53, "udp")]


@pytest.mark.parametrize(
    ("name", "binding", "kind"),
    [
        ("0/tcp", {}, UsageError),
        ("70000", {}, UsageError),
        ("80/icmp", {}, UsageError),
        ("-1", {}, UsageError),
        ("80/sctp", {}, UnsupportedError),
        ("80", {"HostPort": "70000"}, UsageError),
        ("80", {"HostPort": "1-2-3"}, UsageError),
        ("80", {"HostPort": "x"}, UsageError),
        ("80", "8080", UsageError),
    ],
)
def test_what_is_no_port(name: str, binding: object, kind: type[GasangError]) -> None:
    with pytest.raises(kind):
        ports_of(container({name: [binding]}))


def test_how_it_is_shown() -> None:
    published = [Published("tcp", "127.0.0.1", 8080, "10.0.0.2", 80), Published("tcp", "::1", 8080, "10.0.0.2", 80)]
    assert shown(published) == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "::1", "HostPort": "8080"}]}


def test_who_has_it() -> None:
    error = StateError("port 127.0.0.1:8080/tcp", "it is already allocated")
    others = [Published("tcp", "127.0.0.1", 8080, "10.0.0.2", 80)]
    wanted = [PortSpec(80, "tcp", "", 8080)]
    assert "Bind for 127.0.0.1:8080 failed: port is already allocated" in str(taken(wanted, others, error))
    assert "address already in use" in str(taken(wanted, [], error))
    assert "address already in use" in str(taken([PortSpec(80, "udp", "", 8080)], others, error))
