"""What ``docker logs --details`` shows before each line: the labels, variables and tag that --log-opt names. Pure.

They belong to the container and not to the line, so they are not written to the log but put in when it is shown.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote_plus

from gasang.core.errors import UsageError
from gasang.daemon.containers.record import Container

MOST: Final = 64 << 10
"""Bytes of details that can be shown before a line."""
_FIELD: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


def details(container: Container) -> bytes:
    """The bytes before each line: `name=value` in order of names with commas, escaped as in a query, and a space.

    Raises UsageError for an option that cannot be understood.
    """
    options = container.host["LogConfig"]["Config"]
    variables = dict(entry.partition("=")[::2] for entry in container.config["Env"] or [] if "=" in entry)
    found = {
        **_chosen(container.config["Labels"] or {}, options.get("labels", ""), options.get("labels-regex", "")),
        **_chosen(variables, options.get("env", ""), options.get("env-regex", "")),
    }
    if tag := log_tag(container, options.get("tag", "")):
        found["tag"] = tag
    made = ",".join(f"{_escaped(name)}={_escaped(found[name])}" for name in sorted(found)).encode() + b" "
    if len(made) > MOST:
        raise UsageError(f"details of {container.subject}", f"they are longer than {MOST} bytes", "show the log without --details")
    return made


def _chosen(values: dict[str, str], names: str, pattern: str) -> dict[str, str]:
    try:
        fits = re.compile(pattern) if pattern else None
    except re.error as error:
        raise UsageError(f"log option {pattern[:60]!r}", f"it is no regular expression ({error})", "correct it") from error
    listed = set(names.split(","))
    return {name: value for name, value in values.items() if name in listed or (fits is not None and fits.search(name))}


def log_tag(container: Container, template: str) -> str:
    """The log option `tag` with its fields filled in. Raises UsageError for a field that there is not."""
    image = container.image_id.removeprefix("sha256:")
    fields = {
        ".ID": container.short,
        ".FullID": container.id,
        ".Name": container.name,
        ".ImageID": image[:12],
        ".ImageFullID": container.image_id,
        ".ImageName": container.image,
        ".DaemonName": "gasang",
    }

    def filled(found: re.Match[str]) -> str:
        word = found[1].strip()
        if word not in fields:
            raise UsageError(f"log option tag={template[:60]!r}", f"{word[:40]!r} is no field of it", f"use {', '.join(fields)}")
        return fields[word]

    return _FIELD.sub(filled, template)


def _escaped(text: str) -> str:
    return quote_plus(text, safe="")
