"""``gasang images``: the images that are here."""

from __future__ import annotations

import os

from gasang.cli.options import Example, Parsed, Syntax
from gasang.cli.output import Column, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT
from gasang.core.paths import data_folder
from gasang.core.units import format_size

SYNTAX = Syntax(
    "List the images that are here.",
    options=(FORMAT,),
    examples=(
        Example("gasang images", "the images as a table"),
        Example("gasang images --format name", "one reference a line"),
        Example("gasang images --format json", "the same for a program"),
    ),
)

COLUMNS = (
    Column("reference", "IMAGE"),
    Column("digest", "ID", lambda digest: str(digest).removeprefix("sha256:")[:12]),
    Column("architecture", "ARCHITECTURE"),
    Column("packages", "PACKAGES"),
    Column("created", "CREATED"),
    Column("size", "SIZE", format_size),
)


def _count(items: object) -> int:
    return len(items) if isinstance(items, list) else 0


def run(parsed: Parsed, context: Context) -> int:
    """Print the list."""
    from gasang.images.store import Store

    rows = [
        {
            "reference": image.reference,
            "digest": image.digest,
            "architecture": str(image.config.get("architecture", "")),
            "packages": _count(image.config.get("packages")),
            "created": image.created,
            "size": image.size,
        }
        for image in Store(data_folder(os.environ) / "images").images()
    ]
    print(render(parsed.get(FORMAT), COLUMNS, rows), end="")
    return 0
