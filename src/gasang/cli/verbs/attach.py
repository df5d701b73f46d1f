"""``gasang attach``: sit down at a machine that runs."""

from __future__ import annotations

from gasang.cli.containers.attached import console_for
from gasang.cli.containers.daemon import connect
from gasang.cli.containers.document import Ends
from gasang.cli.containers.each import MACHINE
from gasang.cli.containers.foreground import Machine, inspected
from gasang.cli.containers.options import DETACH_KEYS, SIG_PROXY
from gasang.cli.options import Example, Parsed, Syntax, switch
from gasang.cli.settings import Context
from gasang.core.errors import StateError

NO_STDIN = switch("no-stdin", "only look; pass nothing on")
LOGS = switch("logs", "first what it has said so far")

SYNTAX = Syntax(
    "Show what a machine says from now on, and pass on what is typed.",
    options=(NO_STDIN, LOGS, DETACH_KEYS, SIG_PROXY),
    arguments=(MACHINE,),
    examples=(Example("gasang attach shell", "sit down at it; Ctrl-] leaves it running"),),
    notes="""
On a terminal of its own every key goes to it, but Ctrl-] and Ctrl-p Ctrl-q, which leave it running. Otherwise the first Ctrl-C says
so and the second one stops it. The exit code is the machine's, if it ends meanwhile.""",
)


def run(parsed: Parsed, context: Context) -> int:
    """Attach until it ends or the person leaves. Raises GasangError, StateError where it does not run."""
    client, name = connect(context), parsed.arguments[0]
    found = inspected(client, name)
    if not found["State"]["Running"] or found["State"]["Paused"]:
        hint = "gasang unpause lets it go on" if found["State"]["Paused"] else "gasang start -i starts it and sits down at it"
        raise StateError(f"machine {name}", f"it is {found['State']['Status']}", hint)
    tty = found["Config"]["Tty"]
    stdin = found["Config"]["OpenStdin"] and not parsed.get(NO_STDIN)
    keys = parsed.get(DETACH_KEYS)
    machine = Machine(client, name, tty=tty, removed=found["HostConfig"]["AutoRemove"], keys=keys)
    console, ends = console_for(interactive=stdin, tty=tty, keys=keys), Ends(stdin, True, True)
    return machine.run(console, ends, start=False, logs=parsed.get(LOGS), pass_signals=parsed.get(SIG_PROXY))
