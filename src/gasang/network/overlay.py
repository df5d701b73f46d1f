"""Networks on the switch in user space, the driver `switch`: what their options ask of it, and what each port may do."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from gasang.core.errors import UsageError
from gasang.network.limits import OF_TUNNELS, PREFIX, Limits
from gasang.network.spec import Endpoint, Network
from gasang.network.switch.ports import Allowed
from gasang.network.switch.vxlan import OVERHEAD, PORT, Vxlan, peers_of, port_of, vni_of

OPTIONS: Final = tuple(PREFIX + name for name in OF_TUNNELS)
VXLAN, PEERS, VXLAN_PORT = OPTIONS
_ETHERNET: Final = 1500
_SHORTER: Final = 20
"""Bytes that a header of IPv4 is shorter than one of IPv6."""


def vxlan_of(options: Mapping[str, str]) -> Vxlan | None:
    """The tunnel to other hosts that a network's options ask for. Raises UsageError."""
    if VXLAN not in options:
        if alone := next((name for name in OPTIONS if name in options), None):
            raise UsageError(f"option {alone}", "it is one of a tunnel, and there is none", f"give {VXLAN} too")
        return None
    port = port_of(options[VXLAN_PORT]) if VXLAN_PORT in options else PORT
    texts = [text.strip() for text in options.get(PEERS, "").split(",") if text.strip()]
    return Vxlan(vni_of(options[VXLAN]), peers_of(texts, port), port)


def mtu_of(vxlan: Vxlan) -> int:
    """The largest packet of a network whose frames go in packets of an Ethernet's (RFC 7348, 4.3: nobody cuts those)."""
    return _ETHERNET - OVERHEAD + (0 if any(":" in address for address, _ in vxlan.peers) else _SHORTER)


def allowed(network: Network, endpoint: Endpoint, limits: Limits) -> Allowed:
    """What the port of a machine may do."""
    own = [ip_address(text).packed if (text := endpoint.address(family)) else b"" for family in (4, 6)] if limits.guard else [b"", b""]
    return Allowed(
        vlan=limits.vlan,
        isolated=not network.spec.icc,
        mac=bytes.fromhex(endpoint.mac.replace(":", "")) if limits.guard else b"",
        ipv4=own[0],
        ipv6=own[1],
        rate_in=limits.bandwidth,
        rate_out=limits.bandwidth,
        latency=limits.latency * 1e-6,
        loss=limits.loss,
    )


def outward(network: Network, limits: Limits, *, tunnel: bool) -> Allowed:
    """What a port may do that leads out: to the host, or by a `tunnel` to others.

    From one to the other nothing passes: each host is the way out of its own machines, and answers for the same address.
    """
    return Allowed(vlan=limits.vlan, outward=True, isolated=tunnel and not network.spec.icc)
