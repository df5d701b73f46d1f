"""What a client asks: method, path, query, headers and a body that streams. Everything in it is hostile until read here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gasang.core.errors import UsageError

DOCUMENT_MAX = 4 << 20
"""Bytes of a JSON body; the largest the docker client sends (a create request) has a few KiB."""
_FALSE = frozenset({"", "0", "no", "false", "none"})


def document(text: str | bytes, subject: str) -> Any:
    """A client's JSON document (RFC 8259). Raises UsageError for anything else.

    That is also NaN, and halves of surrogate pairs, which Python's own reader lets through.
    """
    try:
        value = json.loads(text, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise UsageError(subject, "it is not valid JSON", "send a JSON document") from None
    return value


def _refuse(word: str) -> None:
    raise ValueError(word)


class Body(Protocol):
    """Where a request's body comes from."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they arrive; raises ConnectionError where the client breaks off."""
        ...


@dataclass
class Request:
    """One request. `arguments` are the parts of the path that the route names."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: Body
    version: tuple[int, int] | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """The last value of a query parameter."""
        values = self.query.get(name)
        return values[-1] if values else default

    def texts(self, name: str) -> tuple[str, ...]:
        """Every value of a query parameter."""
        return tuple(self.query.get(name, ()))

    def flag(self, name: str, default: bool = False) -> bool:
        """A query parameter as a truth value, by Docker's rule: empty, 0, no, false and none are false, all else is true."""
        values = self.query.get(name)
        return default if not values else values[-1].strip().lower() not in _FALSE

    def number(self, name: str, default: int | None = None) -> int | None:
        """A query parameter as a whole number, None where it is not there. Raises UsageError for anything else."""
        text = self.text(name)
        if not text:
            return default
        try:
            return int(text)
        except ValueError:
            raise UsageError(f"parameter {name}", f"{text[:40]!r} is not a whole number", "give a number") from None

    def document_of(self, name: str) -> Any:
        """A query parameter that holds JSON, None where it is not there. Raises UsageError where it is damaged."""
        text = self.text(name)
        if not text:
            return None
        return document(text, f"parameter {name}")

    async def content(self, limit: int = DOCUMENT_MAX) -> bytes:
        """The whole body. Raises UsageError where it is longer than `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        async for chunk in self.body.chunks():
            size += len(chunk)
            if size > limit:
                raise UsageError("request", f"its body is longer than {limit} bytes", "send less")
            parts.append(chunk)
        return b"".join(parts)

    async def json(self) -> dict[str, Any]:
        """The body as a JSON object; an empty body is an empty object. Raises UsageError where it is anything else."""
        raw = await self.content()
        if not raw.strip():
            return {}
        value = document(raw, "request body")
        if not isinstance(value, dict):
            raise UsageError("request", "its body is not a JSON object", "send a JSON object")
        return value
