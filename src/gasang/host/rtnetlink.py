"""Links, addresses and routes: rtnetlink messages made and read.

Only bytes here; `gasang.host.netlink.Socket` carries them. Interfaces are named or numbered, addresses are packed (4 or 16 bytes).

Reference: rtnetlink(7); linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from gasang.core.errors import BadInputError
from gasang.host.netlink import CREATE, EXCL, REPLACE, Answer, Message, attribute, attributes, nested, text, u8, u32

NEW_LINK: Final = 16
DELETE_LINK: Final = 17
GET_LINK: Final = 18
NEW_ADDRESS: Final = 20
DELETE_ADDRESS: Final = 21
GET_ADDRESS: Final = 22
NEW_ROUTE: Final = 24
GET_ROUTE: Final = 26
NEW_NEIGHBOUR: Final = 28

UP: Final = 1
LOOPBACK_INDEX: Final = 1

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")

_HARDWARE_ADDRESS = 1
_NAME = 3
_MTU = 4
_LINK_OF = 5
_MASTER = 10
_LINK_INFO = 18
_NAMESPACE_FD = 28
_AF_SPEC = 26
_EXT_MASK = 29
_TX_QUEUES = 31
_RX_QUEUES = 32
_SKIP_STATISTICS = 8
_KIND = 1
_DATA = 2
_VETH_PEER = 1
_FORWARD_DELAY = 1
_MULTICAST_SNOOPING = 23
_PORT_KIND = 4
_PORT_DATA = 5
_PORT_HAIRPIN = 4
_PORT_ISOLATED = 33
_ADDRESS_GENERATION = 8
_GENERATE_NONE = 1
_LOCAL = 2
_ADDRESS_ITSELF = 1
_BROADCAST = 4
_ADDRESS_FLAGS = 8
_NO_DUPLICATE_DETECTION = 0x02
_DESTINATION = 1
_OUT = 4
_GATEWAY = 5
_TABLE_MAIN = 254
_PROTOCOL_BOOT = 3
_TYPE_UNICAST = 1
_SCOPE_LINK = 253
_PERMANENT = 0x80
_NEIGHBOUR_ADDRESS = 1
_NEIGHBOUR_HARDWARE = 2


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as the kernel lists it. `peer` is the other end of a veth (0: none), `master` the bridge it is a port of."""

    index: int
    name: str
    kind: str
    up: bool
    hardware_address: bytes
    mtu: int
    master: int
    peer: int


def _header(index: int = 0, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    return _LINK.pack(family, 0, index, flags, change)


def new_bridge(name: str, hardware_address: bytes, mtu: int = 0, *, index: int = 0, up: bool = True, snoops: bool = True) -> Message:
    """A bridge that forwards at once and keeps its hardware address whatever joins it; with an index of the caller's choice, if any.

    One that `snoops` learns which ports want which groups (RFC 4541), and for that joins the group of all who do, by IGMP and MLD: what it
    says there reaches whoever is behind its ports (RFC 4286).
    """
    data = u32(_FORWARD_DELAY, 0) + (b"" if snoops else u8(_MULTICAST_SNOOPING, 0))
    info = nested(_LINK_INFO, text(_KIND, "bridge"), nested(_DATA, data))
    body = _header(index, UP if up else 0, UP) + text(_NAME, name) + attribute(_HARDWARE_ADDRESS, hardware_address) + info
    return Message(NEW_LINK, CREATE | EXCL, body + (u32(_MTU, mtu) if mtu else b""), f"bridge {name}")


def new_veth(name: str, bridge: int, inner: str, hardware_address: bytes, namespace: int, mtu: int = 0, *, up: bool = True) -> Message:
    """A pair: `name` here, a port of the bridge numbered `bridge` (0: of none); `inner`, down, in the namespace of that descriptor."""
    # One queue an end: a cable hands packets over where they are sent, and each queue is objects and events that cost time to make.
    common = u32(_TX_QUEUES, 1) + u32(_RX_QUEUES, 1) + (u32(_MTU, mtu) if mtu else b"")
    there = _header() + text(_NAME, inner) + attribute(_HARDWARE_ADDRESS, hardware_address) + u32(_NAMESPACE_FD, namespace) + common
    info = nested(_LINK_INFO, text(_KIND, "veth"), nested(_DATA, attribute(_VETH_PEER, there)))
    body = _header(0, UP if up else 0, UP) + text(_NAME, name) + (u32(_MASTER, bridge) if bridge else b"") + common + info
    return Message(NEW_LINK, CREATE | EXCL, body, f"interface {name}")


def join_bridge(index: int, bridge: int, mtu: int = 0) -> Message:
    """Make an interface a port of a bridge (0: of none), and set it up."""
    body = _header(index, UP, UP) + u32(_MASTER, bridge) + (u32(_MTU, mtu) if mtu else b"")
    return Message(NEW_LINK, 0, body, f"interface {index}")


def isolate_port(name: str) -> Message:
    """A bridge's port that may talk to the bridge but to no other isolated port."""
    return _port(name, _PORT_ISOLATED)


def hairpin_port(name: str) -> Message:
    """A bridge's port to which the bridge sends back what came from it."""
    return _port(name, _PORT_HAIRPIN)


def _port(name: str, flag: int) -> Message:
    slave = nested(_LINK_INFO, text(_PORT_KIND, "bridge"), nested(_PORT_DATA, u8(flag, 1)))
    return Message(NEW_LINK, 0, _header() + text(_NAME, name) + slave, f"interface {name}")


def set_up(link: int | str) -> Message:
    """Set an interface up."""
    return Message(NEW_LINK, 0, _whose(link, UP, UP), f"interface {link}")


def _whose(link: int | str, flags: int = 0, change: int = 0) -> bytes:
    """The header of a message about the interface of a number, or of a name."""
    return _header(link, flags, change) if isinstance(link, int) else _header(0, flags, change) + text(_NAME, link)


def without_link_local(link: int | str) -> Message:
    """Let an interface come up without an IPv6 link-local address, and so without looking for others who have it.

    A message of its own: in one that also sets the interface up, the kernel does that first, and the address is there by then.
    """
    no_address = nested(_AF_SPEC, nested(socket.AF_INET6, u8(_ADDRESS_GENERATION, _GENERATE_NONE)))
    return Message(NEW_LINK, 0, _whose(link) + no_address, f"interface {link}")


def delete_link(name: str) -> Message:
    """Delete the interface of that name."""
    return Message(DELETE_LINK, 0, _header() + text(_NAME, name), f"interface {name}")


def get_link(name: str) -> Message:
    """Ask for one interface."""
    return Message(GET_LINK, 0, _header() + text(_NAME, name) + u32(_EXT_MASK, _SKIP_STATISTICS), f"interface {name}")


def settle_link(index: int) -> Message:
    """Ask for one interface; the kernel (since 6.8) first takes notice of what became of its cable, so that packets pass at once."""
    return Message(GET_LINK, 0, _header(index) + u32(_EXT_MASK, _SKIP_STATISTICS), f"interface {index}")


def all_links() -> Message:
    """Ask for all interfaces (to be dumped)."""
    return Message(GET_LINK, 0, _header() + u32(_EXT_MASK, _SKIP_STATISTICS), "the list of interfaces")


def all_addresses() -> Message:
    """Ask for all addresses (to be dumped)."""
    return Message(GET_ADDRESS, 0, _ADDRESS.pack(0, 0, 0, 0, 0), "the list of addresses")


def all_routes() -> Message:
    """Ask for all routes (to be dumped)."""
    return Message(GET_ROUTE, 0, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0), "the list of routes")


def new_address(index: int, address: bytes, prefix: int) -> Message:
    """Give an interface an address; an IPv6 one is used at once (nobody else can have it)."""
    if len(address) == 4:
        broadcast = (int.from_bytes(address, "big") | ((1 << (32 - prefix)) - 1)).to_bytes(4, "big")
        header = _ADDRESS.pack(socket.AF_INET, prefix, 0, 0, index)
        wide = attribute(_BROADCAST, broadcast) if prefix < 31 else b""
        body = header + attribute(_LOCAL, address) + attribute(_ADDRESS_ITSELF, address) + wide
    else:
        header = _ADDRESS.pack(socket.AF_INET6, prefix, _NO_DUPLICATE_DETECTION, 0, index)
        body = header + attribute(_LOCAL, address) + attribute(_ADDRESS_ITSELF, address) + u32(_ADDRESS_FLAGS, _NO_DUPLICATE_DETECTION)
    return Message(NEW_ADDRESS, CREATE | EXCL, body, f"address {_shown(address)}")


def default_route(index: int, gateway: bytes) -> Message:
    """Everything else goes to `gateway` out of that interface."""
    family = socket.AF_INET if len(gateway) == 4 else socket.AF_INET6
    header = _ROUTE.pack(family, 0, 0, 0, _TABLE_MAIN, _PROTOCOL_BOOT, 0, _TYPE_UNICAST, 0)
    return Message(NEW_ROUTE, CREATE | EXCL, header + attribute(_GATEWAY, gateway) + u32(_OUT, index), f"route by {_shown(gateway)}")


def route_to(destination: bytes, prefix: int, gateway: bytes, index: int) -> Message:
    """What is for that network goes to `gateway` out of that interface."""
    family = socket.AF_INET if len(gateway) == 4 else socket.AF_INET6
    header = _ROUTE.pack(family, prefix, 0, 0, _TABLE_MAIN, _PROTOCOL_BOOT, 0, _TYPE_UNICAST, 0)
    body = header + attribute(_DESTINATION, destination) + attribute(_GATEWAY, gateway) + u32(_OUT, index)
    return Message(NEW_ROUTE, CREATE | EXCL, body, f"route to {_shown(destination)}/{prefix}")


def route_on(index: int, address: bytes) -> Message:
    """That one address is at this interface; one that was there is replaced."""
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    header = _ROUTE.pack(family, len(address) * 8, 0, 0, _TABLE_MAIN, _PROTOCOL_BOOT, _SCOPE_LINK, _TYPE_UNICAST, 0)
    body = header + attribute(_DESTINATION, address) + u32(_OUT, index)
    return Message(NEW_ROUTE, CREATE | REPLACE, body, f"route to {_shown(address)}")


def neighbour(index: int, address: bytes, hardware_address: bytes) -> Message:
    """An address at this interface is that hardware's, for good: nobody is asked."""
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    header = _NEIGHBOUR.pack(family, index, _PERMANENT, 0, _TYPE_UNICAST)
    body = header + attribute(_NEIGHBOUR_ADDRESS, address) + attribute(_NEIGHBOUR_HARDWARE, hardware_address)
    return Message(NEW_NEIGHBOUR, CREATE | REPLACE, body, f"neighbour {_shown(address)}")


def set_down(index: int) -> Message:
    """Set an interface down."""
    return Message(NEW_LINK, 0, _header(index, 0, UP), f"interface {index}")


def move(index: int, namespace: int, name: str) -> Message:
    """Let an interface be in the network namespace of a descriptor, down and called so; its number may become another."""
    return Message(NEW_LINK, 0, _header(index) + u32(_NAMESPACE_FD, namespace) + text(_NAME, name), f"interface {name}")


def set_hardware_address(index: int, hardware_address: bytes, mtu: int = 0) -> Message:
    """Give an interface an address of Ethernet, and the size of its packets (0: as it is)."""
    body = _header(index) + attribute(_HARDWARE_ADDRESS, hardware_address) + (u32(_MTU, mtu) if mtu else b"")
    return Message(NEW_LINK, 0, body, f"interface {index}")


def delete_any_address(index: int) -> Message:
    """Take an IPv4 address from an interface, whichever comes first; refused where it has none."""
    return Message(DELETE_ADDRESS, 0, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, index), f"addresses of interface {index}")


def delete_address(index: int, address: bytes, prefix: int) -> Message:
    """Take an address from an interface."""
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    return Message(DELETE_ADDRESS, 0, _ADDRESS.pack(family, prefix, 0, 0, index) + attribute(_LOCAL, address), f"address {_shown(address)}")


def link_of(answer: Answer) -> Link:
    """The interface in an answer of type NEW_LINK.

    Raises BadInputError if it is damaged.
    """
    if len(answer.body) < _LINK.size:
        raise BadInputError("netlink answer", f"a link of {len(answer.body)} bytes is too short")
    _family, _type, index, flags, _change = _LINK.unpack_from(answer.body)
    found = dict(attributes(answer.body, _LINK.size))
    kind = dict(attributes(found.get(_LINK_INFO, b""))).get(_KIND, b"")
    return Link(
        index,
        _string(found.get(_NAME, b"")),
        _string(kind),
        bool(flags & UP),
        found.get(_HARDWARE_ADDRESS, b""),
        _u32(found.get(_MTU)),
        _u32(found.get(_MASTER)),
        _u32(found.get(_LINK_OF)),
    )


def ends_of(answer: Answer) -> tuple[int, int]:
    """The numbers of a cable's two ends, this one's first, from an answer of type NEW_LINK; the shortest way to them.

    Raises BadInputError if it is damaged.
    """
    if len(answer.body) < _LINK.size:
        raise BadInputError("netlink answer", f"a link of {len(answer.body)} bytes is too short")
    peer = next((value for kind, value in attributes(answer.body, _LINK.size) if kind == _LINK_OF), None)
    return _LINK.unpack_from(answer.body)[2], _u32(peer)


def network_of(answer: Answer) -> IPv4Network | IPv6Network | None:
    """The network that an answer of type NEW_ROUTE or NEW_ADDRESS covers; None for a default route and other families.

    Raises BadInputError if it is damaged.
    """
    route = answer.kind == NEW_ROUTE
    shape = _ROUTE if route else _ADDRESS
    if len(answer.body) < shape.size:
        raise BadInputError("netlink answer", f"a route or address of {len(answer.body)} bytes is too short")
    family, prefix = answer.body[0], answer.body[1]
    found = dict(attributes(answer.body, shape.size))
    packed = found.get(_DESTINATION) if route else found.get(_LOCAL, found.get(_ADDRESS_ITSELF))
    width = {socket.AF_INET: 4, socket.AF_INET6: 16}.get(socket.AddressFamily(family)) if family in (2, 10) else None
    if packed is None or width != len(packed) or prefix > width * 8 or (route and prefix == 0):
        return None
    return ip_network((packed, prefix), strict=False)


def _shown(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def _string(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _u32(value: bytes | None) -> int:
    return struct.unpack("=I", value)[0] if value is not None and len(value) == 4 else 0
