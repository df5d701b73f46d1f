"""``gasang info``: the daemon, what it keeps and what it runs on."""

from __future__ import annotations

from typing import Any, Final

from gasang.cli.containers.daemon import connect
from gasang.cli.containers.documents import show
from gasang.cli.options import Example, Parsed, Syntax
from gasang.cli.output import printable
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT
from gasang.core.units import format_size

SYNTAX = Syntax(
    "Show what the daemon keeps and what it runs on.",
    options=(FORMAT,),
    examples=(Example("gasang info", "the main things"), Example("gasang info --format '{CgroupVersion}'", "one field, as the API has it")),
    notes="Formats take the fields of the Docker Engine API.",
)
LINES: Final = (
    ("version", "{ServerVersion}"),
    ("containers", "{Containers} ({ContainersRunning} running, {ContainersPaused} paused, {ContainersStopped} ended)"),
    ("images", "{Images}"),
    ("state", "{DockerRootDir}"),
    ("layers", "{Driver}"),
    ("logs", "{LoggingDriver}"),
    ("control groups", "version {CgroupVersion}"),
    ("host", "{Name}: {OperatingSystem}, {Architecture}, kernel {KernelVersion}"),
    ("processors", "{NCPU}"),
    ("memory", "{MemTotal}"),
)
"""What a person sees: a title and its fields."""


def page(found: dict[str, Any]) -> str:
    """The lines for a person."""
    fields = {**found, "MemTotal": format_size(found["MemTotal"])}
    width = max(len(title) for title, _ in LINES)
    lines = [f"{title:<{width}}   {printable(template.format_map(fields))}" for title, template in LINES]
    return "\n".join([*lines, *(f"{'warning':<{width}}   {printable(str(text))}" for text in found.get("Warnings") or ())]) + "\n"


def run(parsed: Parsed, context: Context) -> int:
    """Print it. Raises GasangError."""
    found, form = connect(context).call("GET", "/info"), parsed.get(FORMAT)
    print(page(found) if form in (None, "table") else show(form, [found]), end="")
    return 0
