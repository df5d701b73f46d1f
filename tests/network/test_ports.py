"""Ports as they are written, and held."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import GasangError, StateError, UsageError
from gasang.network.ports import again, hold, parse
from gasang.network.spec import PortSpec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [PortSpec(80)]),
        ("8080:80", [PortSpec(80, host_port=8080)]),
        ("8080:80/UDP", [PortSpec(80, "udp", host_port=8080)]),
        ("127.0.0.1:8080:80", [PortSpec(80, "tcp", "127.0.0.1", 8080)]),
        ("127.0.0.1::80", [PortSpec(80, "tcp", "127.0.0.1")]),
        ("[::1]:8080:80", [PortSpec(80, "tcp", "::1", 8080)]),
        ("[::]::53/udp", [PortSpec(53, "udp", "::")]),
        ("80-81", [PortSpec(80), PortSpec(81)]),
        ("8080-8081:80-81", [PortSpec(80, host_port=8080), PortSpec(81, host_port=8081)]),
        ("8080-8089:80", [PortSpec(80, host_port=8080, last_host_port=8089)]),
    ],
)
def test_written_forms(text: str, expected: list[PortSpec]) -> None:
    assert [PortSpec(item.machine_port, item.protocol, item.host_address, item.host_port) for item in parse(text)] == [
        PortSpec(item.machine_port, item.protocol, item.host_address, item.host_port) for item in expected
    ]
    assert {item.last_host_port - item.host_port for item in parse(text) if item.last_host_port > item.host_port} == {
        item.last_host_port - item.host_port for item in expected if item.last_host_port > item.host_port
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "x",
        "80/xyz",
        "0",
        "70000",
        "1:2:3:4",
        "host:80:80",
        "81-80",
        "1-5:1-4",
        "1-65535:1-65535",
        "80/sctp",
        "-",
        "1-:2",
        "::1:80:80",
        "٣:80",
    ],
)
def test_wrong_forms_are_told(text: str) -> None:
    with pytest.raises(UsageError, match="port"):
        parse(text)


@given(st.text("0123456789:-[]/.tcpu", max_size=24))
def test_whatever_is_written_is_ports_or_an_error(text: str) -> None:
    try:
        found = parse(text)
    except GasangError:
        return
    assert found
    assert all(1 <= item.machine_port <= 65535 and 0 <= item.host_port <= 65535 for item in found)


def test_a_port_is_held_on_every_address_under_one_number() -> None:
    held = hold(PortSpec(80), ("127.0.0.1", "127.0.0.2"), ["172.17.0.2"])
    try:
        numbers = {item.port.host_port for item in held}
        assert len(held) == 2
        assert len(numbers) == 1
        with pytest.raises(StateError, match="already allocated"):
            hold(PortSpec(81, host_port=numbers.pop()), ("127.0.0.1",), ["172.17.0.3"])
    finally:
        for item in held:
            item.socket.close()


def test_of_a_range_the_first_free_is_taken() -> None:
    with socket.create_server(("127.0.0.3", 0)) as other:
        taken = other.getsockname()[1]
        (held,) = hold(PortSpec(80, host_port=taken, last_host_port=taken + 20), ("127.0.0.3",), ["172.17.0.2"])
        held.socket.close()
        assert taken < held.port.host_port <= taken + 20


def test_what_fails_halfway_holds_nothing() -> None:
    with socket.create_server(("127.0.0.5", 0)) as other:
        number = other.getsockname()[1]
        with pytest.raises(StateError):
            hold(PortSpec(80, host_port=number), ("127.0.0.4", "127.0.0.5"), ["172.17.0.2"])
        socket.create_server(("127.0.0.4", number)).close()


def test_addresses_the_host_lacks() -> None:
    # One that only the network names is left out; one that is asked for is an error.
    held = hold(PortSpec(80), ("127.0.0.1", "198.51.100.77"), ["172.17.0.2"])
    assert [item.port.host_address for item in held] == ["127.0.0.1"]
    held[0].socket.close()
    with pytest.raises(UsageError, match="cannot publish there"):
        hold(PortSpec(80, host_address="198.51.100.77"), (), ["172.17.0.2"])
    with pytest.raises(UsageError, match="cannot publish there"):
        hold(PortSpec(80), ("198.51.100.77",), ["172.17.0.2"])


def test_a_published_port_can_be_held_again() -> None:
    (held,) = hold(PortSpec(53, "udp"), ("127.0.0.1",), ["172.17.0.2", "fd00::2"])
    held.socket.close()
    second = again(held.port)
    assert second.port == held.port
    assert second.socket.getsockname()[1] == held.port.host_port
    second.socket.close()


@pytest.mark.parametrize("spec", [PortSpec(0), PortSpec(80, host_port=70000), PortSpec(80, "icmp"), PortSpec(80, host_address="nowhere")])
def test_specs_from_elsewhere_are_checked(spec: PortSpec) -> None:
    with pytest.raises(UsageError):
        hold(spec, ("127.0.0.1",), ["172.17.0.2"])
