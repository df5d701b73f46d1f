"""/volumes."""

from __future__ import annotations

import asyncio
from typing import Any

from gasang.api.docker.filters import filters_of
from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Route
from gasang.daemon.containers.fields import read, text, text_map
from gasang.daemon.engine import Engine

VOLUME = {"Name": text(), "Driver": text("local"), "DriverOpts": text_map(), "Labels": text_map()}


class Volumes:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._volumes = engine.volumes

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("GET", "/volumes", self.list),
            Route("POST", "/volumes/create", self.create),
            Route("POST", "/volumes/prune", self.prune),
            Route("GET", "/volumes/{name}", self.inspect),
            Route("DELETE", "/volumes/{name}", self.remove),
        ]

    async def list(self, request: Request, reply: Reply) -> None:
        """GET /volumes."""
        filters = filters_of(request, ("dangling", "driver", "label", "name"))
        shown = []
        for entry in self._volumes.all():
            unused = not self._engine.containers.users_of_volume(entry["Name"])
            fits = filters.labels(entry["Labels"]) and ("dangling" not in filters or filters.flag("dangling", False) == unused)
            named = "name" not in filters or any(value in entry["Name"] for value in filters.get("name"))
            if fits and named and ("driver" not in filters or entry["Driver"] in filters.get("driver")):
                shown.append(entry)
        await reply.json({"Volumes": shown, "Warnings": None})

    async def create(self, request: Request, reply: Reply) -> None:
        """POST /volumes/create."""
        asked = read(await request.json(), VOLUME, "volume")
        made = await asyncio.to_thread(self._volumes.create, asked["Name"], asked["Labels"] or {}, asked["Driver"], asked["DriverOpts"])
        await reply.json(made, 201)

    async def inspect(self, request: Request, reply: Reply) -> None:
        """GET /volumes/NAME."""
        await reply.json(self._volumes.find(request.arguments["name"]))

    async def remove(self, request: Request, reply: Reply) -> None:
        """DELETE /volumes/NAME."""
        name = request.arguments["name"]
        users = self._engine.containers.users_of_volume(name)
        await asyncio.to_thread(lambda: self._volumes.remove(name, users, force=request.flag("force")))
        await reply.empty()

    async def prune(self, request: Request, reply: Reply) -> None:
        """POST /volumes/prune: anonymous ones that nobody uses; with all=1 the named ones as well."""
        filters = filters_of(request, ("label", "label!", "all"))
        every = filters.flag("all", False) or (request.version is not None and request.version < (1, 42))
        removed: list[str] = []
        freed = 0
        for entry in self._volumes.all():
            name: Any = entry["Name"]
            if (
                self._engine.containers.users_of_volume(name)
                or not (every or self._volumes.is_anonymous(name))
                or not filters.labels(entry["Labels"])
            ):
                continue
            freed += await asyncio.to_thread(self._volumes.used, entry)
            await asyncio.to_thread(self._volumes.remove, name, [])
            removed.append(name)
        await reply.json({"VolumesDeleted": removed or None, "SpaceReclaimed": freed})
