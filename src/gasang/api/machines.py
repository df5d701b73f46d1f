"""/gasang/vms: what virtual machines have and containers have not, beside the Docker API; all else is asked at /containers.

| | body | answer |
| --- | --- | --- |
| POST /gasang/vms/create?name= | Machine, HostConfig, Labels, StdinOnce (daemon/vms/machines.py) | 201 Id, Name |
| GET …/ID/snapshots | | a list of Name, Created, Size, Memory, Digest, Error |
| POST …/ID/snapshots?name= | | 201 and one of them |
| DELETE …/ID/snapshots/NAME | | 204 |
| POST …/ID/restore?name=&discard= | | Kept: the Volume and Snapshot of what its volumes had, unless discard=1 |
| POST …/ID/fork?count= | | 201 and a list of Id, Name |
| POST …/ID/exec | an ExecConfig without Tty | the connection becomes its streams, in frames; the last is its exit code (streams.py, CODE) |
| POST …/ID/freeze | | Folder, Files, Machine, HostConfig, Labels, Name: for a backup |
| DELETE …/ID/freeze | | 204: the backup is done |
| POST …/ID/adopt | Append, Process, Disks | 201 and Folder, for kernel, initrd and disk, and Disks, which it also has |

ID is a name, an id or the beginning of one. Errors are those of the Docker API.
"""

from __future__ import annotations

from gasang.api.frames import MULTIPLEXED
from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Route
from gasang.core.errors import UsageError
from gasang.daemon.containers.record import Container
from gasang.daemon.engine import Engine


class Machines:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._machines = engine.machines
        self._execs = engine.execs
        self._keeping = engine.keeping

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("POST", "/gasang/vms/create", self.create),
            Route("GET", "/gasang/vms/{id}/snapshots", self.snapshots),
            Route("POST", "/gasang/vms/{id}/snapshots", self.snapshot),
            Route("DELETE", "/gasang/vms/{id}/snapshots/{name}", self.forget),
            Route("POST", "/gasang/vms/{id}/restore", self.restore),
            Route("POST", "/gasang/vms/{id}/fork", self.fork),
            Route("POST", "/gasang/vms/{id}/exec", self.execute),
            Route("POST", "/gasang/vms/{id}/freeze", self.freeze),
            Route("DELETE", "/gasang/vms/{id}/freeze", self.thaw),
            Route("POST", "/gasang/vms/{id}/adopt", self.adopt),
        ]

    def _named(self, request: Request) -> Container:
        return self._machines.find(request.arguments["id"])

    async def create(self, request: Request, reply: Reply) -> None:
        """POST create."""
        made = await self._machines.create(await request.json(), request.text("name"))
        await reply.json({"Id": made.id, "Name": made.name}, 201)

    async def snapshots(self, request: Request, reply: Reply) -> None:
        """GET snapshots."""
        await reply.json(await self._machines.snapshots(self._named(request)))

    async def snapshot(self, request: Request, reply: Reply) -> None:
        """POST snapshots."""
        await reply.json(await self._machines.snapshot(self._named(request), request.text("name")), 201)

    async def forget(self, request: Request, reply: Reply) -> None:
        """DELETE a snapshot."""
        await self._machines.forget(self._named(request), request.arguments["name"])
        await reply.empty()

    async def restore(self, request: Request, reply: Reply) -> None:
        """POST restore."""
        keep = not request.flag("discard")
        kept = await self._machines.restore(self._named(request), request.text("name"), keep=keep)
        await reply.json({"Kept": [{"Volume": volume, "Snapshot": snapshot} for volume, snapshot in kept]})

    async def fork(self, request: Request, reply: Reply) -> None:
        """POST fork."""
        count = request.number("count")
        if count is None:
            raise UsageError("fork", "it does not say how many twins", "give count")
        twins = await self._machines.fork(self._named(request), count)
        await reply.json([{"Id": twin.id, "Name": twin.name} for twin in twins], 201)

    async def execute(self, request: Request, reply: Reply) -> None:
        """POST exec: what the Docker API needs three requests for."""
        entry, wish = self._named(request), await request.json()
        if wish.get("Tty"):
            raise UsageError("exec", "a terminal has no frames", "use the Docker API's exec")
        made = self._execs.find(self._execs.create(entry, wish))
        stream, early = await reply.take_over(MULTIPLEXED)
        await self._execs.start(made, stream, early, None, tells_code=True)

    async def freeze(self, request: Request, reply: Reply) -> None:
        """POST freeze."""
        await reply.json(await self._keeping.freeze(self._named(request)))

    async def thaw(self, request: Request, reply: Reply) -> None:
        """DELETE freeze."""
        await self._keeping.thaw(self._named(request))
        await reply.empty()

    async def adopt(self, request: Request, reply: Reply) -> None:
        """POST adopt."""
        await reply.json(await self._keeping.adopt(self._named(request), await request.json()), 201)
