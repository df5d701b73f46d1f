"""The names of what we put on the host, so that it is known again as ours, and as whose.

An instance (one state directory) has a tag of four hexadecimal digits. It stands in the names of bridges and cables, in the bridges'
hardware addresses and in the name of the table of rules, so that two instances on one host never take each other's for their own.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from ipaddress import IPv4Address
from typing import Final

from gasang.core.errors import UsageError

# An interface's name has 15 characters.
_CABLE = "gv{tag}{number}"
_BRIDGE = "gs{tag}{number}"
_DEFAULT_BRIDGE = "gasang-{tag}"
_OUR_BRIDGE_ADDRESS: Final = bytes((0x02, 0x67, 0x73))
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
_INTERFACE: Final = re.compile(r"[^\s/:\0%]{1,15}")
_TAG: Final = re.compile(r"[0-9a-f]{4}")


def tag_of(identity: str) -> str:
    """The tag of an instance, from what tells it from others (the id of its state)."""
    return hashlib.sha256(identity.encode()).hexdigest()[:4]


def checked_tag(tag: str) -> str:
    """The tag, if it is one.

    Raises UsageError.
    """
    if not _TAG.fullmatch(tag):
        raise UsageError(f"instance tag {tag!r}", "it is not four hexadecimal digits", "make it with tag_of")
    return tag


def new_id() -> str:
    """An id of 64 hexadecimal digits."""
    return secrets.token_hex(32)


def table(tag: str) -> str:
    """The name of our table of rules."""
    return f"gasang_{tag}"


def cable(tag: str, endpoint: str) -> str:
    """The name of the host's end of an endpoint's cable."""
    return _CABLE.format(tag=tag, number=endpoint[:9])


def bridge(tag: str, network: str) -> str:
    """The name of a network's bridge."""
    return _BRIDGE.format(tag=tag, number=network[:9])


def default_bridge(tag: str) -> str:
    """The name of the default network's bridge: like all others it tells whose it is, and no instance has another's."""
    return _DEFAULT_BRIDGE.format(tag=tag)


def bridge_address(tag: str, network: str) -> bytes:
    """The hardware address of a network's bridge, by which it is known as ours."""
    return _OUR_BRIDGE_ADDRESS + bytes.fromhex(tag) + bytes.fromhex(network[:2])


def is_our_bridge(tag: str, kind: str, hardware_address: bytes) -> bool:
    """Whether an interface is a bridge of this instance, or the tap that is there for one where a switch is used."""
    return kind in ("bridge", "tun") and hardware_address[:5] == _OUR_BRIDGE_ADDRESS + bytes.fromhex(tag)


def is_our_cable(tag: str, kind: str, name: str) -> bool:
    """Whether an interface is the host's end of a cable of this instance."""
    return kind == "veth" and len(name) == 15 and name.startswith(f"gv{tag}")


def machine_address(ipv4: str, endpoint: str) -> str:
    """The hardware address for a machine with that IPv4 address ("172.17.0.2/16", or "").

    It follows from the IP address, so that a neighbour who remembers the last machine there is not misled.
    """
    tail = IPv4Address(ipv4.partition("/")[0]).packed if ipv4 else bytes.fromhex(endpoint[:8])
    return (b"\x02\x42" + tail).hex(":")


def checked_hardware_address(text: str) -> str:
    """A hardware address that a machine may have.

    Raises UsageError.
    """
    parts = re.split("[:-]", text.lower())
    if len(parts) != 6 or not all(re.fullmatch("[0-9a-f]{2}", part) for part in parts):
        raise UsageError(f"MAC address {text!r}", "it is not six pairs of hexadecimal digits", "write it like 02:42:ac:11:00:02")
    if int(parts[0], 16) & 1 or parts == ["00"] * 6:
        raise UsageError(
            f"MAC address {text}", "it does not name one interface", "the first digit pair must be even, as in 02:42:ac:11:00:02"
        )
    return ":".join(parts)


def checked_name(text: str) -> str:
    """A name that a network may have.

    Raises UsageError.
    """
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"network name {text!r}",
            "it has signs that are not letters, digits, '_', '.' or '-', or begins with one that is neither letter nor digit",
        )
    return text


def checked_interface(text: str) -> str:
    """A name that an interface may have.

    Raises UsageError.
    """
    if not _INTERFACE.fullmatch(text) or text in (".", "..", "lo", "all", "default"):
        raise UsageError(f"interface name {text!r}", "the kernel takes none like it", "use up to 15 letters and digits, as in eth0")
    return text
