"""Letting the host pass packets on while machines need it, and putting it back as it was.

The kernel passes packets between interfaces only if told to. We tell it, remember what was there before (the memory is stored before
anything is changed), and undo it when the last network goes. Two things make that safe for others:

- The interfaces that were there when we turned forwarding on are `outside`: our rules drop what would now pass between two of them.
- If an interface that others route through (a bridge, a tunnel) came since, someone else relies on forwarding: then it stays on.

The kernel's switch moves others along: forwarding of every interface, and for IPv4 whether redirections are heeded, which an administrator
may have turned off. They are remembered too, and put back after the switch.

IPv6 hosts that forward ignore router advertisements, from which they may have their own address and route; those that listened to them
are told to go on listening.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from gasang.host import sysctls
from gasang.host.rtnetlink import Link
from gasang.network.spec import Record

FORWARD4: Final = "net/ipv4/ip_forward"
FORWARD6: Final = "net/ipv6/conf/all/forwarding"
_ROUTED_KINDS: Final = frozenset({"bridge", "tun", "wireguard", "vxlan", "gre", "ipip", "macvlan", "ipvlan"})


@dataclass(frozen=True, slots=True)
class Before(Record):
    """Kernel parameters as they were before us, and the interfaces there were ("" in `parameters`: nothing changed)."""

    parameters: dict[str, str] = field(default_factory=dict)
    outside: tuple[str, ...] = ()


def turn_on(before: Before, links: Iterable[Link], *, ipv6: bool, store: Callable[[Before], None]) -> Before:
    """Forwarding is on afterwards, for IPv4 and if `ipv6` for IPv6; what it was is handed to `store` first.

    Raises PermissionDeniedError where kernel parameters cannot be set.
    """
    wanted = {FORWARD4: "1"}
    if ipv6:
        wanted |= _listening(links) | {FORWARD6: "1"}
    changes = {name: value for name, value in wanted.items() if name not in before.parameters and sysctls.read(name) not in (None, value)}
    if not changes:
        return before
    links = list(links)
    old = {name: sysctls.read(name) or "" for name in changes} | _moved_along(changes, links)
    outside = before.outside or tuple(sorted(link.name for link in links if link.name != "lo"))
    after = Before({**before.parameters, **old}, outside)
    store(after)
    for name, value in changes.items():
        sysctls.write(name, value)
    return after


def put_back(before: Before, links: Iterable[Link]) -> Before:
    """Undo `turn_on`, except where others came to rely on it; what is left to be remembered (nothing)."""
    known = set(before.outside)
    if not any(link.kind in _ROUTED_KINDS and link.name not in known for link in links):
        # Forwarding goes off first: only then may interfaces listen to routers as they did before.
        for name in sorted(before.parameters, key=lambda name: name not in (FORWARD4, FORWARD6)):
            if sysctls.read(name) not in (None, before.parameters[name]):
                sysctls.write(name, before.parameters[name])
    return Before()


def _moved_along(changes: Iterable[str], links: Iterable[Link]) -> dict[str, str]:
    """What the kernel changes together with these, as it is now (inet_forward_change and addrconf_fixup_forwarding in its source)."""
    moved = ["net/ipv4/conf/all/accept_redirects"] if FORWARD4 in changes else []
    for switch, family in ((FORWARD4, "ipv4"), (FORWARD6, "ipv6")):
        if switch in changes:
            moved += [f"net/{family}/conf/{name}/forwarding" for name in ("default", *(link.name for link in links if _is_plain(link)))]
    return {name: value for name in moved if (value := sysctls.read(name)) is not None}


def _is_plain(link: Link) -> bool:
    """Whether its name can stand in a path."""
    return "/" not in link.name and link.name != os.curdir


def _listening(links: Iterable[Link]) -> dict[str, str]:
    """Interfaces that take router advertisements as long as they do not forward: told to take them anyway."""
    names = [f"net/ipv6/conf/{link.name}/accept_ra" for link in links if _is_plain(link)]
    return {name: "2" for name in names if sysctls.read(name) == "1"}
