"""The commands of ``gasang volume``."""

from __future__ import annotations

from typing import Final

from gasang.api.client import Client, path_of
from gasang.cli.containers import values as convert
from gasang.cli.containers.disk_volumes import COMMANDS as DISKS
from gasang.cli.containers.documents import show
from gasang.cli.containers.each import for_each
from gasang.cli.containers.family import Command, Commands
from gasang.cli.containers.filters import FILTER, query_of
from gasang.cli.containers.pruning import command
from gasang.cli.containers.shown import ago
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, switch, value, values
from gasang.cli.output import Column, render
from gasang.cli.standard import FORMAT
from gasang.core.config import one_of
from gasang.core.errors import UsageError
from gasang.core.units import format_size

VOLUMES: Final = Argument("VOLUME", "by name", repeated=True, completes="volumes")
LABELS = values("label", "NAME=VALUE", "a note on it", convert.pair)
DRIVER = value("driver", "DRIVER", "local (default): a folder; disk: a disk for virtual machines", plain_text, short="d")
OPTIONS = values("opt", "NAME=VALUE", "of the driver; of a disk: size, format", convert.pair, short="o")
SIZE = value("size", "SIZE", "make it a disk of that size, which takes no more room than what is written", plain_text)
FORM = value("format", "FORMAT", "how a disk is kept: qcow2 (default) or raw", one_of("qcow2", "raw"), choices=("qcow2", "raw"))
FORCE = switch("force", "no error where it is not there", short="f")
NAME = Argument("NAME", "what to call it; a number by default", required=False)
COLUMNS: Final = (
    Column("name", "NAME"), Column("driver", "DRIVER"), Column("created", "CREATED", ago), Column("folder", "FOLDER"),
    Column("size", "DISK", lambda size: format_size(size) if size else "-"), Column("labels", ""),
)  # fmt: skip


def _list(parsed: Parsed, client: Client) -> int:
    found = client.call("GET", "/volumes", {"filters": query_of(parsed.get(FILTER))})["Volumes"] or ()
    rows = [
        {
            "name": entry["Name"],
            "driver": entry["Driver"],
            "created": entry.get("CreatedAt", ""),
            "folder": entry["Mountpoint"],
            "size": (entry.get("Status") or {}).get("Size", 0),
            "labels": entry["Labels"] or {},
        }
        for entry in found
    ]
    print(render(parsed.get(FORMAT), COLUMNS, rows), end="")
    return 0


def _create(parsed: Parsed, client: Client) -> int:
    size, form = parsed.get(SIZE), parsed.get(FORM)
    if form and not size:
        raise UsageError("option --format", "only a disk has one", "say --size too")
    options = dict(parsed.get(OPTIONS))
    if size:
        options |= {"size": size, **({"format": form} if form else {})}
    body = {
        "Name": parsed.arguments[0] if parsed.arguments else "",
        "Driver": parsed.get(DRIVER) or ("disk" if size else "local"),
        "Labels": dict(parsed.get(LABELS)),
        "DriverOpts": options or None,
    }
    print(client.call("POST", "/volumes/create", body=body)["Name"])
    return 0


def _remove(parsed: Parsed, client: Client) -> int:
    query = {"force": int(parsed.get(FORCE))}
    return for_each(parsed.arguments, lambda name: client.call("DELETE", path_of("volumes", name), query))


def _inspect(parsed: Parsed, client: Client) -> int:
    print(show(parsed.get(FORMAT), [client.call("GET", path_of("volumes", name)) for name in parsed.arguments]), end="")
    return 0


COMMANDS: Final[Commands] = {
    "ls": Command(
        Syntax(
            "List volumes.", options=(FILTER, FORMAT), examples=(Example("gasang volume ls --filter dangling=true", "those nobody uses"),)
        ),
        _list,
    ),
    "create": Command(
        Syntax(
            "Make a volume: files that outlive machines, in a folder, or on a disk for virtual machines.",
            options=(SIZE, FORM, DRIVER, OPTIONS, LABELS),
            arguments=(NAME,),
            examples=(
                Example("gasang volume create data", "then: gasang run -v data:/data …"),
                Example("gasang volume create data --size 20G", "a disk, then: gasang run --vm -v data:/data …"),
            ),
        ),
        _create,
    ),
    "rm": Command(
        Syntax(
            "Remove volumes nobody uses.",
            options=(FORCE,),
            arguments=(VOLUMES,),
            examples=(Example("gasang volume rm data", "with its files"),),
        ),
        _remove,
    ),
    "prune": command("volume", Example("gasang volume prune -a", "those with a name as well")),
    "inspect": Command(
        Syntax(
            "Show all that is known of volumes.",
            options=(FORMAT,),
            arguments=(VOLUMES,),
            examples=(Example("gasang volume inspect data", "as JSON"),),
        ),
        _inspect,
    ),
    **DISKS,
}
