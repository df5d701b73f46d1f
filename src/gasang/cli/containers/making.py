"""A container made from a command line, its image pulled first where it is missing."""

from __future__ import annotations

import os
import sys
from typing import Any

from gasang.api.client import Client
from gasang.cli.containers.document import Ends, document
from gasang.cli.containers.foreground import terminal_size
from gasang.cli.containers.options import PLATFORM
from gasang.cli.containers.places import CIDFILE, NAME, PULL
from gasang.cli.containers.transfers import pull
from gasang.cli.options import Parsed
from gasang.cli.settings import Context
from gasang.core.errors import NotFoundError, StateError
from gasang.images.reference import parse_reference


def create(client: Client, parsed: Parsed, context: Context, ends: Ends) -> str:
    """The id of a new container; warnings go to standard error. Raises GasangError, OSError."""
    image, id_file = parsed.arguments[0], parsed.get(CIDFILE)
    if not is_id(image):
        parse_reference(image)  # what names nothing is told before a daemon is started for it
    if id_file and os.path.lexists(id_file):
        raise StateError(f"{CIDFILE.flag} {id_file}", "it is there already", "remove it, or name another file")
    platform, when = parsed.get(PLATFORM), parsed.get(PULL)
    body = document(parsed, image, ends, terminal_size())
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
    return _kept(made, id_file)


def is_id(text: str) -> bool:
    """Whether an image is named by its whole id."""
    return text.startswith("sha256:") or (len(text) == 64 and all(sign in "0123456789abcdef" for sign in text))


def _kept(made: Any, id_file: str | None) -> str:
    for warning in made.get("Warnings") or ():
        print(f"gasang: {warning}", file=sys.stderr)
    key = str(made["Id"])
    if id_file:
        with open(id_file, "x", encoding="ascii") as file:
            file.write(key)
    return key
