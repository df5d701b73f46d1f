"""Which networks there are: made out of clients' documents, found, removed, shown. Those that are no networks here, host and none, too."""

from __future__ import annotations

import hashlib
from ipaddress import ip_interface
from typing import Any, Final

from gasang.core.errors import NotFoundError, PermissionDeniedError, StateError, UnsupportedError, UsageError
from gasang.daemon.containers.names import stamp
from gasang.network import cables
from gasang.network.drivers import DRIVERS
from gasang.network.limits import OF_TUNNELS, PREFIX, limits_of
from gasang.network.mode import HOST, NONE, USER
from gasang.network.networks import Networks
from gasang.network.spec import BRIDGE, LOOPBACK, SWITCH, Network, NetworkSpec, SubnetSpec

WITHOUT_BRIDGE: Final = {HOST: "host", NONE: "null"}
"""name → driver."""
PREDEFINED: Final = (BRIDGE, *WITHOUT_BRIDGE)
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  what a client may write
_OPTION: Final = "com.docker.network."
_LISTED: Final = "docker network ls lists what is here"


def network_id(name: str) -> str:
    """The id by which clients know host and none."""
    return hashlib.sha256(f"gasang network {name}".encode()).hexdigest()


def without_bridge(name: str) -> str:
    """Which of host and none a name, an id or its beginning means; "" for neither."""
    for known in WITHOUT_BRIDGE:
        if name == known or (len(name) > 3 and network_id(known).startswith(name)):
            return known
    return ""


class Catalogue:
    """The networks of a daemon."""

    def __init__(self, host: Networks) -> None:
        self._host = host

    def find(self, name: str) -> Network:
        """The network of a name or id; the default one is made when it is asked for. Raises NotFoundError in Docker's words."""
        if name in (BRIDGE, "default"):
            return self._host.default()
        try:
            return self._host.inspect(name)
        except NotFoundError:
            raise NotFoundError(f"network {name[:80]} not found", _LISTED) from None

    def all(self) -> list[Network]:
        """Every one, the default one among them."""
        self._host.default()
        return list(self._host.list())

    def create(self, name: str, document: dict[str, Any]) -> Network:
        """A new network out of a client's document. Raises GasangError."""
        _check_name(name)
        _check_kind(document)
        if any(network.name == name for network in self._host.list()):
            raise StateError(f"network with name {name} already exists", "names are given once", "choose another")
        options = {str(key): str(value) for key, value in (document.get("Options") or {}).items()}
        limits_of(options)  # whatever the driver, they are checked
        driver = str(document.get("Driver") or self._fitting(options))
        mtu = _mtu(options) or _mtu_of_tunnel(options, driver)
        return self._host.create(
            NetworkSpec(
                name=name,
                driver=driver,
                subnets=tuple(_subnets(document.get("IPAM") or {})),
                ipv6=bool(document.get("EnableIPv6")),
                internal=bool(document.get("Internal")),
                icc=_truth(options, "bridge.enable_icc"),
                masquerade=_truth(options, "bridge.enable_ip_masquerade"),
                mtu=mtu,
                bridge=options.get(f"{_OPTION}bridge.name", ""),
                publish_on=_publish_on(options),
                attachable=bool(document.get("Attachable")),
                labels={str(key): str(value) for key, value in (document.get("Labels") or {}).items()},
                options=options,
            )
        )

    def _fitting(self, options: dict[str, str]) -> str:
        """The driver of a network for which none is named: the bridge, unless the kernel cannot make one keep its limits."""
        limits = limits_of(options)
        if not (limits.bandwidth or limits.latency):
            return BRIDGE
        return BRIDGE if self._host.place.call(lambda: cables.can_shape(limits.bandwidth, limits.latency)) else SWITCH

    def remove(self, name: str) -> Network:
        """Remove a network. Raises GasangError."""
        known = without_bridge(name) or (BRIDGE if name in (BRIDGE, "default") else "")
        network = None if known else self.find(name)
        if network is None or network.default:
            raise PermissionDeniedError(f"{known or BRIDGE} is a pre-defined network and cannot be removed", "every daemon has it")
        members = [end.name or end.machine[:12] for end in self._host.endpoints(network.id)]
        if members:
            inside = " ".join(f'name:"{member}"' for member in sorted(members))
            subject = f"error while removing network: network {network.name} id {network.id} has active endpoints"
            raise PermissionDeniedError(subject, inside, "disconnect them first")
        return self._host.remove(network.id)

    # the API's view

    def show(self, network: Network) -> dict[str, Any]:
        """A network as the API shows it."""
        spec = network.spec
        return {
            **_shell(network.name, network.id, spec.driver, stamp(network.created)),
            "EnableIPv6": any(":" in subnet.subnet for subnet in network.subnets),
            "IPAM": {"Driver": "default", "Options": None if network.default else {}, "Config": list(map(_shown_subnet, network.subnets))},
            "Internal": spec.internal,
            "Attachable": spec.attachable,
            "Containers": {
                end.machine: {
                    "Name": end.name,
                    "EndpointID": end.id,
                    "MacAddress": end.mac,
                    "IPv4Address": end.ipv4,
                    "IPv6Address": end.ipv6,
                }
                for end in self._host.endpoints(network.id)
            },
            "Options": _default_options(network) if network.default else spec.options,
            "Labels": spec.labels,
        }

    def show_without_bridge(self, name: str) -> dict[str, Any]:
        """Host or none as the API shows them."""
        return _shell(name, network_id(name), WITHOUT_BRIDGE[name], "1970-01-01T00:00:00.000000000Z")


def _shell(name: str, key: str, driver: str, created: str) -> dict[str, Any]:
    return {
        "Name": name,
        "Id": key,
        "Created": created,
        "Scope": "local",
        "Driver": driver,
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": None},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": {},
        "Labels": {},
    }


def _shown_subnet(subnet: SubnetSpec) -> dict[str, Any]:
    entry = {"Subnet": subnet.subnet, "IPRange": subnet.range, "Gateway": subnet.gateway, "AuxiliaryAddresses": subnet.reserved}
    return {key: value for key, value in entry.items() if value}


def _default_options(network: Network) -> dict[str, str]:
    options = {
        "bridge.default_bridge": "true",
        "bridge.enable_icc": "true",
        "bridge.enable_ip_masquerade": "true",
        "bridge.host_binding_ipv4": network.spec.publish_on[0],
        "bridge.name": network.bridge,
        "driver.mtu": str(network.spec.mtu or 1500),
    }
    return {f"{_OPTION}{name}": value for name, value in options.items()}


def _check_name(name: str) -> None:
    if name in (*PREDEFINED, "default", USER):
        raise PermissionDeniedError(
            f"operation is not permitted on predefined {name} network", "every daemon has it", "choose another name"
        )


def _check_kind(document: dict[str, Any]) -> None:
    """Refuse, by name, what only other kinds of network are. Raises GasangError."""
    driver = str(document.get("Driver") or "bridge")
    if driver in WITHOUT_BRIDGE.values():
        raise PermissionDeniedError(f'only one instance of "{driver}" network is allowed', "every daemon has it", f"use --network {driver}")
    if driver not in DRIVERS:
        there = " and ".join(repr(name) for name in DRIVERS)
        raise UnsupportedError(f"network driver {driver[:40]!r}", f"there are only {there}", "leave the driver out")
    if str(document.get("Scope") or "local") != "local" or document.get("Ingress"):
        raise UnsupportedError("network", "networks of a swarm are not here: there is no Swarm", "leave the scope out")
    source = document.get("ConfigFrom")
    if document.get("ConfigOnly") or (isinstance(source, dict) and source.get("Network")):
        raise UnsupportedError("network", "configurations apart from networks are not kept", "give the settings with the network")
    if document.get("EnableIPv4") is False:
        raise UnsupportedError("network", "one without IPv4 is not made", "leave --ipv4=false out")
    ipam = document.get("IPAM") or {}
    if not isinstance(ipam, dict) or not all(isinstance(document.get(name) or {}, dict) for name in ("Options", "Labels")):
        raise UsageError("network", "its IPAM, Options or Labels is not an object", "correct it")
    if str(ipam.get("Driver") or "default") != "default":
        raise NotFoundError(f'plugin "{str(ipam["Driver"])[:40]}" not found', "there is only the default IPAM driver", "leave it out")


def _truth(options: dict[str, str], name: str) -> bool:
    return options.get(f"{_OPTION}{name}", "true").lower() not in ("false", "0", "f")


def _mtu(options: dict[str, str]) -> int:
    text = options.get(f"{_OPTION}driver.mtu", "0")
    if not text.isdecimal() or len(text) > 6:
        raise UsageError(f"failed to parse {_OPTION}driver.mtu value: {text[:20]}", "it is no number", "for example 1500")
    return int(text)


def _mtu_of_tunnel(options: dict[str, str], driver: str) -> int:
    """What a tunnel to other hosts leaves of a packet; 0: there is none. Raises UsageError."""
    if not any(PREFIX + name in options for name in OF_TUNNELS):
        return 0
    if driver != SWITCH:
        raise UsageError("network with a tunnel", f"the driver {driver} has none", f"use the driver {SWITCH}")
    from gasang.network import overlay

    wanted = overlay.vxlan_of(options)
    return overlay.mtu_of(wanted) if wanted else 0


def _publish_on(options: dict[str, str]) -> tuple[str, ...]:
    """Where ports without an address are published: the loopback, unless the network says otherwise."""
    wanted = options.get(f"{_OPTION}bridge.host_binding_ipv4", "")
    if not wanted:
        return LOOPBACK
    try:
        address = str(ip_interface(wanted).ip)
    except ValueError as error:
        raise UsageError(f"{_OPTION}bridge.host_binding_ipv4 {wanted[:40]!r}", "it is no IP address", "for example 0.0.0.0") from error
    return (address, "::") if address == _EVERYWHERE else (address,)


def _subnets(ipam: dict[str, Any]) -> list[SubnetSpec]:
    made = []
    for entry in ipam.get("Config") or []:
        if not isinstance(entry, dict):
            raise UsageError("IPAM config", "an entry is not an object", "correct it")
        if entry.get("Subnet"):
            subnet = _checked_subnet(str(entry["Subnet"]))
            reserved = entry.get("AuxiliaryAddresses") or entry.get("AuxAddress") or {}
            if not isinstance(reserved, dict):
                raise UsageError("IPAM config", "its auxiliary addresses are not an object", "correct it")
            names = {str(key): str(value) for key, value in reserved.items()}
            made.append(SubnetSpec(subnet, str(entry.get("Gateway") or ""), str(entry.get("IPRange") or ""), names))
    return made


def _checked_subnet(text: str) -> str:
    """A subnet without bits of a host: those are a slip. Raises UsageError in Docker's words."""
    try:
        right = str(ip_interface(text).network) if "/" in text else ""
    except ValueError:
        right = ""
    if not right:
        raise UsageError("invalid network config", f"invalid subnet {text[:50]}: invalid CIDR block notation", "write it like 10.7.0.0/24")
    if right != str(ip_interface(text)):
        raise UsageError("invalid network config", f"invalid subnet {text}: it should be {right}")
    return text
