"""What the daemon remembers of networks, in its database: read at its start, kept as it changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gasang.daemon.records import Database, Table

State = dict[str, dict[str, Any]]


class Stored:
    """The table of networks, endpoints and what the host had before."""

    def __init__(self, database: Database) -> None:
        self._table = Table(database, "network")
        self._containers = Table(database, "container")

    def load(self) -> State:
        """As `Networks` takes it. Raises KeyError, TypeError, ValueError, AttributeError for what is damaged."""
        state: State = {"network": {}, "endpoint": {}, "host": {}}
        for key in self._table:
            kind, _, name = key.partition("/")
            state[kind][name] = self._table[key]
        for stale in _stale(state["endpoint"], self._containers):
            del state["endpoint"][stale]
            self.store("endpoint", stale, None)
        return state

    def store(self, kind: str, key: str, value: dict[str, Any] | None) -> None:
        """As `Networks` calls it."""
        if value is None:
            self._table.drop(f"{kind}/{key}")
        else:
            self._table.put(f"{kind}/{key}", value)


def _stale(endpoints: Mapping[str, Mapping[str, Any]], containers: Table) -> list[str]:
    """Endpoints whose address another has as well: they were given back while a full disk kept no record of it."""
    holders: dict[tuple[str, str], list[str]] = {}
    for key, endpoint in endpoints.items():
        if endpoint.get("ipv4"):
            holders.setdefault((endpoint["network"], endpoint["ipv4"]), []).append(key)

    def is_idle(key: str) -> bool:
        record = containers.get(endpoints[key]["machine"])
        return record is None or record["status"]["status"] not in ("running", "paused")

    return [key for keys in holders.values() for key in sorted(keys, key=is_idle)[1:]]
