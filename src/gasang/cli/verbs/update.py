"""``gasang update``: change the limits of machines, also while they run."""

from __future__ import annotations

import sys
from typing import Any

from gasang.api.client import Client, path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.document import fill, limits
from gasang.cli.containers.each import MACHINES, for_each
from gasang.cli.containers.options import CPUS, MEMORY, given
from gasang.cli.containers.places import CHANGEABLE, RESTART
from gasang.cli.options import Example, Parsed, Syntax
from gasang.cli.settings import Context
from gasang.core.errors import UsageError

PLACES = (RESTART, *CHANGEABLE)
OPTIONS = (CPUS, MEMORY, *(place.option for place in PLACES))
SYNTAX = Syntax(
    "Change the limits and the restart policy of machines, also while they run.",
    options=OPTIONS,
    arguments=(MACHINES,),
    examples=(
        Example("gasang update --memory 1G --cpus 2 web", "more of the host for it"),
        Example("gasang update --restart unless-stopped web db", "start them again with the host"),
    ),
)


def _change(client: Client, name: str, body: dict[str, Any]) -> None:
    for warning in client.call("POST", path_of("containers", name, "update"), body=body).get("Warnings") or ():
        print(f"gasang: {warning}", file=sys.stderr)


def run(parsed: Parsed, context: Context) -> int:
    """Change each. Raises UsageError where nothing is to be changed, GasangError."""
    if not given(parsed, OPTIONS):
        raise UsageError("gasang update", "there is nothing to change", "name a limit, such as --memory 1G")
    made: dict[str, Any] = {"HostConfig": {}}
    fill(made, parsed, PLACES)
    body, client = {**made["HostConfig"], **limits(parsed)}, connect(context)
    return for_each(parsed.arguments, lambda name: _change(client, name, body))
