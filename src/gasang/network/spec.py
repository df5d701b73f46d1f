"""What is asked of networks and what became of it, as plain values that go to JSON and back.

A `NetworkSpec` and an `EndpointSpec` are wishes; `Network` and `Endpoint` are facts, and all that has to be remembered of them. An
endpoint is one machine's place in one network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field
from typing import Any, ClassVar, Final, Self

from gasang.core.errors import BadInputError

BRIDGE: Final = "bridge"
SWITCH: Final = "switch"
"""Drivers: a bridge of the kernel, the switch in user space. The default network is called as the first one, too."""
LOOPBACK: Final = ("127.0.0.1", "::1")


class Record:
    """A dataclass whose fields are plain values, or tuples of them or of other records."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Made again from `to_json`; fields that are missing have their default.

        Raises BadInputError when one without a default is missing.
        """
        known = {name: item.metadata.get("of") for name, item in cls.__dataclass_fields__.items()}
        try:
            return cls(**{name: _read(known[name], value) for name, value in data.items() if name in known})
        except TypeError as error:
            raise BadInputError(f"stored {cls.__name__.lower()}", f"it lacks what it needs ({error})") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, dict) else value


def _read(of: type[Record] | None, value: Any) -> Any:
    if of is not None:
        return tuple(of.from_json(item) for item in value) if isinstance(value, list | tuple) else of.from_json(value)
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class SubnetSpec(Record):
    """A range of addresses: `subnet` ("10.7.0.0/24"), the part of it that is given out, the gateway, and addresses kept back by name."""

    subnet: str
    gateway: str = ""
    range: str = ""
    reserved: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NetworkSpec(Record):
    """A network that is wanted. No subnets: one is found that collides with nothing.

    `internal`: no way out of it and none in. `icc`: its members reach each other. `masquerade`: they go out under the host's address.
    `publish_on`: addresses of the host on which ports are published when none is named. `attachable` is kept for who asks.
    """

    name: str
    driver: str = BRIDGE
    subnets: tuple[SubnetSpec, ...] = field(default=(), metadata={"of": SubnetSpec})
    ipv6: bool = False
    internal: bool = False
    icc: bool = True
    masquerade: bool = True
    mtu: int = 0
    bridge: str = ""
    publish_on: tuple[str, ...] = LOOPBACK
    attachable: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Network(Record):
    """A network that is. `subnets` have all their gateways; `created` is in nanoseconds since 1970."""

    id: str
    spec: NetworkSpec = field(metadata={"of": NetworkSpec})
    subnets: tuple[SubnetSpec, ...] = field(metadata={"of": SubnetSpec})
    bridge: str
    created: int

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name

    @property
    def default(self) -> bool:
        """Whether it is the one that machines join when they name none: there are no names in it, as Docker has it."""
        return self.spec.name == BRIDGE


@dataclass(frozen=True, slots=True)
class EndpointSpec(Record):
    """A place in a network that is wanted. `machine` is the id of the machine; an empty interface or address is chosen.

    `default_route`: if the machine has none yet, its default route goes by this network. `resolvers`: addresses of whom names from
    elsewhere are asked (empty: the host's). `links`, each ALIAS=NAME: how this machine alone calls others of the network. `guest`: the
    machine has a kernel of its own, behind the tap of its namespace (guests.py).
    """

    machine: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    interface: str = ""
    ipv4: str = ""
    ipv6: str = ""
    mac: str = ""
    default_route: bool = True
    resolvers: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    guest: bool = False


@dataclass(frozen=True, slots=True)
class PortSpec(Record):
    """A port that is to be published: `machine_port` of the machine, at `host_port` (0: any free one) of the host's address.

    `host_address` "" means where the network publishes.
    """

    machine_port: int
    protocol: str = "tcp"
    host_address: str = ""
    host_port: int = 0
    last_host_port: int = 0


@dataclass(frozen=True, slots=True)
class Published(Record):
    """A port that is published."""

    protocol: str
    host_address: str
    host_port: int
    machine_address: str
    machine_port: int


@dataclass(frozen=True, slots=True)
class Endpoint(Record):
    """A place in a network that is taken.

    Addresses carry their prefix ("172.17.0.2/16"), gateways do not. `host_interface` is the end of the cable on the host;
    `default_route` tells whether the machine's goes by this network; `dns` is whom the machine itself asks for names. Of a `guest` the
    addresses are its own kernel's, and it has one `mac` in all networks.
    """

    id: str
    network: str
    machine: str
    interface: str
    host_interface: str
    mac: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    ipv4: str = ""
    ipv6: str = ""
    gateway4: str = ""
    gateway6: str = ""
    default_route: bool = True
    dns: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    published: tuple[Published, ...] = field(default=(), metadata={"of": Published})
    guest: bool = False

    def address(self, family: int) -> str:
        """The address of family 4 or 6 without its prefix; "" if it has none."""
        return (self.ipv4 if family == 4 else self.ipv6).partition("/")[0]
