"""/networks."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from gasang.api.docker.filters import Filters, filters_of
from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Route
from gasang.core.errors import UsageError
from gasang.daemon.containers.fields import mapping, maps, read, text, text_map, truth
from gasang.daemon.containers.moments import before
from gasang.daemon.containers.record import Container
from gasang.daemon.engine import Engine
from gasang.daemon.networks.catalogue import PREDEFINED, WITHOUT_BRIDGE, without_bridge
from gasang.daemon.networks.endpoints import asked_of
from gasang.network.spec import SWITCH

FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
PRUNE_FILTERS = ("until", "label", "label!")
NETWORK = {
    "Name": text(),
    "Driver": text(),
    "Scope": text(),
    "Internal": truth(),
    "Attachable": truth(),
    "Ingress": truth(),
    "ConfigOnly": truth(),
    "ConfigFrom": mapping(),
    "EnableIPv4": truth(True),
    "EnableIPv6": truth(),
    "Labels": text_map(),
    "Options": text_map(),
    "IPAM": mapping(),
}
IPAM = {"Driver": text(), "Config": maps(), "Options": text_map()}
"""Docker Engine API, NetworkCreate and IPAM."""
_CHOSEN: Final = "it is a network on a switch in user space: this host's kernel lacks what keeps a bridge's limits (sch_netem, sch_tbf)"
CONNECT = {"Container": text(), "EndpointConfig": mapping(), "Force": truth()}


class Networks:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._networks = engine.networks
        self._catalogue = engine.networks.catalogue

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
        return [*map(self._catalogue.show, self._catalogue.all()), *map(self._catalogue.show_without_bridge, WITHOUT_BRIDGE)]

    async def list(self, request: Request, reply: Reply) -> None:
        """GET /networks."""
        filters = filters_of(request, FILTERS)
        await reply.json([entry for entry in self._all() if _fits(entry, filters)])

    async def inspect(self, request: Request, reply: Reply) -> None:
        """GET /networks/ID."""
        name = request.arguments["id"]
        bare = without_bridge(name)
        if bare:
            await reply.json(self._catalogue.show_without_bridge(bare))
            return
        network = self._catalogue.find(name)
        counts = await asyncio.to_thread(self._networks.host.counts, network)
        await reply.json({**self._catalogue.show(network), **({"Counts": counts} if counts else {})})

    async def create(self, request: Request, reply: Reply) -> None:
        """POST /networks/create."""
        document = read(await request.json(), NETWORK, "network")
        if not document["Name"]:
            raise UsageError("invalid name", "the network has none", "give one")
        document["IPAM"] = read(document["IPAM"] or {}, IPAM, "network's IPAM")
        made = await self._networks.create(document["Name"], document)
        chosen = not document["Driver"] and made.spec.driver == SWITCH
        await reply.json({"Id": made.id, "Warning": _CHOSEN if chosen else ""}, 201)

    async def remove(self, request: Request, reply: Reply) -> None:
        """DELETE /networks/ID."""
        await self._networks.remove(request.arguments["id"])
        await reply.empty()

    async def connect(self, request: Request, reply: Reply) -> None:
        """POST /networks/ID/connect."""
        document = read(await request.json(), CONNECT, "network connection")
        entry = self._engine.containers.find(document["Container"])
        asked = asked_of(document["EndpointConfig"], "endpoint")
        async with self._engine.containers.life(entry).lock:
            await self._networks.connect(request.arguments["id"], entry, asked)
            await self._changed(entry)
        await reply.empty(200)

    async def disconnect(self, request: Request, reply: Reply) -> None:
        """POST /networks/ID/disconnect."""
        document = read(await request.json(), CONNECT, "network connection")
        entry = self._engine.containers.find(document["Container"])
        async with self._engine.containers.life(entry).lock:
            await self._networks.disconnect(request.arguments["id"], entry)
            await self._changed(entry)
        await reply.empty(200)

    async def _changed(self, entry: Container) -> None:
        self._engine.containers.save(entry)
        if entry.status.alive:
            await self._engine.services.ways_of(entry).rewired(entry)

    async def prune(self, request: Request, reply: Reply) -> None:
        """POST /networks/prune: those that no container names, whether it runs or not."""
        filters = filters_of(request, PRUNE_FILTERS)
        named = {name for entry in self._engine.containers.all() for name in entry.endpoints}
        gone = []
        for network in self._catalogue.all():
            if not network.default and network.name not in named and _may_go(self._catalogue.show(network), filters):
                await self._networks.remove(network.id)
                gone.append(network.name)
        await reply.json({"NetworksDeleted": gone or None})


def _may_go(shown: dict[str, Any], filters: Filters) -> bool:
    unwanted = "label!" in filters and filters.labels(shown["Labels"], "label!")
    young = any(not before(shown["Created"], text) for text in filters.get("until"))
    return not (shown["Containers"] or unwanted or young) and filters.labels(shown["Labels"])


def _fits(entry: dict[str, Any], filters: Filters) -> bool:
    tests: dict[str, Any] = {
        "name": lambda value: value in entry["Name"],
        "id": lambda value: entry["Id"].startswith(value),
        "driver": lambda value: entry["Driver"] == value,
        "scope": lambda value: entry["Scope"] == value,
        "type": lambda value: (value == "builtin") == (entry["Name"] in PREDEFINED),
        "dangling": lambda value: (value.lower() in ("1", "true")) == (not entry["Containers"] and entry["Name"] not in PREDEFINED),
    }
    return all(any(test(value) for value in filters.get(name)) for name, test in tests.items() if name in filters) and filters.labels(
        entry["Labels"]
    )
