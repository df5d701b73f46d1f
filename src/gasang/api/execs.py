"""The end of a command in a machine: its exit code may come a moment after its output has ended."""

from __future__ import annotations

import json

from gasang.api.client import Client, path_of


def exit_code_of(client: Client, key: str) -> int:
    """The exit code of an exec whose output has ended. Raises GasangError."""
    found = _ended(client, key)
    if found is not None:
        return found
    filters = json.dumps({"event": ["exec_die"]})
    with client.open("GET", "/events", {"filters": filters}) as events:
        found = _ended(client, key)
        for event in events.lines() if found is None else ():
            if event.get("Actor", {}).get("Attributes", {}).get("execID") == key:
                return _ended(client, key) or 0
    return found or 0


def _ended(client: Client, key: str) -> int | None:
    found = client.call("GET", path_of("exec", key, "json"))
    code = found.get("ExitCode")
    return code if isinstance(code, int) and not found.get("Running") else None
