"""A container made from a command line, its image pulled first where it is missing."""

from __future__ import annotations

import sys
from typing import Any

from gasang.api.client import Client
from gasang.cli.containers.foreground import terminal_size
from gasang.cli.containers.options import NAME, PLATFORM, PULL, document
from gasang.cli.containers.transfers import pull
from gasang.cli.options import Parsed
from gasang.cli.settings import Context
from gasang.core.errors import NotFoundError


def create(client: Client, parsed: Parsed, context: Context, *, attached: bool) -> str:
    """The id of a new container; warnings go to standard error. Raises GasangError."""
    image = parsed.arguments[0]
    platform, when = parsed.get(PLATFORM), parsed.get(PULL)
    body = document(parsed, image, attached=attached, size=terminal_size())
    query = {"name": parsed.get(NAME), "platform": platform}
    if when == "always":
        pull(client, image, platform, context)
    try:
        made = client.call("POST", "/containers/create", query, body)
    except NotFoundError as error:
        if when == "never" or not error.subject.startswith("No such image"):
            raise
        pull(client, image, platform, context)
        made = client.call("POST", "/containers/create", query, body)
    return _id(made)


def _id(made: Any) -> str:
    for warning in made.get("Warnings") or ():
        print(f"gasang: {warning}", file=sys.stderr)
    return str(made["Id"])
