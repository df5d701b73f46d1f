"""Ports as people publish them: ``[[ADDRESS:]HOST:]PORT[/PROTOCOL]``, each number also a range of as many. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from gasang.cli.options import plain_text
from gasang.core.errors import UsageError

PROTOCOLS: Final = ("tcp", "udp")


class Publication(NamedTuple):
    """One port of a container and where on the host it is found; `host` "" is any free port, `address` "" the daemon's choice."""

    address: str
    host: str
    port: int
    protocol: str


def publication(text: str, subject: str) -> tuple[Publication, ...]:
    """What a text publishes. Raises UsageError."""
    rest, slash, protocol = plain_text(text, subject).partition("/")
    address, rest = _address(rest)
    host, colon, port = rest.rpartition(":")
    if not address and ":" in host:
        address, _, host = host.rpartition(":")
    protocol = protocol.lower() if slash else "tcp"
    inside, outside = _range(port), _range(host) if host else []
    wrong = protocol not in PROTOCOLS or not inside or (host and not outside) or (colon and not host and not address)
    if wrong or (outside and len(outside) != len(inside) and len(inside) != 1):
        raise UsageError(
            f"{subject} {text!r}", "it publishes no port", f"write it as in {subject} 8080:80 or {subject} 127.0.0.1:53:53/udp"
        )
    if len(inside) == 1 and len(outside) > 1:
        return (Publication(address, host, inside[0], protocol),)  # any free one of a range
    return tuple(Publication(address, str(outside[index]) if outside else "", number, protocol) for index, number in enumerate(inside))


def exposed(text: str, subject: str) -> tuple[str, ...]:
    """``PORT[-PORT][/PROTOCOL]`` as names of ExposedPorts. Raises UsageError."""
    numbers, slash, protocol = plain_text(text, subject).partition("/")
    protocol, found = protocol.lower() if slash else "tcp", _range(numbers)
    if protocol not in PROTOCOLS or not found:
        raise UsageError(f"{subject} {text!r}", "it is no port", f"write it as in {subject} 80 or {subject} 6000-6010/udp")
    return tuple(f"{number}/{protocol}" for number in found)


def _address(text: str) -> tuple[str, str]:
    """A bracketed IPv6 address at the beginning, and the rest."""
    if not text.startswith("["):
        return "", text
    address, _, rest = text[1:].partition("]")
    return address, rest.removeprefix(":")


def _range(text: str) -> list[int]:
    """The numbers of ``8000`` or ``8000-8009``; none where it is neither."""
    first, dash, last = text.partition("-")
    ends = [first, last if dash else first]
    if not all(end.isascii() and end.isdecimal() and len(end) < 6 for end in ends):
        return []
    low, high = map(int, ends)
    return list(range(low, high + 1)) if 0 < low <= high < 65536 else []


def bindings(published: Iterable[Publication]) -> tuple[dict[str, dict[str, Any]], dict[str, list[dict[str, str]]]]:
    """ExposedPorts and PortBindings of the Docker Engine API."""
    found: dict[str, list[dict[str, str]]] = {}
    for entry in published:
        found.setdefault(f"{entry.port}/{entry.protocol}", []).append({"HostIp": entry.address, "HostPort": entry.host})
    return {name: {} for name in found}, found
