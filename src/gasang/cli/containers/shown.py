"""How values of the daemon's lists are shown to a person. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

_UNITS: Final = (
    (31_557_600, "year"),
    (2_629_800, "month"),
    (604_800, "week"),
    (86_400, "day"),
    (3600, "hour"),
    (60, "minute"),
    (1, "second"),
)


def short_id(text: str) -> str:
    """The first twelve digits."""
    return text.removeprefix("sha256:")[:12]


def stamp(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def ago(text: str, now: float | None = None) -> str:
    """How long ago an RFC 3339 time of UTC was: "3 hours ago"; the text itself where it is none.

    Without datetime, strptime or calendar: the import of one of them takes longer than the list itself.
    """
    parts = text[:19].replace("T", "-").replace(":", "-").split("-")
    if len(parts) != 6 or not all(part.isascii() and part.isdecimal() for part in parts):
        return text
    year, month, day, hour, minute, second = map(int, parts)
    seconds = (time.time() if now is None else now) - (time.mktime((year, month, day, hour, minute, second, 0, 0, 0)) - time.timezone)
    for size, name in _UNITS:
        count = int(seconds // size)
        if count >= 1:
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "now"


def listed(texts: Iterable[str]) -> str:
    """A list in a cell."""
    return ", ".join(texts)


def shortened(most: int) -> Callable[[str], str]:
    """Texts cut to `most` characters, for tables."""
    return lambda text: text if len(text) <= most else f"{text[: most - 1]}…"


def port_texts(ports: Iterable[Mapping[str, Any]]) -> list[str]:
    """The Ports of a list's line: ``127.0.0.1:8080->80/tcp``, or ``80/tcp`` where it is not published."""
    return [_port(port) for port in ports]


def _port(port: Mapping[str, Any]) -> str:
    inside = f"{port.get('PrivatePort')}/{port.get('Type')}"
    if not port.get("PublicPort"):
        return inside
    address = str(port.get("IP", ""))
    return f"{f'[{address}]' if ':' in address else address}:{port['PublicPort']}->{inside}"
