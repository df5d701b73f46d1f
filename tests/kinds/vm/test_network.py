"""What a guest is on its card, told to a kernel: that of a namespace which stands for the guest's."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gasang.core.errors import PermissionDeniedError, UsageError
from gasang.host import netns
from gasang.host.netlink import ROUTE
from gasang.host.tap import Tap
from gasang.kinds.vm.card import MOST_ADDRESSES, Card
from gasang.kinds.vm.network import CARD_INDEX, Network, attach, cable_of, forgetting, learning

FIRST = Card("02:00:00:00:00:07", ("10.0.0.2/24", "fd00::2/64"), ("10.0.0.1",), "", "169.254.0.1 02:00:00:00:00:01")
SECOND = Card("02:00:00:00:00:08", ("10.0.1.2/24", "10.0.2.2/24"), ("10.0.2.1",))


@pytest.fixture
def guest() -> Iterator[None]:
    """The thread is in a namespace with a card."""
    try:
        namespace = netns.create()
    except PermissionDeniedError:
        pytest.skip("network namespaces need root")
    with netns.entered(namespace):
        tap = Tap("eth0")
        assert socket.if_nametoindex("eth0") == CARD_INDEX
        yield
        tap.close()
    os.close(namespace)


def tell(messages: bytes) -> int:
    """As the agent does; how many were refused."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, ROUTE) as route:
        route.send(messages)
        refused = 0
        while True:
            try:
                answer = route.recv(1 << 16)
            except BlockingIOError:
                return refused
            refused += int.from_bytes(answer[16:20], "little") != 0


def shown(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


@pytest.mark.usefixtures("guest")
def test_who_it_is_and_then_is_not() -> None:
    assert tell(learning(FIRST)) == 0
    assert "inet 10.0.0.2/24" in shown("address", "show", "eth0")
    assert "inet6 fd00::2/64" in shown("address", "show", "eth0")
    assert "default via 10.0.0.1 dev eth0" in shown("route")
    assert "169.254.0.1 lladdr 02:00:00:00:00:01 PERMANENT" in shown("neigh", "show", "dev", "eth0")
    assert tell(forgetting(SECOND)) == MOST_ADDRESSES - 1
    assert tell(learning(SECOND)) == 0
    now = shown("address", "show", "eth0")
    assert ("inet 10.0.1.2/24" in now, "inet 10.0.2.2/24" in now, "02:00:00:00:00:08" in now) == (True, True, True)
    assert ("10.0.0.2" in now, "inet6" in now) == (False, False)
    assert shown("route").splitlines()[0].startswith("default via 10.0.2.1 dev eth0")
    assert "169.254" not in shown("route")


@pytest.mark.usefixtures("guest")
def test_a_twin_without_addresses_of_ipv6_stays_up() -> None:
    assert tell(learning(SECOND)) == 0
    third = Card("02:00:00:00:00:09", ("10.0.3.2/24",), ("10.0.3.1",))
    messages = forgetting(third, SECOND)
    assert len(messages) < len(forgetting(third))
    assert tell(messages) == MOST_ADDRESSES - 2
    assert shown("route") == ""
    assert tell(learning(third)) == 0
    now = shown("address", "show", "eth0")
    assert ("inet 10.0.3.2/24" in now, "02:00:00:00:00:09" in now, "10.0.1.2" in now, "UP" in now) == (True, True, False, True)
    assert shown("route").splitlines()[0].startswith("default via 10.0.3.1 dev eth0")


@pytest.mark.usefixtures("guest")
def test_a_cable_that_is_out_until_it_is_plugged_in() -> None:
    with ExitStack() as cleanup:
        cable = attach(Network(FIRST, plugged=False), cleanup)
        assert cable.card.config()[6] == 0
        tap = Tap("other")
        cable.plug(tap)
        assert cable.card.config()[6] == 1
        assert cable_of((object(), cable)) is cable
    tap.close()
    assert cable_of(()) is None


@pytest.mark.usefixtures("guest")
def test_a_tap_that_somebody_else_has_made() -> None:
    made = Tap("other")
    with ExitStack() as cleanup:
        attach(Network(FIRST, tap=made.descriptor), cleanup)
        assert "other" in [name for _, name in socket.if_nameindex()]
    assert "other" not in [name for _, name in socket.if_nameindex()]


@pytest.mark.parametrize(
    "words",
    [
        {"mac": "02:00"},
        {"mac": "zz"},
        {"addresses": ("10.0.0.300/8",)},
        {"addresses": ("10.0.0.1/8",) * 17},
        {"gateways": ("here",)},
        {"resolver": "1.1.1.1; reboot"},
        {"resolver": "1.1.1.1 02:00"},
        {"mtu": 60},
    ],
)
def test_what_can_be_no_card(words: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="network card"):
        Card(**{"mac": FIRST.mac, **words})
