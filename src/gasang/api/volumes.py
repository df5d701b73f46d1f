"""/gasang/volumes: what volumes that are disks have and Docker's have not; all else is asked at /volumes.

| | answer |
| --- | --- |
| GET /gasang/volumes/NAME/snapshots | a list of Name, Size, Created |
| POST …/NAME/snapshots?name= | 201 and one of them |
| POST …/NAME/apply?name= | Size: it is what it was at that snapshot |
| DELETE …/NAME/snapshots/SNAPSHOT | 204 |
| POST …/NAME/clone?name=&snapshot= | 201 and the new volume |
| POST …/NAME/resize?size= | Size, and Grown: "", or why the guest's file system has not grown |
| POST …/NAME/freeze | Layer, Size: the layers up to that one are not written any more |
| POST …/NAME/base?place=&layer= | 204: the backups in a place have what is up to a layer |

Errors are those of the Docker API.
"""

from __future__ import annotations

from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Route
from gasang.core.errors import UsageError
from gasang.daemon.engine import Engine


class DiskVolumes:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._volumes = engine.disk_volumes

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("GET", "/gasang/volumes/{name}/snapshots", self.snapshots),
            Route("POST", "/gasang/volumes/{name}/snapshots", self.snapshot),
            Route("DELETE", "/gasang/volumes/{name}/snapshots/{snapshot}", self.forget),
            Route("POST", "/gasang/volumes/{name}/apply", self.apply),
            Route("POST", "/gasang/volumes/{name}/clone", self.clone),
            Route("POST", "/gasang/volumes/{name}/resize", self.resize),
            Route("POST", "/gasang/volumes/{name}/freeze", self.freeze),
            Route("POST", "/gasang/volumes/{name}/base", self.base),
        ]

    async def snapshots(self, request: Request, reply: Reply) -> None:
        """GET snapshots."""
        await reply.json(await self._volumes.snapshots(request.arguments["name"]))

    async def snapshot(self, request: Request, reply: Reply) -> None:
        """POST snapshots."""
        await reply.json(await self._volumes.act(request.arguments["name"], "snapshot", {"name": request.text("name")}), 201)

    async def forget(self, request: Request, reply: Reply) -> None:
        """DELETE a snapshot."""
        await self._volumes.act(request.arguments["name"], "forget", {"name": request.arguments["snapshot"]})
        await reply.empty()

    async def apply(self, request: Request, reply: Reply) -> None:
        """POST apply."""
        await reply.json(await self._volumes.act(request.arguments["name"], "apply", {"name": request.text("name")}))

    async def clone(self, request: Request, reply: Reply) -> None:
        """POST clone."""
        made = await self._volumes.clone(request.arguments["name"], request.text("name"), request.text("snapshot"))
        await reply.json(made, 201)

    async def resize(self, request: Request, reply: Reply) -> None:
        """POST resize."""
        size = request.number("size")
        if size is None:
            raise UsageError("volume's size", "it is missing", "give size")
        await reply.json(await self._volumes.act(request.arguments["name"], "resize", {"size": size}))

    async def freeze(self, request: Request, reply: Reply) -> None:
        """POST freeze."""
        await reply.json(await self._volumes.act(request.arguments["name"], "freeze", {}))

    async def base(self, request: Request, reply: Reply) -> None:
        """POST base."""
        words = {"place": request.text("place"), "layer": request.text("layer")}
        await self._volumes.act(request.arguments["name"], "base", words)
        await reply.empty()
