"""``gasang exec``: run a command inside a machine that runs."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

from gasang.api.client import Client, path_of
from gasang.api.execs import exit_code_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINE
from gasang.cli.containers.options import (
    DETACH,
    DETACH_KEYS,
    ENVIRONMENT,
    ENVIRONMENT_FILE,
    INTERACTIVE,
    TTY,
    USER,
    WORKDIR,
    environment_of,
)
from gasang.cli.options import Example, Parsed, Syntax, switch
from gasang.cli.settings import Context
from gasang.core.errors import UsageError

PRIVILEGED = switch("privileged", "with all capabilities")


def _always(names: Collection[str]) -> bool:
    return True


SYNTAX = Syntax(
    "Run a command inside a machine that runs.",
    options=(INTERACTIVE, TTY, DETACH, DETACH_KEYS, ENVIRONMENT, ENVIRONMENT_FILE, WORKDIR, USER, PRIVILEGED),
    arguments=(MACHINE,),
    command="what to run, with its words",
    examples=(
        Example("gasang exec -it web sh", "a shell beside what runs there"),
        Example("gasang exec -i db sh -c 'cat > /tmp/dump' < dump", "pass a file in"),
    ),
    notes="""
Options stand before MACHINE. The exit code is the command's; 126 and 127 if it cannot be executed or is not there. Ctrl-C without a
terminal, Ctrl-] and Ctrl-p Ctrl-q (or --detach-keys) leave the command running. In a virtual machine whose guest has no agent the command
is typed at its serial console, if a shell is there.""",
    closes=_always,
)


def run(parsed: Parsed, context: Context) -> int:
    """Run it; its exit code. Raises GasangError."""
    if not parsed.command:
        raise UsageError("gasang exec", "the command is missing", "see gasang exec --help")
    client, path = connect(context), path_of("containers", parsed.arguments[0], "exec")
    if parsed.get(DETACH):
        key = client.call("POST", path, body=_document(parsed, attached=False))["Id"]
        client.call("POST", path_of("exec", key, "start"), body={"Detach": True, "Tty": parsed.get(TTY)})
        return 0
    from gasang.cli.containers.attached import console_for

    console = console_for(interactive=parsed.get(INTERACTIVE), tty=parsed.get(TTY), keys=parsed.get(DETACH_KEYS))
    key = client.call("POST", path, body=_document(parsed, attached=True))["Id"]
    return _converse(client, key, parsed, console)


def _document(parsed: Parsed, *, attached: bool) -> dict[str, Any]:
    """The body of POST /containers/ID/exec."""
    return {
        "Cmd": list(parsed.command),
        "Tty": parsed.get(TTY),
        "AttachStdin": attached and parsed.get(INTERACTIVE),
        "AttachStdout": attached,
        "AttachStderr": attached,
        "Env": list(environment_of(parsed)),
        "WorkingDir": parsed.get(WORKDIR) or "",
        "User": parsed.get(USER) or "",
        "Privileged": parsed.get(PRIVILEGED),
        "DetachKeys": parsed.get(DETACH_KEYS) or "",
    }


def _converse(client: Client, key: str, parsed: Parsed, console: Any) -> int:
    from gasang.cli.containers.attached import converse, resizer
    from gasang.cli.containers.foreground import terminal_size

    tty, path = parsed.get(TTY), path_of("exec", key)
    size = terminal_size() if tty else None
    body = {"Detach": False, "Tty": tty, **({"ConsoleSize": list(size)} if size else {})}
    with console, client.upgrade(f"{path}/start", body=body) as stream:
        converse(stream, console, resizer(client, path) if tty else None)
        if console.left is not None:
            print("\r\ngasang: the command goes on inside", file=sys.stderr)
            return int(console.leave_code)
    return exit_code_of(client, key)
