"""A verb with commands of its own, such as ``gasang network create``: one table of them, each with its Syntax."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from gasang.cli.options import HELP, Example, Parsed, Syntax
from gasang.cli.settings import Context
from gasang.cli.standard import DEBUG, PROGRESS, with_standard_options
from gasang.cli.table import VERBS, module_of
from gasang.core.errors import UsageError

if TYPE_CHECKING:  # many commands have no daemon
    from gasang.api.client import Client


class Command(NamedTuple):
    """A command: what it accepts, and what does it. `run` returns the exit code."""

    syntax: Syntax
    run: Callable[[Parsed, Client], int]


class Local(NamedTuple):
    """A command that needs no daemon. `run` returns the exit code."""

    syntax: Syntax
    run: Callable[[Parsed, Context], int]


class Apart(NamedTuple):
    """A command in a module of its own, whose COMMANDS have it; it is imported when the command is used."""

    module: str
    summary: str


class Same(NamedTuple):
    """A command that is a verb as well: ``gasang container ls`` is ``gasang ps``. `words` are said before those of the command line."""

    verb: str
    words: tuple[str, ...] = ()


Commands = Mapping[str, Command | Local | Apart | Same]

Run = Callable[[Parsed, Context], int]


def family(verb: str, summary: str, commands: Commands, *examples: Example) -> tuple[Syntax, Run]:
    """What the verb of a family accepts, and what does it."""
    about = tuple((name, _summary(found)) for name, found in commands.items())
    notes = f"gasang {verb} COMMAND --help tells more of each."
    syntax = Syntax(summary, command="the words of the command", examples=examples, notes=notes, commands=about)
    return syntax, lambda parsed, context: dispatch(parsed, context, commands)


def _summary(command: Command | Local | Apart | Same) -> str:
    if isinstance(command, Same):
        return VERBS[command.verb]
    return command.summary if isinstance(command, Apart) else command.syntax.summary


def dispatch(parsed: Parsed, context: Context, commands: Commands) -> int:
    """Run the command that the words of `parsed` name, or show its help. Raises UsageError for none or an unknown one, GasangError."""
    from gasang.cli.parse import nearest, parse

    if not parsed.command:
        raise UsageError(f"gasang {parsed.verb}", "the command is missing", f"use one of {', '.join(commands)}")
    name, *words = parsed.command
    if name not in commands:
        guess = nearest(name, list(commands))
        hint = f"did you mean {guess}?" if guess else f"use one of {', '.join(commands)}"
        raise UsageError(f"command {name!r}", "there is no such command", hint)
    command, verb = commands[name], f"{parsed.verb} {name}"
    own, run = resolved(command, name)
    syntax = with_standard_options(own)
    inner = parse(verb, syntax, [*(command.words if isinstance(command, Same) else ()), *words])
    if inner.get(HELP):
        from gasang.cli.help import page

        print(page(verb, syntax), end="")
        return 0
    return run(inner, Context.of_process(inner) if inner.get(PROGRESS) or inner.get(DEBUG) else context)


def here(command: Command | Local | Apart | Same, name: str) -> Command | Local | Same:
    """The command `name` itself, whose module is imported if it is one apart."""
    if not isinstance(command, Apart):
        return command
    from importlib import import_module

    found: Command | Local = import_module(command.module).COMMANDS[name]
    return found


def resolved(command: Command | Local | Apart | Same, name: str) -> tuple[Syntax, Run]:
    """What the command `name` accepts and what does it; the module of a verb, or of one apart, is imported for that."""
    found = here(command, name)
    if isinstance(found, Local):
        return found
    if isinstance(found, Command):
        from gasang.cli.containers.daemon import connect

        return found.syntax, lambda parsed, context: found.run(parsed, connect(context))
    from importlib import import_module

    module = import_module(module_of(found.verb))
    return module.SYNTAX, module.run
