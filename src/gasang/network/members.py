"""Who is in which network: the endpoints, remembered as they change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gasang.core.errors import NotFoundError
from gasang.network.registry import Store
from gasang.network.spec import Endpoint, Published


class Members:
    """The endpoints by their ids. Not thread-safe: its owner locks."""

    def __init__(self, endpoints: Mapping[str, Mapping[str, Any]], store: Store) -> None:
        """Raises BadInputError when what was stored is damaged."""
        self._endpoints = {key: Endpoint.from_json(value) for key, value in endpoints.items()}
        self._store = store

    def all(self, network: str = "", machine: str = "") -> Sequence[Endpoint]:
        """The endpoints, of all or of one network (its id), of all or of one machine."""
        return [item for item in self._endpoints.values() if network in ("", item.network) and machine in ("", item.machine)]

    def one(self, identity: str) -> Endpoint:
        """The endpoint of that id, as it is now. Raises NotFoundError."""
        found = self._endpoints.get(identity)
        if found is None:
            raise NotFoundError(f"endpoint {identity[:12]}", "there is none of that id", "the machine has left the network")
        return found

    def take(self, identity: str) -> Endpoint | None:
        """Take it out; it is remembered until `forget`. None where there is none."""
        return self._endpoints.pop(identity, None)

    def remember(self, endpoint: Endpoint) -> None:
        """It is there, and so from now on."""
        self._endpoints[endpoint.id] = endpoint
        self._store("endpoint", endpoint.id, endpoint.to_json())

    def change(self, endpoint: Endpoint, **fields: Any) -> Endpoint:
        """Remember it with other values of some fields; it as it is then."""
        changed = replace(endpoint, **fields)
        self.remember(changed)
        return changed

    def forget(self, endpoint: Endpoint) -> None:
        """It is no more."""
        self._store("endpoint", endpoint.id, None)

    def networks(self) -> set[str]:
        """The ids of networks that somebody is in."""
        return {endpoint.network for endpoint in self._endpoints.values()}

    def published(self) -> Sequence[Published]:
        """The ports of all."""
        return [port for endpoint in self._endpoints.values() for port in endpoint.published]
