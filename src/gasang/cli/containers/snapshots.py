"""The commands of ``gasang snapshot``."""

from __future__ import annotations

import sys
from typing import Final

from gasang.api.client import Client, path_of
from gasang.cli.containers.each import MACHINE, for_each
from gasang.cli.containers.family import Command, Commands
from gasang.cli.containers.shown import ago
from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.output import Column, render
from gasang.cli.standard import FORMAT
from gasang.core.units import format_size

NAME: Final = Argument("NAME", "of the snapshot")
NAMES: Final = Argument("NAME", "of the snapshot", repeated=True)
COLUMNS: Final = (
    Column("name", "NAME"),
    Column("created", "CREATED", lambda text: ago(text) if text else "damaged"),
    Column("size", "SIZE", format_size),
    Column("memory", "MEMORY", format_size),
    Column("digest", ""),
    Column("error", ""),
)


def _path(machine: str, *more: str) -> str:
    return path_of("gasang", "vms", machine, "snapshots", *more)


def _create(parsed: Parsed, client: Client) -> int:
    machine, name = parsed.arguments
    print(client.call("POST", _path(machine), {"name": name})["Name"])
    return 0


def _list(parsed: Parsed, client: Client) -> int:
    found = client.call("GET", _path(parsed.arguments[0]))
    rows = [{column.key: entry[column.key.capitalize()] for column in COLUMNS} for entry in found]
    print(render(parsed.get(FORMAT), COLUMNS, rows), end="")
    for row in rows:
        if row["error"] and parsed.get(FORMAT) in (None, "table"):
            print(f"gasang: {row['error']}", file=sys.stderr)
    return 0


def _remove(parsed: Parsed, client: Client) -> int:
    machine, *names = parsed.arguments
    return for_each(names, lambda name: client.call("DELETE", _path(machine, name)))


COMMANDS: Final[Commands] = {
    "create": Command(
        Syntax(
            "Keep the present state of a machine; it goes on.",
            arguments=(MACHINE, NAME),
            examples=(Example("gasang snapshot create web base", "as base"),),
            notes="""
It holds memory, disks, devices and disk volumes, all of one moment, and shares with the snapshot before what has not changed. A volume
keeps its part (gasang volume snapshot VOLUME lists it) until this snapshot is removed. Folders of the host are not in it.""",
        ),
        _create,
    ),
    "ls": Command(
        Syntax(
            "List the snapshots of a machine.",
            options=(FORMAT,),
            arguments=(MACHINE,),
            examples=(Example("gasang snapshot ls web", "with what each takes on the disk"),),
        ),
        _list,
    ),
    "rm": Command(
        Syntax(
            "Remove snapshots of a machine; what others share with them stays.",
            arguments=(MACHINE, NAMES),
            examples=(Example("gasang snapshot rm web base", "this one"),),
        ),
        _remove,
    ),
}
