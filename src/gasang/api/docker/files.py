"""Files of machines: archive (docker cp), export, commit."""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Route
from gasang.core.errors import UsageError
from gasang.daemon.build.config import changed
from gasang.daemon.containers.files import ContainerFiles
from gasang.daemon.containers.names import now
from gasang.daemon.containers.record import CONTAINER, Container
from gasang.daemon.engine import Engine
from gasang.daemon.vms.files import GuestFiles
from gasang.images.flat import import_tar, pieces_of
from gasang.images.registry.platform import Platform
from gasang.kinds.vm.platforms import default_architecture

STAT_HEADER = "X-Docker-Container-Path-Stat"


class Files:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("HEAD", "/containers/{id}/archive", self.facts),
            Route("GET", "/containers/{id}/archive", self.read),
            Route("PUT", "/containers/{id}/archive", self.write),
            Route("GET", "/containers/{id}/export", self.export),
            Route("POST", "/commit", self.commit),
        ]

    def _of(self, entry: Container) -> ContainerFiles | GuestFiles:
        return self._engine.files if entry.kind == CONTAINER else self._engine.machines.files

    async def facts(self, request: Request, reply: Reply) -> None:
        """HEAD archive: what is at a path."""
        entry = self._engine.containers.find(request.arguments["id"])
        found = await asyncio.to_thread(self._of(entry).facts, entry, _path(request))
        await reply.empty(200, [(STAT_HEADER, found)])

    async def read(self, request: Request, reply: Reply) -> None:
        """GET archive: a tar of what is at a path."""
        entry = self._engine.containers.find(request.arguments["id"])
        path = _path(request)
        files = self._of(entry)
        found = await asyncio.to_thread(files.facts, entry, path)
        await _send_tar(reply, lambda target: files.read(entry, path, target), [(STAT_HEADER, found)])

    async def write(self, request: Request, reply: Reply) -> None:
        """PUT archive: unpack a tar in a folder."""
        entry = self._engine.containers.find(request.arguments["id"])
        with tempfile.TemporaryFile(dir=self._engine.folders.scratch()) as file:
            async for piece in request.body.chunks():
                file.write(piece)
            file.seek(0)
            await asyncio.to_thread(self._unpack, entry, request, file)
        await reply.empty(200)

    def _unpack(self, entry: Container, request: Request, file: BinaryIO) -> None:
        if entry.kind != CONTAINER:
            self._engine.machines.files.write(entry, _path(request), file)
            return
        keeps = request.flag("noOverwriteDirNonDir")
        owner = self._engine.containers.owner(entry) if request.flag("copyUIDGID") else None
        self._engine.files.write(entry, _path(request), file, keeps_kind=keeps, owner=owner)

    async def export(self, request: Request, reply: Reply) -> None:
        """GET export: a tar of all files, mounts left out."""
        entry = self._engine.containers.find(request.arguments["id"])
        if entry.kind != CONTAINER:
            self._engine.machines.ways.agent(entry)  # where there is none that is the answer
        await _send_tar(reply, lambda target: self._of(entry).export(entry, target))
        self._engine.services.tell(entry, "export")

    async def commit(self, request: Request, reply: Reply) -> None:
        """POST /commit: a container's own layer becomes an image's."""
        engine = self._engine
        entry = engine.containers.find(request.text("container"))
        document = await request.json()
        said = {key: value for key, value in document.items() if value not in (None, "", [], {}) and key in entry.config}
        config = changed({**entry.config, **said}, request.texts("changes"))
        if entry.kind != CONTAINER:
            await self._committed(entry, await asyncio.to_thread(self._commit_machine, entry, config, request), request, reply)
            return
        pause = request.flag("pause", True) and entry.status.status == "running" and not self._engine.control.without
        if pause:
            await engine.containers.pause(entry)
        try:
            made = await asyncio.to_thread(self._commit, entry, config, request)
        finally:
            if pause:
                await engine.containers.unpause(entry)
        await self._committed(entry, made, request, reply)

    async def _committed(self, entry: Container, made: str, request: Request, reply: Reply) -> None:
        name, tag = request.text("repo"), request.text("tag")
        if name:
            await asyncio.to_thread(self._engine.images.tag, made, f"{name}:{tag}" if tag else name)
        self._engine.services.tell(entry, "commit", {"imageID": made})
        await reply.json({"Id": made}, 201)

    def _commit_machine(self, entry: Container, config: dict[str, Any], request: Request) -> str:
        """A container image of one layer: all that is on the machine's disk, for its architecture."""
        engine = self._engine
        kept = {key: value for key, value in config.items() if value not in (None, "", False, [], {}) and key not in ("Author", "Image")}
        platform = Platform("linux", entry.machine.get("architecture") or default_architecture())
        with tempfile.NamedTemporaryFile(dir=engine.folders.scratch()) as file:
            with open(file.name, "wb") as target:
                engine.machines.files.export(entry, target)
            with closing(pieces_of(Path(file.name))) as pieces:
                message = request.text("comment") or f"committed from machine {entry.name}"
                return import_tar(pieces, engine.images.content, platform=platform, settings=kept, message=message).id

    def _commit(self, entry: Any, config: dict[str, Any], request: Request) -> str:
        engine = self._engine
        history = {"created": now(), "created_by": " ".join(entry.command())}
        if config.get("Hostname") == entry.short:
            config["Hostname"] = ""
        parent = engine.images.view(entry.image_id)
        with engine.layers.layer(entry) as layer:
            return engine.images.commit(parent, config, history, layer, request.text("author"), request.text("comment")).id


def _path(request: Request) -> str:
    path = request.text("path")
    if not path or "\0" in path:
        raise UsageError("path", "it is empty", "name a path in the container")
    return path


async def _send_tar(reply: Reply, write: Any, headers: list[tuple[str, str]] | None = None) -> None:
    """Send a tar while a thread writes it, through a pipe."""
    read_end, write_end = os.pipe()
    loop = asyncio.get_running_loop()

    def work() -> None:
        with io.FileIO(write_end, "wb") as target:
            write(target)

    working = loop.run_in_executor(None, work)
    try:
        stream = await reply.stream("application/x-tar", headers=headers or ())
        while piece := await asyncio.to_thread(os.read, read_end, 1 << 20):
            await stream.send(piece)
    finally:
        os.close(read_end)  # a client that has gone ends the writer as well
    try:
        await working
    except BrokenPipeError:
        return
    await stream.end()
