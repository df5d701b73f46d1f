"""/networks and /volumes."""

from __future__ import annotations

import asyncio
from typing import Any

from gasang.api.docker.filters import Filters, filters_of
from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Route
from gasang.core.errors import UsageError
from gasang.daemon.containers.creation import ENDPOINT
from gasang.daemon.containers.fields import read
from gasang.daemon.engine import Engine
from gasang.daemon.networks import network_id

FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
BUILTIN = ("host", "none")


class Networks:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._networks = engine.networks

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("GET", "/networks", self.list),
            Route("POST", "/networks/create", self.create),
            Route("POST", "/networks/prune", self.prune),
            Route("GET", "/networks/{id}", self.inspect),
            Route("DELETE", "/networks/{id}", self.remove),
            Route("POST", "/networks/{id}/connect", self.connect),
            Route("POST", "/networks/{id}/disconnect", self.disconnect),
        ]

    def _all(self) -> list[dict[str, Any]]:
        self._networks.host.default()
        return [*(self._networks.show(entry) for entry in self._networks.host.list()), *map(self._networks.show_builtin, BUILTIN)]

    async def list(self, request: Request, reply: Reply) -> None:
        """GET /networks."""
        filters = filters_of(request, FILTERS)
        await reply.json([entry for entry in self._all() if _fits(entry, filters)])

    async def inspect(self, request: Request, reply: Reply) -> None:
        """GET /networks/ID."""
        name = request.arguments["id"]
        for builtin in BUILTIN:
            if name == builtin or (len(name) > 3 and network_id(builtin).startswith(name)):
                await reply.json(self._networks.show_builtin(builtin))
                return
        if name == "bridge":
            self._networks.host.default()
        await reply.json(self._networks.show(self._networks.find(name)))

    async def create(self, request: Request, reply: Reply) -> None:
        """POST /networks/create."""
        document = await request.json()
        name = document.get("Name")
        if not isinstance(name, str) or not name:
            raise UsageError("network", "it has no name", "give one")
        made = await asyncio.to_thread(self._networks.create, name, document)
        await reply.json({"Id": made.id, "Warning": ""}, 201)

    async def remove(self, request: Request, reply: Reply) -> None:
        """DELETE /networks/ID."""
        await asyncio.to_thread(self._networks.remove, request.arguments["id"])
        await reply.empty()

    async def connect(self, request: Request, reply: Reply) -> None:
        """POST /networks/ID/connect."""
        document = await request.json()
        entry = self._engine.containers.find(str(document.get("Container") or ""))
        asked = read(document.get("EndpointConfig") or {}, ENDPOINT, "endpoint")
        await asyncio.to_thread(self._networks.connect, request.arguments["id"], entry, asked)
        self._engine.containers.save(entry)
        await reply.empty(200)

    async def disconnect(self, request: Request, reply: Reply) -> None:
        """POST /networks/ID/disconnect."""
        document = await request.json()
        entry = self._engine.containers.find(str(document.get("Container") or ""))
        await asyncio.to_thread(self._networks.disconnect, request.arguments["id"], entry)
        self._engine.containers.save(entry)
        await reply.empty(200)

    async def prune(self, request: Request, reply: Reply) -> None:
        """POST /networks/prune: those that no container names, whether it runs or not."""
        filters = filters_of(request, ("until", "label", "label!"))
        named = {name for entry in self._engine.containers.all() for name in entry.endpoints}
        gone = []
        for network in self._networks.host.list():
            shown = self._networks.show(network)
            unwanted = "label!" in filters and filters.labels(shown["Labels"], "label!")
            if (
                not network.default
                and network.name not in named
                and not shown["Containers"]
                and filters.labels(shown["Labels"])
                and not unwanted
            ):
                await asyncio.to_thread(self._networks.remove, network.id)
                gone.append(network.name)
        await reply.json({"NetworksDeleted": gone or None})


def _fits(entry: dict[str, Any], filters: Filters) -> bool:
    tests: dict[str, Any] = {
        "name": lambda value: value in entry["Name"],
        "id": lambda value: entry["Id"].startswith(value),
        "driver": lambda value: entry["Driver"] == value,
        "scope": lambda value: entry["Scope"] == value,
        "type": lambda value: (value == "builtin") == (entry["Name"] in ("bridge", *BUILTIN)),
        "dangling": lambda value: (
            (value.lower() in ("1", "true")) == (not entry["Containers"] and entry["Name"] not in ("bridge", *BUILTIN))
        ),
    }
    return all(any(test(value) for value in filters.get(name)) for name, test in tests.items() if name in filters) and filters.labels(
        entry["Labels"]
    )
