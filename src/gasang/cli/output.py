"""Lists on standard output: ``--format table|json|jsonl|name|TEMPLATE``.

A verb describes its columns once and gives rows as plain values (text, numbers, booleans, None, lists of text). The table
shows them for people; json, jsonl and templates give the values as they are, under the columns' keys, for programs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from gasang.core.errors import UsageError

Row = Mapping[str, Any]


class Column(NamedTuple):
    """One column: its key in JSON and templates, its title in the table ("": not in the table), how a person sees a value."""

    key: str
    title: str
    show: Callable[[Any], str] = str


def printable(text: str) -> str:
    """`text` with control characters made visible: names from outside must not move the cursor."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    shown = [column for column in columns if column.title]
    grid = [[column.title for column in shown]]
    grid += [[printable(column.show(row[column.key])) for column in shown] for row in rows]
    widths = [max(len(line[index]) for line in grid) for index in range(len(shown))]
    lines = ("   ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in grid)
    return "".join(f"{line}\n" for line in lines)


def _values(columns: Sequence[Column], row: Row) -> dict[str, Any]:
    return {column.key: row[column.key] for column in columns}


def _json(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    import json

    return json.dumps([_values(columns, row) for row in rows], indent=2, ensure_ascii=False) + "\n"


def _jsonl(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    import json

    return "".join(json.dumps(_values(columns, row), ensure_ascii=False) + "\n" for row in rows)


def _names(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    return "".join(f"{printable(str(row[columns[0].key]))}\n" for row in rows)


_FORMATS: Final[dict[str, Callable[[Sequence[Column], Sequence[Row]], str]]] = {
    "table": _table,
    "json": _json,
    "jsonl": _jsonl,
    "name": _names,
}


def _templated(template: str, columns: Sequence[Column], rows: Sequence[Row]) -> str:
    r"""Each row through `template`, where ``{key}`` is a value, ``{{`` a brace, and ``\t`` and ``\n`` are what they say."""
    from string import Formatter

    text = template.replace("\\t", "\t").replace("\\n", "\n")
    keys = [column.key for column in columns]
    refusal = UsageError(f"--format {template!r}", "it is neither a format nor a template", f"use {', '.join(_FORMATS)} or {{{keys[0]}}}")
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise refusal from error
    if all(field is None for _, field, _, _ in parts):
        raise refusal
    for _, field, width, conversion in parts:
        if field is not None and (field not in keys or width or conversion):
            raise UsageError(f"--format {template!r}", f"there is no field {{{field}}}", f"the fields are {', '.join(keys)}")
    lines = ("".join(literal + ("" if key is None else printable(str(row[key]))) for literal, key, _, _ in parts) for row in rows)
    return "".join(f"{line}\n" for line in lines)


def render(form: str | None, columns: Sequence[Column], rows: Iterable[Row]) -> str:
    """`rows` as `form` asks (None: a table); raise UsageError if it is neither a format nor a template of these columns."""
    chosen = form or "table"
    if chosen in _FORMATS:
        return _FORMATS[chosen](columns, list(rows))
    return _templated(chosen, columns, list(rows))


def colours_wanted(environment: Mapping[str, str], is_terminal: bool) -> bool:
    """Whether colours may be written (NO_COLOR is set to anything but "": none; neither on a dumb terminal)."""
    return is_terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def terminal_colours(descriptor: int) -> bool:
    """Whether colours may be written to the open file `descriptor` of this process."""
    return colours_wanted(os.environ, os.isatty(descriptor))
