"""``gasang logout``: forget who we are to a registry."""

from __future__ import annotations

import sys

from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.settings import Context

SYNTAX = Syntax(
    "Forget the name and password of a registry.",
    arguments=(Argument("REGISTRY", "such as localhost:5000 (default: Docker Hub)", required=False),),
    examples=(Example("gasang logout registry.example.org", "undo gasang login"),),
)


def run(parsed: Parsed, context: Context) -> int:
    """Forget it; no daemon is needed. Raises GasangError, OSError."""
    from gasang.cli.containers.logins import forget

    registry = parsed.arguments[0] if parsed.arguments else "docker.io"
    said = "logged out of" if forget(registry) else "nobody was logged in to"
    print(f"gasang: {said} {registry}", file=sys.stderr)
    return 0
