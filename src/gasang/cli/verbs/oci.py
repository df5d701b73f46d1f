"""``gasang oci``: OCI bundles, with the command line that containerd, Podman and CRI-O speak to their runtime.

The options before the command are those of other runtimes; what an option asks for and is not done here is refused or accepted as its
help says. With ``--log`` errors are also written to a file, one JSON object a line with ``--log-format json``.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Final

from gasang.cli.oci.command import path_of
from gasang.cli.options import HELP, Example, Parsed, Syntax, plain_text, switch, value
from gasang.cli.settings import Context
from gasang.core.errors import GasangError, UnsupportedError, UsageError

ROOT = value("root", "FOLDER", "where states are kept (default: /run/gasang/oci)", path_of, files=True)
LOG = value("log", "FILE", "write errors there too", path_of, files=True)
LOG_FORMAT = value("log-format", "FORMAT", "text or json", plain_text, choices=("text", "json"))
SYSTEMD_CGROUP = switch("systemd-cgroup", "refused: control groups are made without systemd")
ROOTLESS = value("rootless", "HOW", "accepted: who runs this decides", plain_text)
CRIU = value("criu", "PROGRAM", "accepted: there is no checkpointing", plain_text)
VERSION = switch("version", "print the version", short="v")

_COMMANDS: Final = {
    "create": "lifecycle", "start": "lifecycle", "run": "lifecycle", "state": "lifecycle", "kill": "lifecycle", "delete": "lifecycle",
    "list": "lifecycle", "exec": "inside", "ps": "inside", "pause": "inside", "resume": "inside", "update": "limits", "events": "limits",
    "features": "about", "spec": "about",
}  # fmt: skip
"""Command → the module of gasang.cli.oci that has it."""

SYNTAX = Syntax(
    "Run OCI bundles, with the command line of OCI runtimes.",
    options=(ROOT, LOG, LOG_FORMAT, SYSTEMD_CGROUP, ROOTLESS, CRIU, VERSION),
    command=f"one of {', '.join(_COMMANDS)}; gasang oci COMMAND --help tells more",
    examples=(
        Example("gasang oci spec", "write a config.json here"),
        Example("gasang oci run -b bundle web", "run a bundle in the foreground"),
        Example("gasang oci list", "list containers"),
    ),
)


def run(parsed: Parsed, context: Context) -> int:
    """Do the command; errors also go to the log."""
    if parsed.get(VERSION):
        return _version()
    try:
        return _command(parsed)
    except (GasangError, OSError) as error:
        _log(parsed, str(error))
        raise


def _version() -> int:
    from gasang import __version__
    from gasang.kinds.container.config.config import VERSION as SPECIFICATION

    print(f"gasang oci version {__version__}\nspec: {SPECIFICATION}")
    return 0


def _command(parsed: Parsed) -> int:
    from importlib import import_module

    from gasang.cli.help import page
    from gasang.cli.parse import nearest, parse

    if parsed.get(SYSTEMD_CGROUP):
        raise UnsupportedError("--systemd-cgroup", "control groups are made without systemd here", "have the engine use cgroupfs")
    if not parsed.command:
        raise UsageError("gasang oci", "the command is missing", "gasang oci --help lists them")
    name, *words = parsed.command
    if name not in _COMMANDS:
        guess = nearest(name, list(_COMMANDS))
        raise UsageError(f"command {name!r}", "there is no such command", f"did you mean {guess}?" if guess else "see gasang oci --help")
    command = import_module(f"gasang.cli.oci.{_COMMANDS[name]}").COMMANDS[name]
    syntax = command.syntax._replace(options=(*command.syntax.options, HELP))
    inner = parse(f"oci {name}", syntax, words)
    if inner.get(HELP):
        print(page(f"oci {name}", syntax), end="")
        return 0
    from gasang.kinds.container.bundle import DEFAULT_FOLDER, Bundles

    return int(command.run(inner, Bundles(parsed.get(ROOT) or DEFAULT_FOLDER)))


def _log(parsed: Parsed, message: str) -> None:
    path: Path | None = parsed.get(LOG)
    if path is None:
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if parsed.get(LOG_FORMAT) == "json":
        line = json.dumps({"level": "error", "msg": message, "time": now})
    else:
        line = f'time="{now}" level=error msg={json.dumps(message)}'
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError:
        return  # the error itself is what the caller must hear of
