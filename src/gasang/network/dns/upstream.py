"""The host's own resolvers, from its resolv.conf; and the resolv.conf that a machine gets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from gasang.core.errors import UsageError

PATH: Final = "/etc/resolv.conf"
# systemd-resolved names itself (127.0.0.53) in the usual file, and whom it asks in this one.
BEHIND_RESOLVED: Final = "/run/systemd/resolve/resolv.conf"
SERVER: Final = "127.0.0.11"
_MOST_SERVERS: Final = 3
_LARGEST: Final = 65536


@dataclass(frozen=True, slots=True)
class Resolvers:
    """Addresses of resolvers (an IPv6 one may carry %interface), search domains, options."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def reachable_from_inside(self) -> tuple[str, ...]:
        """Those that a machine can ask itself: not the ones on the host's loopback or by a link of the host."""
        return tuple(server for server in self.servers if "%" not in server and not ip_address(server).is_loopback)


def parse(text: str) -> Resolvers:
    """A resolv.conf (resolv.conf(5)); lines that make no sense are passed over, as every resolver does."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0].startswith(("#", ";")):
            continue
        if words[0] == "nameserver" and _is_address(words[1]):
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = tuple(words[1:])
        elif words[0] == "options":
            options += words[1:]
    return Resolvers(tuple(servers[:_MOST_SERVERS]), search, tuple(options))


def read(path: str = PATH) -> Resolvers:
    """The host's, as they are now; where it asks only itself, those it asks in turn, if they can be told. No file: none."""
    found = _read(path)
    if path == PATH and found.servers and not found.reachable_from_inside:
        behind = _read(BEHIND_RESOLVED)
        if behind.reachable_from_inside:
            return behind
    return found


def stamp(path: str = PATH) -> tuple[int, int]:
    """What changes when the file does."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_ino


class Watched:
    """The host's resolvers, read again when the file has changed."""

    def __init__(self, path: str = PATH) -> None:
        self._path = path
        self._stamp = (-1, -1)
        self._found = Resolvers()
        self._reachable: tuple[str, ...] = ()

    def reachable_from_inside(self) -> tuple[str, ...]:
        """Those of them, as they are now, that a machine can ask itself."""
        self.now()
        return self._reachable

    def now(self) -> Resolvers:
        """As they are now."""
        current = stamp(self._path)
        if current != self._stamp:
            self._found = read(self._path)
            self._reachable = self._found.reachable_from_inside
            self._stamp = current
        return self._found


def text_for_machine(servers: Sequence[str], search: Sequence[str], options: Sequence[str]) -> str:
    """A resolv.conf with these."""
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(search)}"] if search else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n"


def checked_resolver(text: str) -> str:
    """The address of a resolver.

    Raises UsageError if it is none.
    """
    if not _is_address(text):
        raise UsageError(f"resolver {text!r}", "it is no IP address", "write it like 192.0.2.53")
    return text


def _read(path: str) -> Resolvers:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return parse(file.read(_LARGEST))
    except OSError:
        return Resolvers()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
