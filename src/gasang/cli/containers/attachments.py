"""Networks that a new machine joins: ``--network`` in both its forms, and what is asked of the first one by options of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from gasang.cli.options import plain_text
from gasang.core.errors import UsageError

_NAMES: Final = ("name", "alias", "ip", "ip6", "mac-address")
USER_WITH_HOST: Final = ("user,host=allow",)
USER: Final = ("user", "user,host=deny", *USER_WITH_HOST)
"""What a machine says for a network in user space; with the host, its gateway leads to the host's loopback."""


SWITCH: Final = "switch:"
"""What it says in front of the path of a switch in user space."""


class Attachment(NamedTuple):
    """A network and what is asked of it."""

    network: str
    aliases: tuple[str, ...] = ()
    ip: str = ""
    ip6: str = ""
    mac: str = ""

    def endpoint(self) -> dict[str, Any]:
        """An EndpointSettings of the Docker Engine API; empty where nothing is asked."""
        addresses = {name: text for name, text in (("IPv4Address", self.ip), ("IPv6Address", self.ip6)) if text}
        made: dict[str, Any] = {"IPAMConfig": addresses} if addresses else {}
        if self.aliases:
            made["Aliases"] = list(self.aliases)
        if self.mac:
            made["MacAddress"] = self.mac
        return made

    def with_more(self, more: Attachment) -> Attachment:
        """Both together; what `more` says wins."""
        return Attachment(self.network, (*self.aliases, *more.aliases), more.ip or self.ip, more.ip6 or self.ip6, more.mac or self.mac)


def attachment(text: str, subject: str) -> Attachment:
    """``NETWORK``, or ``name=NETWORK[,alias=NAME][,ip=IP][,ip6=IP][,mac-address=MAC]``; or ``user,host=allow``.

    Raises UsageError.
    """
    if text in USER or "=" not in plain_text(text, subject):
        return Attachment(text)
    found: dict[str, list[str]] = {}
    for part in text.split(","):
        name, _, word = part.partition("=")
        if name not in _NAMES or not word:
            raise UsageError(f"{subject} {part!r}", "a network takes no such word", f"write NAME=VALUE, of {', '.join(_NAMES)}")
        found.setdefault(name, []).append(word)
    if "name" not in found:
        raise UsageError(f"{subject} {text!r}", "it names no network", f"write it as in {subject} name=app,alias=db")
    last = {name: words[-1] for name, words in found.items()}
    return Attachment(last["name"], tuple(found.get("alias", ())), last.get("ip", ""), last.get("ip6", ""), last.get("mac-address", ""))


def switch_of(networks: Sequence[Attachment]) -> Attachment | None:
    """The place at a switch in user space, if it is that; the path is what the network is called. Raises UsageError."""
    found = next((one for one in networks if one.network.startswith(SWITCH)), None)
    if found is None:
        return None
    path = found.network.removeprefix(SWITCH)
    if len(networks) > 1 or found.aliases or not path:
        raise UsageError(
            f"network {found.network}", "a machine is at one switch alone, without aliases", f"write name={SWITCH}PATH,ip=10.9.0.2/24"
        )
    return found._replace(network=path)


def of_daemon(networks: Sequence[Attachment]) -> bool:
    """Whether they are networks of the daemon's, as ``gasang network ls`` shows them: a virtual machine on one is behind the daemon."""
    others = (*USER, "none", "host")
    return bool(networks) and not any(one.network in others or one.network.startswith((SWITCH, "container:")) for one in networks)


def user_network(networks: Sequence[Attachment]) -> str | None:
    """How a virtual machine without a daemon is joined to the outside: one of USER, "none", or None where nothing was said.

    Raises UsageError for all others.
    """
    if not networks:
        return None
    for one in networks:
        if one.network == "host" or one.network.startswith("container:"):
            raise UsageError(
                f"network {one.network}",
                "a virtual machine has a kernel and a network of its own, and shares no other's",
                f"use one of {', '.join(USER)}, none, or name one of gasang network ls",
            )
    if len(networks) > 1 or networks[0] != Attachment(networks[0].network) or networks[0].network not in (*USER, "none"):
        raise UsageError(
            f"network {networks[-1].network}",
            "a machine with a network in user space, or none, is in no other",
            f"use one of {', '.join(USER)}, none, or name only those of gasang network ls",
        )
    return networks[0].network


def joined(networks: Iterable[Attachment], more: Attachment) -> tuple[str | None, dict[str, dict[str, Any]]]:
    """HostConfig.NetworkMode (None: the default one) and EndpointsConfig. `more` is asked of the first network. Raises UsageError."""
    found = list(networks)
    if not found:
        if more != Attachment(""):
            raise UsageError("option --network", "an alias or an address belongs to a network of your own", "add --network NETWORK")
        return None, {}
    found[0] = found[0].with_more(more)
    names = [one.network for one in found]
    if len(set(names)) < len(names):
        raise UsageError(f"option --network {names[0]}", "it is named twice", "name each network once")
    asked = {one.network: one.endpoint() for one in found}
    return names[0], asked if len(found) > 1 or asked[names[0]] else {}
