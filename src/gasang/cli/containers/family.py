"""A verb with commands of its own, such as ``gasang network create``: one table of them, each with its Syntax."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gasang.api.client import Client
from gasang.cli.options import HELP, Parsed, Syntax
from gasang.cli.settings import Context
from gasang.core.errors import UsageError


class Command(NamedTuple):
    """A command: what it accepts, and what does it. `run` returns the exit code."""

    syntax: Syntax
    run: Callable[[Parsed, Client], int]


def dispatch(parsed: Parsed, context: Context, commands: Mapping[str, Command]) -> int:
    """Run the command that the words of `parsed` name, or show its help. Raises UsageError for none or an unknown one, GasangError."""
    from gasang.cli.containers.daemon import connect
    from gasang.cli.help import page
    from gasang.cli.parse import nearest, parse

    if not parsed.command:
        raise UsageError(f"gasang {parsed.verb}", "the command is missing", f"use one of {', '.join(commands)}")
    name, *words = parsed.command
    if name not in commands:
        guess = nearest(name, list(commands))
        hint = f"did you mean {guess}?" if guess else f"use one of {', '.join(commands)}"
        raise UsageError(f"command {name!r}", "there is no such command", hint)
    command, verb = commands[name], f"{parsed.verb} {name}"
    syntax = command.syntax._replace(options=(*command.syntax.options, HELP))
    inner = parse(verb, syntax, words)
    if inner.get(HELP):
        print(page(verb, syntax), end="")
        return 0
    return command.run(inner, connect(context))
