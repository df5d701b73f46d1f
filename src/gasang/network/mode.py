"""What a machine's network is to be, as users write it: a network's name, `host`, `none`, `user`, or `container:ID`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gasang.core.errors import UsageError
from gasang.network.names import checked_name
from gasang.network.spec import BRIDGE

NETWORK: Final = "network"
HOST: Final = "host"
NONE: Final = "none"
MACHINE: Final = "container"
USER: Final = "user"
_USER: Final = {USER: False, f"{USER},host=deny": False, f"{USER},host=allow": True}
"""Ways to say USER → whether its gateway leads to the host's loopback."""
_DEFAULTS: Final = frozenset({"", "default", BRIDGE})


@dataclass(frozen=True, slots=True)
class Mode:
    """How a machine is joined: `kind` NETWORK (`subject` is its name or id), HOST, NONE, USER, or MACHINE (`subject` is the other machine).

    USER is a network of its own in user space; one that `reaches_host` leads to the host's loopback.
    """

    kind: str
    subject: str = ""
    reaches_host: bool = False

    @property
    def own_namespace(self) -> bool:
        """Whether the machine has a network namespace of its own."""
        return self.kind in (NETWORK, NONE, USER)


def mode_of(text: str) -> Mode:
    """The mode that `--network TEXT` means; nothing means the default network.

    Raises UsageError.
    """
    if text in _DEFAULTS:
        return Mode(NETWORK, BRIDGE)
    if text in (HOST, NONE):
        return Mode(text)
    if text in _USER:
        return Mode(USER, reaches_host=_USER[text])
    kind, colon, subject = text.partition(":")
    if not colon:
        return Mode(NETWORK, checked_name(text))
    if kind != MACHINE or not subject:
        raise UsageError(f"network {text!r}", "such a mode does not exist", "use a network's name, host, none, user, or container:ID")
    return Mode(MACHINE, subject)
