"""The commands of ``gasang volume`` about volumes that are disks: snapshots, clones, another size."""

from __future__ import annotations

import sys
from typing import Any, Final

from gasang.api.client import Client, path_of
from gasang.cli.containers.family import Command, Commands
from gasang.cli.containers.shown import ago
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, value
from gasang.cli.output import Column, render
from gasang.cli.standard import FORMAT
from gasang.core.errors import UsageError
from gasang.core.units import format_size, parse_size

VOLUME: Final = Argument("VOLUME", "one that is a disk, by name", completes="volumes")
CREATE = value("create", "NAME", "keep the present state as NAME", plain_text)
APPLY = value("apply", "NAME", "have the volume be what it was at NAME; what was written since is gone", plain_text)
DELETE = value("delete", "NAME", "forget NAME", plain_text)
SNAPSHOT = value("snapshot", "NAME", "as it was at this snapshot", plain_text)
COLUMNS: Final = (Column("name", "NAME"), Column("created", "CREATED", ago), Column("size", "DISK", format_size))


def _path(volume: str, *more: str) -> str:
    return path_of("gasang", "volumes", volume, *more)


def _snapshot(parsed: Parsed, client: Client) -> int:
    volume = parsed.arguments[0]
    wanted = [(option, name) for option in (CREATE, APPLY, DELETE) if (name := parsed.get(option))]
    if len(wanted) > 1:
        raise UsageError("gasang volume snapshot", "it does one thing at a time", "give one of --create, --apply and --delete")
    for option, name in wanted:
        if option is CREATE:
            client.call("POST", _path(volume, "snapshots"), {"name": name})
        elif option is APPLY:
            client.call("POST", _path(volume, "apply"), {"name": name})
        else:
            client.call("DELETE", _path(volume, "snapshots", name))
        return 0
    found = client.call("GET", _path(volume, "snapshots"))
    rows = [{"name": entry["Name"], "created": entry["Created"], "size": entry["Size"]} for entry in found]
    print(render(parsed.get(FORMAT), COLUMNS, rows), end="")
    return 0


def _clone(parsed: Parsed, client: Client) -> int:
    volume, new = parsed.arguments
    query = {"name": new, "snapshot": parsed.get(SNAPSHOT) or ""}
    print(client.call("POST", _path(volume, "clone"), query)["Name"])
    return 0


def _resize(parsed: Parsed, client: Client) -> int:
    volume, text = parsed.arguments
    size = parse_size(text.removeprefix("+"), "SIZE")
    if text.startswith("+"):
        found: Any = client.call("GET", path_of("volumes", volume))
        size += int((found.get("Status") or {}).get("Size", 0))
    told = client.call("POST", _path(volume, "resize"), {"size": size})
    print(format_size(told["Size"]))
    if told.get("Grown"):
        print(f"gasang: its file system has not grown ({told['Grown']}): run resize2fs in the guest", file=sys.stderr)
    return 0


COMMANDS: Final[Commands] = {
    "snapshot": Command(
        Syntax(
            "List the snapshots of a volume that is a disk, or make, apply or delete one.",
            options=(CREATE, APPLY, DELETE, FORMAT),
            arguments=(VOLUME,),
            examples=(
                Example("gasang volume snapshot data", "list them"),
                Example("gasang volume snapshot --create before data", "keep the present state; a machine that has it goes on"),
            ),
            notes="""
A snapshot costs milliseconds, whatever the volume's size, and room only for what is written after it. One that is called NAME@ID belongs
to the snapshot NAME of a machine, and goes with that; before-restore-TIME is what the volume had when its machine was restored.""",
        ),
        _snapshot,
    ),
    "clone": Command(
        Syntax(
            "Make a volume that begins as another one is.",
            options=(SNAPSHOT,),
            arguments=(VOLUME, Argument("NEW", "the new volume's name")),
            examples=(
                Example("gasang volume clone data copy", "each goes its own way"),
                Example("gasang volume clone --snapshot before data copy", "as it was then"),
            ),
            notes="It shares with the other what neither has changed since, and stays when that one is removed.",
        ),
        _clone,
    ),
    "resize": Command(
        Syntax(
            "Give a volume that is a disk more room.",
            arguments=(VOLUME, Argument("SIZE", "the new size, or what to add, such as +5G")),
            examples=(Example("gasang volume resize data 40G", "with its file system, where a machine that runs has it"),),
            notes="A volume that no machine has grows too; its file system fills it after resize2fs in a guest, or a resize there.",
        ),
        _resize,
    ),
}
