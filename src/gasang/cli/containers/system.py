"""The commands of ``gasang system``: what the engine's things take of the disk, and putting away all that nobody uses."""

from __future__ import annotations

from typing import Any, Final

from gasang.api.client import Client
from gasang.cli.containers.family import Command, Commands, Same
from gasang.cli.containers.filters import FILTER
from gasang.cli.containers.pruning import FORCE, KINDS, confirmed, put_away, tell
from gasang.cli.options import Example, Parsed, Syntax, switch
from gasang.cli.output import Column, Row, render
from gasang.cli.standard import FORMAT
from gasang.core.units import format_size

VERBOSE = switch("verbose", "each thing on a line of its own", short="v")
ALL = switch("all", KINDS["image"].all_of_it, short="a")
VOLUMES = switch("volumes", KINDS["volume"].what + " as well")
ALIVE: Final = ("running", "paused", "restarting")
"""States in which a machine cannot be put away."""
TOTALS: Final = (
    Column("kind", "KIND"), Column("count", "COUNT"), Column("used", "USED"), Column("size", "SIZE", format_size),
    Column("reclaimable", "RECLAIMABLE", format_size),
)  # fmt: skip
THINGS: Final = (Column("name", "NAME"), Column("kind", "KIND"), Column("users", "USERS"), Column("size", "SIZE", format_size))


def things(usage: dict[str, Any]) -> list[Row]:
    """Each image, machine and volume of GET /system/df: how many use it, and its bytes."""
    images = [
        {
            "name": next(iter(entry["RepoTags"] or ()), entry["Id"]),
            "kind": "image",
            "users": max(0, entry["Containers"]),
            "size": entry["Size"],
        }
        for entry in usage["Images"] or ()
    ]
    machines = [
        {"name": entry["Names"][0].removeprefix("/"), "kind": "container", "users": int(entry["State"] in ALIVE),
         "size": entry.get("SizeRw", 0)}
        for entry in usage["Containers"] or ()
    ]  # fmt: skip
    volumes = [
        {"name": entry["Name"], "kind": "volume", "users": entry["UsageData"]["RefCount"], "size": entry["UsageData"]["Size"]}
        for entry in usage["Volumes"] or ()
    ]
    return [*images, *machines, *volumes]


def totals(usage: dict[str, Any]) -> list[Row]:
    """The same by kind. What nobody uses can be had again; images share layers, so theirs is at most what all layers take."""
    found = things(usage)
    rows: list[Row] = []
    for kind in ("image", "container", "volume"):
        own = [thing for thing in found if thing["kind"] == kind]
        size = usage["LayersSize"] if kind == "image" else sum(thing["size"] for thing in own)
        free = sum(thing["size"] for thing in own if not thing["users"])
        used = sum(1 for thing in own if thing["users"])
        rows.append({"kind": kind, "count": len(own), "used": used, "size": size, "reclaimable": min(free, size)})
    cache, size = usage.get("BuildCache") or (), int(usage.get("BuilderSize") or 0)
    return [*rows, {"kind": "build", "count": len(cache), "used": 0, "size": size, "reclaimable": size}]


def _usage(parsed: Parsed, client: Client) -> int:
    usage = client.call("GET", "/system/df")
    columns, rows = (THINGS, things(usage)) if parsed.get(VERBOSE) else (TOTALS, totals(usage))
    print(render(parsed.get(FORMAT), columns, rows), end="")
    return 0


def _prune(parsed: Parsed, client: Client) -> int:
    everything = parsed.get(ALL)
    kinds = ["container", "network", *(["volume"] if parsed.get(VOLUMES) else []), "image", "build"]
    said = [KINDS[kind].all_of_it if kind == "image" and everything else KINDS[kind].what for kind in kinds]
    if not confirmed(parsed.verb, ", ".join(said), force=parsed.get(FORCE)):
        return 0
    rows: list[Row] = []
    freed = 0
    for kind in kinds:
        filters = KINDS[kind].filters_of_all if kind == "image" and everything else ()
        gone, size = put_away(client, kind, (*parsed.get(FILTER), *filters))
        rows += gone
        freed += size
    tell(parsed.get(FORMAT), rows, freed)
    return 0


COMMANDS: Final[Commands] = {
    "df": Command(
        Syntax(
            "Show what images, machines, volumes and builds take of the disk.",
            options=(VERBOSE, FORMAT),
            examples=(Example("gasang system df", "by kind"), Example("gasang system df -v --format json", "each thing, for a program")),
        ),
        _usage,
    ),
    "prune": Command(
        Syntax(
            "Remove machines that have ended, networks and images nobody uses, and what builds have kept; print their names.",
            options=(ALL, VOLUMES, FORCE, FILTER, FORMAT),
            examples=(
                Example("gasang system prune", "ask, then remove"),
                Example("gasang system prune -af --volumes", "everything unused, unasked"),
            ),
            notes="It asks first; without a terminal it wants --force. --filter takes until=TIME and label=NAME=VALUE.",
        ),
        _prune,
    ),
    "info": Same("info"),
    "events": Same("events"),
}
