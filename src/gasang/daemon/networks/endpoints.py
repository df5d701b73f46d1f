"""A container's place in a network, as clients ask for it and as they are shown it. Pure.

The record keeps both in one document by network: what was asked for (aliases, links, fixed addresses) stays, what became of it is there
while the container runs. A hardware address is both, so the one that was asked for has a name of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Any, Final

from gasang.core.errors import UsageError
from gasang.daemon.containers.fields import mapping, read, text, texts, whole
from gasang.daemon.containers.record import Container
from gasang.network.mode import MACHINE, USER, mode_of
from gasang.network.names import checked_hardware_address
from gasang.network.spec import BRIDGE, Endpoint, EndpointSpec, Network

WANTED_MAC: Final = "WantedMacAddress"
_ASKED: Final = {
    "IPAMConfig": mapping(), "Links": texts(), "Aliases": texts(), "MacAddress": text(), "DriverOpts": mapping(), "GwPriority": whole(),
}  # fmt: skip
_NOT_NOW: Final[dict[str, Any]] = {
    "NetworkID": "",
    "EndpointID": "",
    "MacAddress": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DNSNames": None,
}


def asked_of(document: object, subject: str) -> dict[str, Any]:
    """What a client asks of a place. Raises UsageError."""
    found = read({} if document is None else document, _ASKED, subject)
    if found["MacAddress"]:
        found[WANTED_MAC] = checked_hardware_address(found["MacAddress"])
    for family, name in ((4, "IPv4Address"), (6, "IPv6Address")):
        address = str((found["IPAMConfig"] or {}).get(name) or "")
        if address and _family(address) != family:
            raise UsageError("invalid endpoint settings", f"invalid IPv{family} address: {address[:40]}", "correct it")
    found.update(_NOT_NOW)
    return found


def asked_of_all(document: dict[str, Any], host: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What a client's document for a new container asks of each network, by its name; that of the mode is always among them.

    `host` is its HostConfig, checked. Raises UsageError.
    """
    networking = document.get("NetworkingConfig") or {}
    given = networking.get("EndpointsConfig") if isinstance(networking, dict) else None
    if given is not None and not isinstance(given, dict):
        raise UsageError("networking config", "EndpointsConfig is not an object", "correct it")
    wanted = {BRIDGE if name == "default" else name: asked for name, asked in (given or {}).items()}
    mode = mode_of(host["NetworkMode"])
    if mode.kind == MACHINE:
        _check_sharing(wanted, host)
        return {}
    own = mode.subject or (host["NetworkMode"] if mode.kind == USER else mode.kind)
    result = {name: asked_of(asked, f"endpoint of network {name[:40]}") for name, asked in {own: None, **wanted}.items()}
    if document.get("MacAddress") and WANTED_MAC not in result[own]:  # so clients said it before API 1.44
        result[own] |= asked_of({**result[own], "MacAddress": document["MacAddress"]}, "container config")
    return result


def _check_sharing(wanted: dict[str, Any], host: dict[str, Any]) -> None:
    if wanted:
        raise UsageError("network mode", "a container that shares another's network has none of its own", "name no network")
    if host["PortBindings"] or host["PublishAllPorts"]:
        cause = "port publishing and the container type network mode"
        raise UsageError("conflicting options", cause, "publish them on the other container")


def check(asked: dict[str, Any], network: Network) -> None:
    """Raise UsageError, in Docker's words, where a fixed address is asked for that the network cannot keep.

    Only a network whose subnet the user chose is certain to have that subnet tomorrow.
    """
    fixed = asked.get("IPAMConfig") or {}
    for name in ("IPv4Address", "IPv6Address"):
        address = str(fixed.get(name) or "")
        if not address:
            continue
        if network.default:
            raise UsageError(
                f"invalid config for network {network.name}", "user specified IP address is supported on user defined networks only"
            )
        ours = [subnet.subnet for subnet in network.spec.subnets if (":" in subnet.subnet) == (":" in address)]
        if not ours:
            cause = "user specified IP address is supported only when connecting to networks with user configured subnets"
            raise UsageError(f"invalid config for network {network.name}", cause, "make one with --subnet")
        if not any(ip_address(address) in ip_network(subnet, strict=False) for subnet in ours):
            cause = f"no configured subnet or ip-range contain the IP address {address}"
            raise UsageError(f"invalid config for network {network.name}", cause, f"choose one of {' or '.join(ours)}")


def first_to_last(endpoints: dict[str, dict[str, Any]], own: str) -> list[str]:
    """The order in which a container joins: the network of its mode gives eth0."""
    return sorted(endpoints, key=lambda name: (name != own, name))


def way_out(endpoints: dict[str, dict[str, Any]], networks: Iterable[Network]) -> str:
    """Of these networks, in their order, the id of the one by which the default route goes: the highest priority, the first of equals."""
    leading = [network for network in networks if not network.spec.internal]
    best = max(leading, key=lambda network: endpoints[network.name].get("GwPriority") or 0, default=None)
    return best.id if best else ""


def wish(container: Container, asked: dict[str, Any], *, default_route: bool) -> EndpointSpec:
    """What the network is asked for."""
    fixed = asked.get("IPAMConfig") or {}
    aliases = [*(asked.get("Aliases") or []), container.short, *filter(None, [container.config["Hostname"]])]
    return EndpointSpec(
        machine=container.id,
        name=container.name,
        aliases=tuple(dict.fromkeys(aliases)),
        ipv4=str(fixed.get("IPv4Address") or ""),
        ipv6=str(fixed.get("IPv6Address") or ""),
        mac=asked.get(WANTED_MAC) or "",
        default_route=default_route,
        resolvers=tuple(container.host["Dns"] or ()),
        links=tuple(f"{alias or name}={name}" for name, _, alias in (link.partition(":") for link in asked.get("Links") or ())),
    )


def fact(network: Network, endpoint: Endpoint) -> dict[str, Any]:
    """What became of it, in the API's words."""
    address4, _, prefix4 = endpoint.ipv4.partition("/")
    address6, _, prefix6 = endpoint.ipv6.partition("/")
    return {
        "NetworkID": network.id,
        "EndpointID": endpoint.id,
        "MacAddress": endpoint.mac,
        "Gateway": endpoint.gateway4,
        "IPAddress": address4,
        "IPPrefixLen": int(prefix4 or 0),
        "IPv6Gateway": endpoint.gateway6,
        "GlobalIPv6Address": address6,
        "GlobalIPv6PrefixLen": int(prefix6 or 0),
        "DNSNames": None if network.default else list(dict.fromkeys([endpoint.name, *endpoint.aliases])),
    }


def of_twin(asked: dict[str, Any]) -> dict[str, Any]:
    """What the twin of a machine asks of a network: as that one did, but for what only one can have."""
    return {**asked, **_NOT_NOW, "IPAMConfig": None, WANTED_MAC: ""}


def forget(asked: dict[str, Any]) -> None:
    """It is in that network no longer; what was asked for stays."""
    asked.update(_NOT_NOW)


def _family(address: str) -> int:
    try:
        return ip_address(address).version
    except ValueError:
        return 0
