"""/images, /auth, /distribution."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from gasang.api.docker.filters import Filters, filters_of
from gasang.api.docker.lines import Lines
from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Route
from gasang.core.errors import PermissionDeniedError, UnsupportedError, UsageError
from gasang.daemon.build.config import changed
from gasang.daemon.containers.fields import read, text
from gasang.daemon.containers.moments import before
from gasang.daemon.engine import Engine
from gasang.images.archives.load import load
from gasang.images.archives.save import save
from gasang.images.containers import ContainerImage
from gasang.images.flat import import_tar, pieces_of
from gasang.images.reference import parse_reference
from gasang.images.registry.credentials import Credentials, from_registry_auth
from gasang.images.registry.login import log_in
from gasang.images.registry.platform import parse_platform

LIST_FILTERS = ("dangling", "label", "before", "since", "reference", "until")
LOGIN = {name: text() for name in ("username", "password", "identitytoken", "serveraddress")}
"""Docker Engine API, AuthConfig."""
PRUNE_FILTERS = ("dangling", "label", "label!", "until")


class UnauthorizedError(PermissionDeniedError):
    """A registry does not let the user in (RFC 9110, section 15.5.2)."""

    http_status = 401


def familiar(name: str) -> str:
    """A name as short as clients show it."""
    return str(parse_reference(name).familiar())


def seconds(stamp: str) -> int:
    """An RFC 3339 time in seconds since 1970, 0 where it is none."""
    try:
        return int(datetime.fromisoformat(f"{stamp[:19]}+00:00").timestamp())
    except ValueError:
        return 0


class Images:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._images = engine.images

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("GET", "/images/json", self.list),
            Route("POST", "/images/create", self.create),
            Route("POST", "/images/load", self.load),
            Route("POST", "/images/prune", self.prune),
            Route("GET", "/images/get", self.save),
            Route("GET", "/images/{name*}/json", self.inspect),
            Route("GET", "/images/{name*}/history", self.history),
            Route("GET", "/images/{name*}/get", self.save),
            Route("POST", "/images/{name*}/push", self.push),
            Route("POST", "/images/{name*}/tag", self.tag),
            Route("DELETE", "/images/{name*}", self.remove),
            Route("POST", "/auth", self.auth),
            Route("GET", "/distribution/{name*}/json", self.distribution),
        ]

    async def list(self, request: Request, reply: Reply) -> None:
        """GET /images/json."""
        filters = filters_of(request, LIST_FILTERS)
        if request.text("filter"):  # how clients before API 1.28 said it
            filters = Filters({**filters.values, "reference": [request.text("filter")]})
        images = await asyncio.to_thread(self._images.containers.images)
        hidden = set() if request.flag("all") else self._images.steps()
        shown = [image for image in images if (image.references or image.id not in hidden) and self._fits(image, filters)]
        await reply.json([self.line(image) for image in shown])

    def line(self, image: ContainerImage) -> dict[str, Any]:
        """One entry of the list."""
        size = self._images.containers.size(image)
        config = image.config.get("config")
        users = [entry for entry in self._engine.containers.all() if entry.image_id == image.id]
        return {
            "Id": image.id,
            "ParentId": "",
            "RepoTags": [familiar(name) for name in image.references],
            "RepoDigests": [familiar(name) for name in image.repository_digests],
            "Created": seconds(image.created),
            "Size": size,
            "SharedSize": -1,
            "VirtualSize": size,
            "Labels": config.get("Labels") if isinstance(config, dict) else None,
            "Containers": len(users),
        }

    def _fits(self, image: ContainerImage, filters: Filters) -> bool:
        from fnmatch import fnmatchcase

        config = image.config.get("config")
        labels = config.get("Labels") if isinstance(config, dict) else None
        if "dangling" in filters and filters.flag("dangling", False) == bool(image.references):
            return False
        names = [familiar(name) for name in image.references]
        patterns = filters.get("reference")
        if patterns and not any(_named(name, pattern, fnmatchcase) for name in names for pattern in patterns):
            return False
        if any(not before(image.created, text) for text in filters.get("until")):
            return False
        if any(image.created <= self._images.find(name).created for name in filters.get("since")):
            return False
        if any(image.created >= self._images.find(name).created for name in filters.get("before")):
            return False
        return filters.labels(labels)

    async def inspect(self, request: Request, reply: Reply) -> None:
        """GET /images/NAME/json."""
        image = self._images.find(request.arguments["name"])
        config = image.config.get("config")
        view = self._images.view(image.id)
        await reply.json(
            {
                "Id": image.id,
                "RepoTags": [familiar(name) for name in image.references],
                "RepoDigests": [familiar(name) for name in image.repository_digests],
                "Parent": "",
                "Comment": image.history[-1].get("comment", "") if image.history else "",
                "Created": image.created,
                "DockerVersion": "",
                "Author": image.config.get("author", ""),
                "Config": config,
                "Architecture": image.platform.architecture,
                **({"Variant": image.platform.variant} if image.platform.variant else {}),
                "Os": image.platform.os,
                "Size": self._images.containers.size(image),
                "GraphDriver": {
                    "Name": "overlay2",
                    "Data": {"LowerDir": ":".join(map(str, view.layers[1:])), "UpperDir": str(next(iter(view.layers), ""))},
                },
                "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
                "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
            }
        )

    async def history(self, request: Request, reply: Reply) -> None:
        """GET /images/NAME/history, the newest step first."""
        image = self._images.find(request.arguments["name"])
        layers = iter(image.diff_ids)
        result = []
        for step in image.history:
            size = 0 if step.get("empty_layer") else self._images.containers.layers.size(next(layers, ""))
            result.append(
                {
                    "Id": "<missing>",
                    "Created": seconds(str(step.get("created", ""))),
                    "CreatedBy": step.get("created_by", ""),
                    "Tags": None,
                    "Size": size,
                    "Comment": step.get("comment", ""),
                }
            )
        if result:
            result[-1] |= {"Id": image.id, "Tags": [familiar(name) for name in image.references] or None}
        await reply.json(result[::-1])

    async def create(self, request: Request, reply: Reply) -> None:
        """POST /images/create: pull, or import what the body or an address holds."""
        lines = Lines(reply)
        if request.text("fromSrc"):
            await lines.run(self._import(request, lines))
            return
        name, tag = request.text("fromImage"), request.text("tag")
        if not name:
            raise UsageError("image", "no name is given", "give fromImage")
        if not tag and "@" not in name and ":" not in name.rpartition("/")[2]:
            await lines.run_while_there(self._images.pull_all(name, request.text("platform"), _auth(request), lines.say))
            return
        full = name if not tag else f"{name}@{tag}" if tag.startswith("sha256:") else f"{name}:{tag}"
        await lines.run_while_there(self._images.pull(full, request.text("platform"), _auth(request), lines.say))

    async def _import(self, request: Request, lines: Lines) -> None:
        if request.text("fromSrc") != "-":
            raise UnsupportedError("import", "only what is sent along is imported", "download it first, and import the file")
        with tempfile.NamedTemporaryFile(dir=self._engine.folders.scratch()) as file:
            await _spool(request, file)
            name, tag = request.text("repo"), request.text("tag")
            target = parse_reference(f"{name}:{tag}" if tag else name) if name else None
            settings, message = changed({}, request.texts("changes")), request.text("message")
            platform = parse_platform(request.text("platform")) if request.text("platform") else None
            with closing(pieces_of(Path(file.name))) as pieces:
                image = await asyncio.to_thread(
                    lambda: import_tar(pieces, self._images.content, target, platform=platform, settings=settings, message=message)
                )
        await lines.say({"status": image.id})
        self._engine.events.tell("image", "import", image.id)

    async def push(self, request: Request, reply: Reply) -> None:
        """POST /images/NAME/push."""
        name, tag = request.arguments["name"], request.text("tag")
        lines = Lines(reply)
        await lines.run_while_there(self._images.push(f"{name}:{tag}" if tag else name, _auth(request), lines.say))

    async def tag(self, request: Request, reply: Reply) -> None:
        """POST /images/NAME/tag."""
        name, tag = request.text("repo"), request.text("tag")
        await asyncio.to_thread(self._images.tag, request.arguments["name"], f"{name}:{tag}" if tag else name)
        await reply.empty(201)

    async def remove(self, request: Request, reply: Reply) -> None:
        """DELETE /images/NAME."""
        name = request.arguments["name"]
        image = self._images.find(name)
        users = [entry for entry in self._engine.containers.all() if entry.image_id == image.id]
        running = [entry.id for entry in users if entry.status.alive]
        stopped = [entry.id for entry in users if not entry.status.alive]
        done = await asyncio.to_thread(lambda: self._images.remove(name, force=request.flag("force"), running=running, stopped=stopped))
        await reply.json(done)

    async def prune(self, request: Request, reply: Reply) -> None:
        """POST /images/prune."""
        filters = filters_of(request, PRUNE_FILTERS)
        everything = not filters.flag("dangling", True)
        gone, freed = await asyncio.to_thread(lambda: self._images.prune(everything=everything))
        deleted = [{"Untagged": familiar(name)} for image in gone for name in image.references] + [{"Deleted": image.id} for image in gone]
        await reply.json({"ImagesDeleted": deleted or None, "SpaceReclaimed": freed})

    async def save(self, request: Request, reply: Reply) -> None:
        """GET /images/get, /images/NAME/get: a tar of images."""
        names = [request.arguments["name"]] if "name" in request.arguments else list(request.texts("names"))
        if not names:
            raise UsageError("save", "no image is named", "give names")
        for name in names:
            self._images.find(name)
        with tempfile.TemporaryFile(dir=self._engine.folders.scratch()) as file:
            await asyncio.to_thread(save, self._images.content, names, file.write)
            file.seek(0)
            stream = await reply.stream("application/x-tar")
            while piece := await asyncio.to_thread(file.read, 1 << 20):
                await stream.send(piece)
            await stream.end()

    async def load(self, request: Request, reply: Reply) -> None:
        """POST /images/load."""
        with tempfile.NamedTemporaryFile(dir=self._engine.folders.scratch()) as file:
            await _spool(request, file)
            lines = Lines(reply)
            with closing(pieces_of(Path(file.name))) as pieces:
                await lines.run(self._load(pieces, lines))

    async def _load(self, pieces: Iterator[bytes], lines: Lines) -> None:
        for image in await asyncio.to_thread(load, pieces, self._images.content):
            names = [f"Loaded image: {familiar(name)}" for name in image.references] or [f"Loaded image ID: {image.id}"]
            for line in names:
                await lines.say({"stream": f"{line}\n"})
            self._engine.events.tell("image", "load", image.id)

    async def auth(self, request: Request, reply: Reply) -> None:
        """POST /auth: whether a registry lets a user in. Raises UnauthorizedError."""
        document = read(await request.json(), LOGIN, "login")
        credentials = Credentials(document["username"], document["password"], document["identitytoken"])
        try:
            await asyncio.to_thread(log_in, document["serveraddress"] or "docker.io", credentials, self._images.registries)
        except PermissionDeniedError as error:
            raise UnauthorizedError(error.subject, error.cause, error.hint) from error
        await reply.json({"Status": "Login Succeeded", "IdentityToken": ""})

    async def distribution(self, request: Request, reply: Reply) -> None:
        """GET /distribution/NAME/json: a manifest's descriptor, from the registry."""
        raise UnsupportedError(
            "distribution", "manifests are not looked up on the client's behalf", "pull the image"
        )


def _named(name: str, pattern: str, matches: Any) -> bool:
    repository = parse_reference(name).familiar().repository if ":" not in pattern.rpartition("/")[2] else name
    return bool(matches(name, pattern) or matches(repository, pattern) or matches(repository.rpartition("/")[2], pattern))


def _auth(request: Request) -> Credentials | None:
    header = request.headers.get("x-registry-auth", "")
    found = from_registry_auth(header) if header else None
    return found or None


async def _spool(request: Request, file: Any) -> None:
    """Keep a request's body in a file."""
    async for piece in request.body.chunks():
        file.write(piece)
    file.flush()
