"""The packets of a machine's control socket: one JSON document each, over SOCK_SEQPACKET. Pure.

A request is {"do": VERB, …words}; an answer {"done": VALUE}, or {"failed": CLASS, "subject": …, "cause": …, "hint": …}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from gasang.core import errors
from gasang.core.errors import BadInputError, GasangError, UsageError

NAME: Final = "machine"
"""The socket in a machine's folder."""
MOST: Final = 1 << 16
"""Bytes of a packet."""
_CLASSES: Final[dict[str, type[GasangError]]] = {
    kind.__name__: kind
    for kind in (
        GasangError,
        errors.UsageError,
        errors.NotFoundError,
        errors.StateError,
        errors.PermissionDeniedError,
        errors.UnsupportedError,
        errors.OutOfSpaceError,
        errors.TimedOutError,
        errors.BadInputError,
    )
}


def request(verb: str, words: Mapping[str, Any]) -> bytes:
    """A request's packet."""
    return json.dumps({"do": verb, **words}).encode()


def read_request(packet: bytes) -> tuple[str, dict[str, Any]]:
    """The verb and its words. Raises UsageError for what is no request."""
    found = _object(packet)
    verb = found.pop("do", None) if found is not None else None
    if found is None or not isinstance(verb, str):
        raise UsageError("request to a machine", "it is no JSON object that says what to do", 'send {"do": "status"}')
    return verb, found


def answer(value: object) -> bytes:
    """The packet of what was done."""
    return json.dumps({"done": value}).encode()


def refusal(error: GasangError) -> bytes:
    """The packet of an error; its class is the nearest that the other side knows."""
    name = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _CLASSES)
    texts = {"subject": error.subject, "cause": error.cause, "hint": error.hint}
    return json.dumps({"failed": name, **{field: text[:2000] for field, text in texts.items()}}).encode()


def read_answer(packet: bytes, subject: str) -> Any:
    """What was done. Raises the error that was told, BadInputError for what is no answer."""
    found = _object(packet)
    if found is None or not ({"done", "failed"} & found.keys()):
        raise BadInputError(subject, "its answer is damaged", "look at its log")
    if "failed" in found:
        kind = _CLASSES.get(str(found["failed"]), GasangError)
        raise kind(*(str(found.get(field, "")) for field in ("subject", "cause", "hint")))
    return found["done"]


def _object(packet: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(packet)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
