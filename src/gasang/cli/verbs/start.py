"""``gasang start``: start machines that were made or have ended."""

from __future__ import annotations

from gasang.api.client import path_of
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINES, for_each
from gasang.cli.containers.options import DETACH_KEYS, SIG_PROXY
from gasang.cli.options import Example, Parsed, Syntax, switch
from gasang.cli.settings import Context
from gasang.core.errors import UsageError

ATTACH = switch("attach", "show its output and pass on its exit code", short="a")
INTERACTIVE = switch("interactive", "the same, and pass standard input on to it", short="i")

SYNTAX = Syntax(
    "Start machines that were made or have ended.",
    options=(ATTACH, INTERACTIVE, DETACH_KEYS, SIG_PROXY),
    arguments=(MACHINES,),
    examples=(
        Example("gasang start web", "start it in the background"),
        Example("gasang start -i shell", "start it and sit down at it"),
    ),
)


def run(parsed: Parsed, context: Context) -> int:
    """Start each, or one in the foreground. Raises GasangError."""
    client = connect(context)
    if not (parsed.get(ATTACH) or parsed.get(INTERACTIVE)):
        return for_each(parsed.arguments, lambda name: client.call("POST", path_of("containers", name, "start")))
    if len(parsed.arguments) > 1:
        raise UsageError("gasang start", "only one machine can be attached to", "name one, or leave -a and -i out")
    from gasang.cli.containers.attached import console_for
    from gasang.cli.containers.document import Ends
    from gasang.cli.containers.foreground import Machine, inspected

    name = parsed.arguments[0]
    found = inspected(client, name)
    tty, stdin = found["Config"]["Tty"], parsed.get(INTERACTIVE) and found["Config"]["OpenStdin"]
    keys = parsed.get(DETACH_KEYS)
    console = console_for(interactive=stdin, tty=tty, keys=keys)
    machine = Machine(client, name, tty=tty, removed=found["HostConfig"]["AutoRemove"], keys=keys)
    return machine.run(console, Ends(stdin, True, True), start=True, pass_signals=parsed.get(SIG_PROXY))
