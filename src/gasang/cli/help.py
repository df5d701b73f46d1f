"""The help page of a verb, from its Syntax."""

from __future__ import annotations

from collections.abc import Iterable

from gasang.cli.options import Argument, Option, Syntax
from gasang.cli.standard import STANDARD

WIDTH = 100


def usage(verb: str, syntax: Syntax) -> str:
    """The usage line."""
    words = ["gasang", verb]
    if syntax.commands:
        return " ".join([*words, "COMMAND …"])
    if syntax.options:
        words.append("[options]")
    words += [_written(argument) for argument in syntax.arguments]
    if syntax.command:
        words.append("[--] [command…]" if not syntax.arguments else "[[--] command…]")
    return " ".join(words)


def _written(argument: Argument) -> str:
    name = f"{argument.name}…" if argument.repeated else argument.name
    return name if argument.required else f"[{name}]"


def _label(option: Option[object]) -> str:
    head = f"-{option.short}, {option.flag}" if option.short else f"    {option.flag}"
    return f"{head} {option.placeholder}" if option.takes_value else head


def two_columns(rows: Iterable[tuple[str, str]], width: int = WIDTH) -> list[str]:
    """Labels with their texts wrapped beside them; a long label stands on a line of its own."""
    from textwrap import wrap

    pairs = list(rows)
    column = min(max((len(label) for label, _ in pairs), default=0), 28)
    lines: list[str] = []
    for label, text in pairs:
        wrapped = wrap(text, width - column - 4) or [""]
        if len(label) > column:
            lines.append(f"  {label}")
            label, wrapped = "", wrapped
        lines.append(f"  {label:<{column}}  {wrapped[0]}".rstrip())
        lines += [f"  {'':<{column}}  {line}" for line in wrapped[1:]]
    return lines


def _by_heading(syntax: Syntax) -> Iterable[tuple[str, list[Option[object]]]]:
    """The options by their titles; those under no title of their own first, those that every verb has last."""
    titled = {option.name for _, options in syntax.headings for option in options}
    standard = {option.name for option in STANDARD} if syntax.headings else set()
    first = [option for option in syntax.options if option.name not in titled | standard]
    if first:
        yield "Options", first
    for title, options in syntax.headings:
        yield title, list(options)
    if standard:
        yield "Every verb's", [option for option in syntax.options if option.name in standard]


def page(verb: str, syntax: Syntax) -> str:
    """The whole page, ending in a newline."""
    from textwrap import wrap

    lines = [f"Usage: {usage(verb, syntax)}", "", *wrap(syntax.summary, WIDTH)]
    if syntax.notes:
        lines += ["", *wrap(" ".join(syntax.notes.split()), WIDTH)]
    if syntax.commands:
        lines += ["", "Commands:", *two_columns(syntax.commands)]
    arguments = [(_written(argument), argument.help) for argument in syntax.arguments]
    if syntax.command and not syntax.commands:
        arguments.append(("command…", syntax.command))
    if arguments:
        lines += ["", "Arguments:", *two_columns(arguments)]
    for title, options in _by_heading(syntax):
        lines += ["", f"{title}:", *two_columns((_label(option), option.help) for option in options)]
    if syntax.examples:
        lines += ["", "Examples:"]
        for example in syntax.examples:
            lines += [f"  # {example.meaning}", f"  {example.command}"]
    return "\n".join(lines) + "\n"
