"""What a guest is on its network card, and as a document: in a machine's settings, in requests, in snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address, ip_interface
from typing import Any, Final

from gasang.core.errors import UsageError

MOST_ADDRESSES: Final = 16
_MOST_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Card:
    """What a guest is to be on its card. `mac` is written with colons; `addresses` have their prefix ("10.1.2.3/24"), `gateways` do not.

    `resolv_conf` is a whole /etc/resolv.conf, "" to leave the guest's as it is. `resolver` is an address that is not asked for on the
    cable but known to be at a hardware address: "169.254.0.53 02:00:00:00:00:01", or "". Nothing else needs to be there: no addresses, no
    gateway. With `listens` routers on the cable are trusted with its addresses of IPv6.
    """

    mac: str
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    resolv_conf: str = ""
    resolver: str = ""
    mtu: int = 1500
    listens: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for addresses that are none."""
        try:
            if len(packed(self.mac)) != 6:
                raise ValueError(f"{self.mac!r} is no hardware address")
            if not 68 <= self.mtu <= 65535 or len(self.addresses) > MOST_ADDRESSES:
                raise ValueError(f"an MTU of {self.mtu}, {len(self.addresses)} addresses")
            for text in self.addresses:
                ip_interface(text)
            for text in self.gateways:
                ip_address(text)
            if self.resolver:
                address, _, hardware = self.resolver.partition(" ")
                if ip_address(address).version != 4 or len(packed(hardware)) != 6:
                    raise ValueError(f"{self.resolver!r} is no IPv4 and hardware address")
        except ValueError as error:
            raise UsageError("network card", str(error), "write addresses as in 10.1.2.3/24 and 02:00:00:00:00:01") from error


def packed(mac: str) -> bytes:
    """A hardware address's bytes. Raises ValueError for what is none."""
    return bytes.fromhex(mac.replace(":", ""))


def card_of(document: object) -> Card | None:
    """The network card of such a document; None for none. Raises UsageError."""
    if document is None:
        return None
    if not isinstance(document, Mapping) or not is_card(document):
        known = ", ".join(entry.name for entry in fields(Card))
        raise UsageError("network of a machine", "it is no network card's document", f"give {known}")
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}
    return Card(**given)


def is_card(value: object) -> bool:
    """Whether it is None, or a document of a Card's fields; what stands in them, the Card itself looks at."""
    if value is None:
        return True
    texts = ("mac", "resolv_conf", "resolver")
    return (
        isinstance(value, Mapping)
        and "mac" in value
        and value.keys() <= {entry.name for entry in fields(Card)}
        and all(_text(value.get(name, "")) for name in texts)
        and all(_texts(value.get(name, [])) for name in ("addresses", "gateways"))
        and type(value.get("mtu", 0)) is int
        and type(value.get("listens", False)) is bool
    )


def _text(value: object) -> bool:
    return isinstance(value, str) and len(value) < _MOST_BYTES and "\0" not in value


def _texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_text, value))
