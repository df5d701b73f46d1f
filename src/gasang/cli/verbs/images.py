"""``gasang images``: the images that are here."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from gasang.cli.containers.filters import FILTER, query_of
from gasang.cli.containers.kinds import CONTAINER, VM
from gasang.cli.containers.shown import short_id, stamp
from gasang.cli.options import Example, Parsed, Syntax, switch
from gasang.cli.output import Column, Row, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT
from gasang.core.paths import data_folder
from gasang.core.units import format_size

QUIET = switch("quiet", "ids alone", short="q")

SYNTAX = Syntax(
    "List the images that are here.",
    options=(VM, CONTAINER, QUIET, FILTER, FORMAT),
    examples=(
        Example("gasang images", "the images as a table"),
        Example("gasang images --container", "those of containers alone"),
        Example("gasang images --format name", "one reference a line"),
        Example("gasang images --filter dangling=true -q", "ids of container images without a name"),
        Example("gasang images --format json", "the same for a program"),
    ),
    notes="""Images of containers are the daemon's: it is started for them if it has any. Filters are those of the Docker Engine API
(dangling, label, reference, before, since, until), for containers' images alone.""",
)

COLUMNS = (
    Column("reference", "IMAGE"),
    Column("kind", "KIND"),
    Column("digest", "ID", short_id),
    Column("architecture", "ARCHITECTURE"),
    Column("packages", "PACKAGES", lambda count: str(count or "")),
    Column("created", "CREATED"),
    Column("size", "SIZE", format_size),
)


def _count(items: object) -> int:
    return len(items) if isinstance(items, list) else 0


def _of_machines() -> list[Row]:
    """Images of virtual machines."""
    from gasang.images.store import Store

    return [
        {
            "reference": image.reference,
            "kind": "vm",
            "digest": image.digest,
            "architecture": str(image.config.get("architecture", "")),
            "packages": _count(image.config.get("packages")),
            "created": image.created,
            "size": image.size,
        }
        for image in Store(data_folder(os.environ) / "images").images()
    ]


def _imported() -> list[Row]:
    """Disks that were imported, by name; whether one boots, and with what, is looked at when it is run."""
    from gasang.storage.shelf import user_shelf

    kept = user_shelf()
    rows: list[Row] = []
    for name in kept.names():
        folder = kept.folder(name)
        files = list(folder.iterdir())
        row: dict[str, Any] = {"reference": name, "kind": "disk", "digest": "", "architecture": "", "packages": None, "size": 0}
        row["created"] = datetime.fromtimestamp(folder.stat().st_mtime, UTC).isoformat(timespec="seconds")
        rows.append({**row, "size": sum(file.stat().st_blocks * 512 for file in files)})
    return rows


def _of_containers(context: Context, filters: str | None) -> list[Row]:
    """Images of containers; none where no daemon runs and none has kept any."""
    from gasang.api.client import path_of
    from gasang.cli.containers.daemon import connect
    from gasang.daemon.folders import Folders

    client, kept = connect(context), Folders.of(os.environ).database.exists()
    if not client.running() and not (kept and context.config.value("autostart")):
        return []
    found: list[Row] = []
    for image in client.call("GET", "/images/json", {"filters": filters}):
        platform = client.call("GET", path_of("images", image["Id"], "json"))["Architecture"]
        found += [_row(image, name, platform) for name in image["RepoTags"] or [image["Id"]]]
    return found


def _row(image: dict[str, Any], name: str, architecture: str) -> Row:
    return {
        "reference": name,
        "kind": "container",
        "digest": image["Id"],
        "architecture": architecture,
        "packages": None,
        "created": stamp(image["Created"]),
        "size": image["Size"],
    }


def run(parsed: Parsed, context: Context) -> int:
    """Print the list. Raises GasangError."""
    filters = query_of(parsed.get(FILTER))
    both = parsed.get(VM) == parsed.get(CONTAINER)
    rows = [*_of_machines(), *_imported()] if (both or parsed.get(VM)) and not filters else []
    rows += _of_containers(context, filters) if both or parsed.get(CONTAINER) else []
    print(render("{digest}" if parsed.get(QUIET) else parsed.get(FORMAT), COLUMNS, rows), end="")
    return 0
