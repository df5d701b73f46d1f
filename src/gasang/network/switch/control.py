"""How a switch that is a process of its own is told what to do: packets of JSON over a unix socket, a descriptor beside some of them.

A request is {"do": VERB, …}, an answer {"done": VALUE} or {"failed": CLASS, "subject": …, "cause": …, "hint": …}.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from typing import Any, Final

from gasang.core import errors
from gasang.core.errors import BadInputError, GasangError, UsageError
from gasang.network.switch.ports import Allowed
from gasang.network.switch.vxlan import Vxlan

MOST: Final = 1 << 16
_KNOWN: Final[Mapping[str, type[GasangError]]] = {
    kind.__name__: kind for kind in (GasangError, errors.UsageError, errors.StateError, errors.OutOfSpaceError, errors.NotFoundError)
}
_BYTES: Final = ("mac", "ipv4", "ipv6")


def send(connection: socket.socket, document: Mapping[str, Any], descriptor: int = -1) -> None:
    """Raises OSError."""
    socket.send_fds(connection, [json.dumps(document).encode()], [descriptor] if descriptor >= 0 else [])


def receive(connection: socket.socket) -> tuple[dict[str, Any], int]:
    """A document and the descriptor that came with it, or -1; no document: the other end is gone. Raises OSError, BadInputError."""
    data, descriptors, _flags, _address = socket.recv_fds(connection, MOST, 1)
    descriptor = descriptors[0] if descriptors else -1
    try:
        found = json.loads(data) if data else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        if descriptor >= 0:
            os.close(descriptor)
        raise BadInputError("switch", "what it was told is no JSON object", "restart the daemon")
    return found, descriptor


def failure(error: GasangError) -> dict[str, str]:
    """The answer that an error is."""
    name = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _KNOWN)
    return {"failed": name, "subject": error.subject, "cause": error.cause, "hint": error.hint}


def done(answer: Mapping[str, Any]) -> Any:
    """What was done. Raises the error that an answer is."""
    if "failed" in answer:
        words = (str(answer.get(field, "")) for field in ("subject", "cause", "hint"))
        raise _KNOWN.get(str(answer["failed"]), GasangError)(*words)
    return answer.get("done")


def allowed_document(allowed: Allowed) -> dict[str, Any]:
    """What a port may do, as JSON has it."""
    found = {name: getattr(allowed, name) for name in Allowed.__dataclass_fields__}
    return {**found, "trunk": list(allowed.trunk), **{name: found[name].hex() for name in _BYTES}}


def allowed_of(document: object) -> Allowed:
    """The other way. Raises UsageError."""
    try:
        words = dict(document)  # type: ignore[call-overload]
        return Allowed(**{**words, "trunk": tuple(words["trunk"]), **{name: bytes.fromhex(words[name]) for name in _BYTES}})
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError("port of a switch", f"what it may do is not said rightly ({error})", "restart the daemon") from error


def vxlan_document(vxlan: Vxlan) -> dict[str, Any]:
    """A tunnel, as JSON has it."""
    return {"vni": vxlan.vni, "port": vxlan.port, "peers": [list(peer) for peer in vxlan.peers]}


def vxlan_of(document: object) -> Vxlan | None:
    """The other way; None for none. Raises UsageError."""
    if document is None:
        return None
    try:
        words = dict(document)  # type: ignore[call-overload]
        return Vxlan(int(words["vni"]), tuple((str(address), int(port)) for address, port in words["peers"]), int(words["port"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError("tunnel of a switch", f"it is not said rightly ({error})", "restart the daemon") from error
