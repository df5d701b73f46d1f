"""Cables: what is told to the kernel, and that nothing stays of one that could not be made."""

from __future__ import annotations

import pytest

from gasang.host import rtnetlink
from gasang.host.netlink import ROUTE, NetlinkError, Socket
from gasang.network import cables
from support.network_host import Host


def wanted(bridge: int, **other: object) -> cables.Plug:
    values = {
        "isolated": False,
        "interface": "eth0",
        "mac": "02:00:00:00:00:09",
        "mtu": 0,
        "addresses": ("10.0.0.2/24",),
        "gateways": ("10.0.0.1",),
    }
    return cables.Plug(host_interface="gv0", bridge=bridge, **(values | other))  # type: ignore[arg-type]


def bridge(route: Socket) -> int:
    route.send([rtnetlink.new_bridge("br0", b"\x02\0\0\0\0\1")])
    return rtnetlink.link_of(route.send([rtnetlink.get_link("br0")])[0]).index


def test_two_calls_make_a_cable(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    post = Socket._post
    with Socket(ROUTE) as route:
        number = bridge(route)
        monkeypatch.setattr(Socket, "_post", lambda self, data, count: (sent.append(count), post(self, data, count))[1])
        cables.plug(route, wanted(number), host.namespace())
    assert sent == [4, 5, 2]


@pytest.mark.parametrize("trouble", [{"gateways": ("192.0.2.77",)}, {"addresses": ("10.0.0.2/24", "10.0.0.2/24")}])
def test_what_fails_inside_leaves_nothing_outside(host: Host, trouble: dict[str, object]) -> None:
    with Socket(ROUTE) as route:
        number = bridge(route)
        before = host.snapshot()["links"]
        with pytest.raises(NetlinkError):
            cables.plug(route, wanted(number, **trouble), host.namespace())
        assert host.snapshot()["links"] == before


def test_unplugging_what_is_gone_is_no_failure(host: Host) -> None:
    with Socket(ROUTE) as route:
        cables.unplug(route, ["gv-nobody", "gv-either"])
        cables.unplug(route, [])
