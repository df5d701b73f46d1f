"""The ``filters`` parameter: names, each with values of which one has to fit. Both forms that clients have sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gasang.api.http.request import Request
from gasang.core.errors import UsageError


class Filters:
    """The filters of a request."""

    def __init__(self, values: Mapping[str, Collection[str]]) -> None:
        self.values = values

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str) -> Collection[str]:
        """The values of a filter, none where it is not given."""
        return self.values.get(name, ())

    def flag(self, name: str, default: bool) -> bool:
        """A filter that is true or false. Raises UsageError for anything else."""
        if name not in self.values:
            return default
        found = {value.lower() for value in self.values[name]}
        if found <= {"1", "true", "t"}:
            return True
        if found <= {"0", "false", "f"}:
            return False
        raise UsageError(f"filter {name}", "it is neither true nor false", "give one of them")

    def labels(self, labels: Mapping[str, str] | None, name: str = "label") -> bool:
        """Whether `labels` have all that the filter names, as NAME or NAME=VALUE."""
        held = labels or {}
        for wanted in self.get(name):
            key, equals, value = wanted.partition("=")
            if key not in held or (equals and held[key] != value):
                return False
        return True


def filters_of(request: Request, allowed: Collection[str]) -> Filters:
    """The filters of a request. Raises UsageError for a name the list does not have, or a damaged document."""
    document: Any = request.document_of("filters")
    if document is None:
        return Filters({})
    if not isinstance(document, dict):
        raise UsageError("parameter filters", "it is not a JSON object", "send an object")
    values: dict[str, list[str]] = {}
    for name, given in document.items():
        if name not in allowed:
            raise UsageError("invalid filter", repr(name[:40]), f"use one of {', '.join(sorted(allowed))}")
        if isinstance(given, dict):  # since API 1.22: {"label": {"a=b": true}}
            values[name] = [key for key, wanted in given.items() if wanted]
        elif isinstance(given, list) and all(isinstance(entry, str) for entry in given):
            values[name] = given
        else:
            raise UsageError(f"filter {name}", "its values are neither a list of texts nor an object", "send a list")
    return Filters(values)


def ports_of(text: str) -> tuple[str, range]:
    """The protocol and numbers of "80", "80/udp" or "8000-8010/tcp". Raises UsageError."""
    numbers, _, protocol = text.partition("/")
    first, dash, last = numbers.partition("-")
    last = last if dash else first
    if not all(part.isascii() and part.isdecimal() and int(part[:6]) <= 65535 for part in (first, last)):
        raise UsageError(f"filter {text[:40]!r}", "it is no port", "write PORT[-PORT][/PROTOCOL]")
    return protocol or "tcp", range(int(first), int(last) + 1)
