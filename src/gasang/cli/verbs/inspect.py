"""``gasang inspect``: all that the daemon knows of something."""

from __future__ import annotations

from typing import Any, Final

from gasang.api.client import Client, path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.documents import show
from gasang.cli.options import Argument, Example, Parsed, Syntax, value
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT
from gasang.core.config import one_of
from gasang.core.errors import NotFoundError

PATHS: Final = {"machine": ("containers", "json"), "image": ("images", "json"), "network": ("networks",), "volume": ("volumes",)}
"""What there is, in the order in which a name is looked for → the parts of its path before and after the name."""
TYPE = value("type", "WHAT", f"only among these: {', '.join(PATHS)}", one_of(*PATHS), choices=tuple(PATHS))

SYNTAX = Syntax(
    "Show all that the daemon knows of machines, images, networks or volumes.",
    options=(TYPE, FORMAT),
    arguments=(Argument("NAME", "of what is to be shown, or its id", repeated=True, completes="machines"),),
    examples=(
        Example("gasang inspect web", "as a JSON array"),
        Example("gasang inspect --format '{State.Status}' web", "one field"),
    ),
    notes="The fields are those of the Docker Engine API.",
)


def find(client: Client, name: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    """The document of a name, of the first kind that has it. Raises NotFoundError."""
    for kind in kinds:
        before, *after = PATHS[kind]
        try:
            found: dict[str, Any] = client.call("GET", path_of(before, name, *after))
        except NotFoundError:
            continue
        return found
    raise NotFoundError(f"{' or '.join(kinds)} {name!r}", "there is none of this name", "gasang ps -a and gasang images list what there is")


def run(parsed: Parsed, context: Context) -> int:
    """Print the documents. Raises GasangError for the first that is not there."""
    client, kind = connect(context), parsed.get(TYPE)
    kinds = (kind,) if kind else tuple(PATHS)
    print(show(parsed.get(FORMAT), [find(client, name, kinds) for name in parsed.arguments]), end="")
    return 0
