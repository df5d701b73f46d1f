"""What a registry says in WWW-Authenticate (RFC 9110, 11.6.1; RFC 6750, 3): which scheme, with which parameters. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PARAMETER = re.compile(r'\s*([A-Za-z0-9_!#$%&\'*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)')
_SCHEME = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9-]*)(?=[\s,]|$)")
_LONGEST = 8192


@dataclass(frozen=True)
class Challenge:
    """A scheme, in small letters, and its parameters."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a header; what is not understood is left out."""
    found: list[Challenge] = []
    at, text = 0, header[:_LONGEST]
    while at < len(text):
        scheme = _SCHEME.match(text, at)
        if scheme is None:
            break
        at = scheme.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(text, at):
            quoted = parameter[2]
            parameters[parameter[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else parameter[3]
            at = parameter.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found
