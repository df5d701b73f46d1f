"""/build: the classic builder."""

from __future__ import annotations

import asyncio
import os
import posixpath
import shutil
import stat
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

from gasang.api.docker.lines import Lines
from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Route
from gasang.core.errors import BadInputError, UnsupportedError, UsageError
from gasang.daemon.build.builder import Builder, Options
from gasang.daemon.build.dockerfile import parse
from gasang.daemon.build.ignore import Ignore
from gasang.daemon.containers.extract import Extraction
from gasang.daemon.engine import Engine
from gasang.host.trees import open_within
from gasang.images.reference import parse_reference
from gasang.images.registry.credentials import from_registry_config

FILE_MAX: Final = 4 << 20
"""Bytes of a Dockerfile."""
LIMITS: Final = {
    "memory": "Memory",
    "memswap": "MemorySwap",
    "cpushares": "CpuShares",
    "cpuperiod": "CpuPeriod",
    "cpuquota": "CpuQuota",
    "shmsize": "ShmSize",
}


class Build:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        """The table."""
        return [Route("POST", "/build", self.build), Route("POST", "/build/prune", self.prune), Route("POST", "/build/cancel", self.cancel)]

    async def build(self, request: Request, reply: Reply) -> None:
        """POST /build: the body is the context, a tar; the answer tells step by step."""
        if request.text("version", "1") == "2":
            raise UnsupportedError("build", "BuildKit is not spoken", "set DOCKER_BUILDKIT=0")
        if request.text("remote"):
            raise UnsupportedError("build", "contexts at an address are not fetched", "download it and name its folder")
        options = _options(request)
        folder = Path(tempfile.mkdtemp(prefix="context-", dir=self._engine.folders.scratch()))
        lines = Lines(reply)
        try:
            await self._receive(request, folder)
            await lines.run_while_there(self._build(request, folder / "context", options, lines))
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _receive(self, request: Request, folder: Path) -> None:
        with (folder / "context.tar").open("wb+") as file:
            async for piece in request.body.chunks():
                file.write(piece)
            _complete(file)
            file.seek(0)
            await asyncio.to_thread(_unpack, file, folder / "context")

    async def _build(self, request: Request, context: Path, options: Options, lines: Lines) -> None:
        name = posixpath.normpath("/" + (request.text("dockerfile") or "Dockerfile")).lstrip("/")
        text = _read(context, name)
        if text is None:
            raise UsageError("Dockerfile", f"Cannot locate specified Dockerfile: {name[:100]}", "name it with -f")
        file = parse(text)
        ignored = _read(context, ".dockerignore")
        if ignored is not None:
            await asyncio.to_thread(_leave_out, context, Ignore(ignored.decode(errors="replace")))
        image = await Builder(self._engine, context, options, lines.say).build(file)
        await lines.say({"aux": {"ID": image.id}})
        if options.quiet:
            await lines.say({"stream": f"{image.id}\n"})
        else:
            await lines.say({"stream": f"Successfully built {image.id.removeprefix('sha256:')[:12]}\n"})
        for tag in options.tags:
            await asyncio.to_thread(self._engine.images.tag, image.id, tag)
            if not options.quiet:
                await lines.say({"stream": f"Successfully tagged {parse_reference(tag).familiar()}\n"})

    async def prune(self, request: Request, reply: Reply) -> None:
        """POST /build/prune: forget what steps have made; the images stay until they are pruned."""
        self._engine.images.forget_cache()
        await reply.json({"CachesDeleted": None, "SpaceReclaimed": 0})

    async def cancel(self, request: Request, reply: Reply) -> None:
        """POST /build/cancel: a build ends with its connection."""
        await reply.empty()


def _options(request: Request) -> Options:
    """What the request asks for. Raises UsageError."""
    tags = tuple(tag for tag in request.texts("t") if tag)
    for tag in tags:
        parse_reference(tag)
    host: dict[str, Any] = {}
    for name, field in LIMITS.items():
        number = request.number(name)
        if number:
            host[field] = number
    for name, field in (("cpusetcpus", "CpusetCpus"), ("cpusetmems", "CpusetMems"), ("cgroupparent", "CgroupParent")):
        if request.text(name):
            host[field] = request.text(name)
    if extra := request.texts("extrahosts"):
        host["ExtraHosts"] = list(extra)
    return Options(
        tags=tags,
        target=request.text("target"),
        build_args=_texts(request, "buildargs"),
        labels={name: value or "" for name, value in _texts(request, "labels").items()},
        no_cache=request.flag("nocache"),
        pull=request.flag("pull"),
        quiet=request.flag("q"),
        remove=request.flag("rm", True),
        network=request.text("networkmode"),
        platform=request.text("platform"),
        host=host,
        auth=from_registry_config(request.headers.get("x-registry-config", "")),
    )


def _texts(request: Request, name: str) -> dict[str, str | None]:
    document = request.document_of(name) or {}
    if not isinstance(document, dict) or not all(value is None or isinstance(value, str) for value in document.values()):
        raise UsageError(f"parameter {name}", "it is not an object of texts", "send one")
    return document


def _complete(file: Any) -> None:
    """Clients that put a Dockerfile into a context leave out the last entry's padding and the end mark: write them."""
    size = file.tell()
    file.seek(257)
    if file.read(5) == b"ustar":
        file.seek(size)
        file.write(bytes(-size % 512 + 1024))


def _unpack(file: Any, target: Path) -> None:
    """The context into an empty folder; its entries belong to root there, as in what COPY makes of them."""
    target.mkdir()
    root = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        Extraction(root, owner=(os.geteuid(), os.getegid()), devices=False).all(file)
    except tarfile.TarError as error:
        raise BadInputError("build context", f"it is damaged ({error})", "send it again") from error
    finally:
        os.close(root)


def _read(context: Path, name: str) -> bytes | None:
    """A file of a context, whose links do not lead out of it; None where there is none."""
    root = os.open(context, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(open_within(root, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
            return file.read(FILE_MAX + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    except OSError:
        return None
    finally:
        os.close(root)


def _leave_out(context: Path, ignore: Ignore) -> None:
    """Remove what .dockerignore leaves out; clients do so before they send, but need not."""
    for parent, folders, files in os.walk(context, topdown=False):
        base = os.path.relpath(parent, context)
        for name in files:
            path = os.path.normpath(os.path.join(base, name))
            if ignore.leaves_out(path):
                os.unlink(os.path.join(parent, name))
        for name in folders:
            full = os.path.join(parent, name)
            path = os.path.normpath(os.path.join(base, name))
            if ignore.leaves_out(path):
                if os.path.islink(full):
                    os.unlink(full)
                elif not os.listdir(full):
                    os.rmdir(full)
