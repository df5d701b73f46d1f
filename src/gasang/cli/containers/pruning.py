"""Putting away what nobody uses: one table of the kinds of things, and the question that comes before."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gasang.cli.containers.family import Command
from gasang.cli.containers.filters import FILTER, query_of
from gasang.cli.options import Example, Option, Parsed, Syntax, switch
from gasang.cli.output import Column, Row, render
from gasang.cli.standard import FORMAT
from gasang.core.errors import UsageError
from gasang.core.units import format_size

if TYPE_CHECKING:
    from gasang.api.client import Client

FORCE = switch("force", "without asking first", short="f")
COLUMNS: Final = (Column("name", "NAME"), Column("kind", "KIND"))
Filters = tuple[tuple[str, str], ...]


class Kind(NamedTuple):
    """A kind of things: what is put away, where to ask for it, the answer's list; and what --all stands for, where it is there."""

    what: str
    path: str
    field: str
    all_of_it: str = ""
    filters_of_all: Filters = ()


KINDS: Final = {
    "container": Kind("machines that have ended", "/containers/prune", "ContainersDeleted"),
    "network": Kind("networks nobody is in", "/networks/prune", "NetworksDeleted"),
    "volume": Kind(
        "anonymous volumes nobody uses", "/volumes/prune", "VolumesDeleted", "all volumes nobody uses, with their files", (("all", "true"),)
    ),
    "image": Kind(
        "images without a name that nobody uses", "/images/prune", "ImagesDeleted", "all images nobody uses", (("dangling", "false"),)
    ),
    "build": Kind("what builds have kept for the next one", "/build/prune", "CachesDeleted"),
}


def confirmed(verb: str, what: str, *, force: bool) -> bool:
    """Whether the person at the terminal says yes, or `force` does. Raises UsageError where nobody can be asked."""
    if force:
        return True
    if not (os.isatty(0) and os.isatty(2)):
        raise UsageError(f"gasang {verb}", "it asks before it removes, and nobody is at a terminal", "add --force")
    print(f"gasang: this removes {what}; go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def put_away(client: Client, kind: str, filters: Iterable[tuple[str, str]]) -> tuple[list[Row], int]:
    """What was removed of a kind, and the bytes that are free again. Raises GasangError."""
    found = client.call("POST", KINDS[kind].path, {"filters": query_of(filters)})
    names = [_name(entry) for entry in found.get(KINDS[kind].field) or ()]
    return [{"name": name, "kind": kind} for name in names], int(found.get("SpaceReclaimed") or 0)


def _name(entry: Any) -> str:
    return str(entry.get("Untagged") or entry.get("Deleted")) if isinstance(entry, dict) else str(entry)


def tell(form: str | None, rows: list[Row], freed: int) -> None:
    """Names on standard output, the bytes on standard error."""
    print(render(form or "name", COLUMNS, rows), end="", flush=True)
    print(f"gasang: {format_size(freed)} are free again", file=sys.stderr)


def command(kind: str, *examples: Example, also: Callable[[], None] = lambda: None) -> Command:
    """The command ``prune`` of one kind, which does something `also`, outside the daemon."""
    about = KINDS[kind]
    wide: Option[bool] | None = switch("all", about.all_of_it, short="a") if about.all_of_it else None

    def run(parsed: Parsed, client: Client) -> int:
        everything = wide is not None and parsed.get(wide)
        if not confirmed(parsed.verb, about.all_of_it if everything else about.what, force=parsed.get(FORCE)):
            return 0
        also()
        tell(parsed.get(FORMAT), *put_away(client, kind, (*parsed.get(FILTER), *(about.filters_of_all if everything else ()))))
        return 0

    options = (*((wide,) if wide else ()), FORCE, FILTER, FORMAT)
    notes = "It asks first; without a terminal it wants --force. --filter takes until=TIME and label=NAME=VALUE."
    return Command(Syntax(f"Remove {about.what}, and print their names.", options=options, examples=examples, notes=notes), run)
