"""Whole documents of the daemon: as JSON, or field by field with a template such as ``{State.Status}``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from gasang.cli.output import Column, Row, render


def flat(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field under its dotted name, objects as well as what is in them."""
    for name, found in document.items():
        yield f"{prefix}{name}", found
        if isinstance(found, dict):
            yield from flat(found, f"{prefix}{name}.")


def show(form: str | None, documents: Sequence[dict[str, Any]]) -> str:
    """Documents as an array, an object a line, their names, or through a template. Raises UsageError for a field that none has."""
    if form in (None, "json", "table"):
        return json.dumps(list(documents), indent=2, ensure_ascii=False) + "\n"
    if form == "jsonl":
        return "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)
    rows: list[Row] = [{"name": _name(document), **dict(flat(document))} for document in documents]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return render(form, [Column(key, "") for key in keys], [{**dict.fromkeys(keys, ""), **row} for row in rows])


def _name(document: dict[str, Any]) -> str:
    names = document.get("RepoTags")
    return str(names[0] if names else document.get("Name") or document.get("Id", "")).removeprefix("/")
