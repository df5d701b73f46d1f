"""``--filter NAME=VALUE`` of lists, as the API takes it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from gasang.cli.options import plain_text, values
from gasang.core.errors import UsageError


def _filter(text: str, subject: str) -> tuple[str, str]:
    name, equals, wanted = plain_text(text, subject).partition("=")
    if not (name and equals):
        raise UsageError(f"{subject} {text!r}", "it is not NAME=VALUE", f"write it as in {subject} status=running")
    return name, wanted


FILTER = values("filter", "NAME=VALUE", "only those that fit; several values of one NAME are alternatives", _filter)


def query_of(filters: Iterable[tuple[str, str]]) -> str | None:
    """The parameter ``filters``, None where there are none."""
    found: dict[str, list[str]] = {}
    for name, wanted in filters:
        found.setdefault(name, []).append(wanted)
    return json.dumps(found) if found else None
