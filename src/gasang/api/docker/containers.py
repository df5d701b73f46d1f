"""/containers: make, list, look at, start, stop, wait, remove."""

from __future__ import annotations

import asyncio
from typing import Any

from gasang.api.docker import show_container as show
from gasang.api.docker.filters import Filters, filters_of, ports_of
from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Route
from gasang.core.errors import UsageError
from gasang.daemon.containers.record import CONTAINER, Container
from gasang.daemon.engine import Engine

FILTERS = frozenset(
    [
        "ancestor",
        "before",
        "expose",
        "exited",
        "health",
        "id",
        "is-task",
        "label",
        "name",
        "network",
        "publish",
        "since",
        "status",
        "volume",
        "isolation",
    ]
)
STATES = frozenset(["created", "running", "paused", "restarting", "removing", "exited", "dead"])
SUBPATH_SINCE = (1, 45)
ADDRESS_OF_ENDPOINT_SINCE = (1, 44)
ADDRESS_WARNING = "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
WAIT_CONDITIONS = ("not-running", "next-exit", "removed")


class Containers:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lives = engine.containers

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("GET", "/containers/json", self.list),
            Route("POST", "/containers/create", self.create),
            Route("POST", "/containers/prune", self.prune),
            Route("GET", "/containers/{id}/json", self.inspect),
            Route("GET", "/containers/{id}/top", self.top),
            Route("GET", "/containers/{id}/changes", self.changes),
            Route("GET", "/containers/{id}/stats", self.stats),
            Route("POST", "/containers/{id}/start", self.start),
            Route("POST", "/containers/{id}/stop", self.stop),
            Route("POST", "/containers/{id}/restart", self.restart),
            Route("POST", "/containers/{id}/kill", self.kill),
            Route("POST", "/containers/{id}/update", self.update),
            Route("POST", "/containers/{id}/rename", self.rename),
            Route("POST", "/containers/{id}/pause", self.pause),
            Route("POST", "/containers/{id}/unpause", self.unpause),
            Route("POST", "/containers/{id}/wait", self.wait),
            Route("DELETE", "/containers/{id}", self.remove),
        ]

    def _named(self, request: Request) -> Container:
        return self._lives.find(request.arguments["id"])

    async def list(self, request: Request, reply: Reply) -> None:
        """GET /containers/json."""
        filters = filters_of(request, FILTERS)
        limit = int(request.text("limit")) if request.text("limit").isdecimal() and len(request.text("limit")) < 10 else 0
        every = request.flag("all") or limit > 0 or "status" in filters or "exited" in filters
        chosen = [entry for entry in self._lives.all() if self._fits(entry, filters, every)]
        chosen.sort(key=lambda entry: entry.created, reverse=True)
        sizes: list[dict[str, int]] = [{} for _ in chosen]
        if request.flag("size"):
            sizes = list(await asyncio.gather(*(self._lives.sizes(entry) for entry in chosen)))
        lines = [show.line(entry, size) for entry, size in zip(chosen, sizes, strict=True)]
        await reply.json(lines[:limit] if limit > 0 else lines)

    def _fits(self, entry: Container, filters: Filters, every: bool) -> bool:
        """Whether a container passes all filters; a filter passes where one of its values fits."""
        for state in filters.get("status"):
            if state not in STATES:
                raise UsageError(f"filter status={state[:40]}", "there is no such state", f"use one of {', '.join(sorted(STATES))}")
        if not every and not entry.status.alive:
            return False
        tests: dict[str, Any] = {
            "id": lambda value: entry.id.startswith(value),
            "name": lambda value: _matches(value, entry.name),
            "status": lambda value: entry.status.status == value,
            "exited": lambda value: entry.status.status == "exited" and str(entry.status.exit_code) == value,
            "ancestor": lambda value: self._engine.images.is_ancestor(value, entry.image_id),
            "health": lambda value: (entry.status.health or {"Status": "none"})["Status"] == value,
            "network": lambda value: any(value in (name, settings.get("NetworkID")) for name, settings in entry.endpoints.items()),
            "volume": lambda value: any(value in (mount.name, mount.target, mount.source) for mount in entry.mounts),
            "since": lambda value: entry.created > self._lives.find(value).created,
            "before": lambda value: entry.created < self._lives.find(value).created,
            "is-task": lambda value: value.lower() in ("0", "false"),
            "isolation": lambda value: value in ("", "default"),
        }
        for name, test in tests.items():
            if name in filters and not any(test(value) for value in filters.get(name)):
                return False
        return filters.labels(entry.config["Labels"]) and _has_port(entry, filters)

    async def create(self, request: Request, reply: Reply) -> None:
        """POST /containers/create."""
        document = await request.json()
        if request.version is not None and request.version < SUBPATH_SINCE:
            _check_older(document)
        made, warnings = await self._lives.create(document, request.text("name"), request.text("platform"))
        if document.get("MacAddress") and (request.version is None or request.version >= ADDRESS_OF_ENDPOINT_SINCE):
            warnings.append(ADDRESS_WARNING)
        await reply.json({"Id": made.id, "Warnings": warnings}, 201)

    async def inspect(self, request: Request, reply: Reply) -> None:
        """GET /containers/ID/json."""
        entry = self._named(request)
        sizes = await self._lives.sizes(entry) if request.flag("size") else {}
        shown = show.inspect(entry, self._lives.log_path(entry), sizes)
        shown["ExecIDs"] = self._engine.execs.of(entry) or None
        shown["GraphDriver"]["Data"] = self._lives.graph(entry)
        for name, path in self._lives.files(entry).items():
            shown[name] = path
        if entry.machine:
            shown["Machine"] = entry.machine
            shown["Jail"] = await asyncio.to_thread(self._engine.machines.jail, entry)
        await reply.json(shown)

    async def start(self, request: Request, reply: Reply) -> None:
        """POST /containers/ID/start: 204, or 304 where it runs already."""
        await reply.empty(204 if await self._lives.start(self._named(request)) else 304)

    async def stop(self, request: Request, reply: Reply) -> None:
        """POST /containers/ID/stop: 204, or 304 where it is stopped already."""
        done = await self._lives.stop(self._named(request), request.number("t"), request.text("signal"))
        await reply.empty(204 if done else 304)

    async def restart(self, request: Request, reply: Reply) -> None:
        """POST /containers/ID/restart."""
        await self._lives.restart(self._named(request), request.number("t"), request.text("signal"))
        await reply.empty()

    async def kill(self, request: Request, reply: Reply) -> None:
        """POST /containers/ID/kill."""
        await self._lives.kill(self._named(request), request.text("signal") or "KILL")
        await reply.empty()

    async def update(self, request: Request, reply: Reply) -> None:
        """POST /containers/ID/update."""
        entry, document = self._named(request), await request.json()
        change = self._lives.update if entry.kind == CONTAINER else self._engine.machines.update
        await reply.json({"Warnings": await change(entry, document)})

    async def rename(self, request: Request, reply: Reply) -> None:
        """POST /containers/ID/rename."""
        await self._lives.rename(self._named(request), request.text("name"))
        await reply.empty()

    async def pause(self, request: Request, reply: Reply) -> None:
        """POST /containers/ID/pause."""
        await self._lives.pause(self._named(request))
        await reply.empty()

    async def unpause(self, request: Request, reply: Reply) -> None:
        """POST /containers/ID/unpause."""
        await self._lives.unpause(self._named(request))
        await reply.empty()

    async def wait(self, request: Request, reply: Reply) -> None:
        """POST /containers/ID/wait: the head leaves at once, the body when the condition holds."""
        condition = request.text("condition") or "not-running"
        if condition not in WAIT_CONDITIONS:
            raise UsageError(f"condition {condition[:40]!r}", "there is none of this name", f"use one of {', '.join(WAIT_CONDITIONS)}")
        waiting = asyncio.ensure_future(self._lives.wait(self._named(request), condition))
        stream = await reply.stream("application/json")
        gone = asyncio.ensure_future(stream.gone())
        try:
            await asyncio.wait([waiting, gone], return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise ConnectionError("the client went away")
            code, error = waiting.result()
            await stream.line({"StatusCode": code, **({"Error": {"Message": error}} if error else {})})
            await stream.end()
        finally:
            waiting.cancel()
            gone.cancel()
            await asyncio.gather(waiting, gone, return_exceptions=True)

    async def remove(self, request: Request, reply: Reply) -> None:
        """DELETE /containers/ID."""
        if request.flag("link"):
            raise UsageError("link", "links between containers are not kept", "use a network and aliases")
        await self._lives.remove(self._named(request), force=request.flag("force"), volumes=request.flag("v"))
        await reply.empty()

    async def prune(self, request: Request, reply: Reply) -> None:
        """POST /containers/prune."""
        filters = filters_of(request, ("until", "label", "label!"))
        removed, size = await self._lives.prune(
            lambda entry: (
                filters.labels(entry.config["Labels"]) and not ("label!" in filters and filters.labels(entry.config["Labels"], "label!"))
            ),
            list(filters.get("until")),
        )
        await reply.json({"ContainersDeleted": removed, "SpaceReclaimed": size})

    async def top(self, request: Request, reply: Reply) -> None:
        """GET /containers/ID/top."""
        entry, options = self._named(request), request.text("ps_args") or "-ef"
        if entry.kind == CONTAINER:
            titles, processes = await self._lives.top(entry, options)
        else:
            titles, processes = await asyncio.to_thread(self._engine.machines.files.processes, entry, options)
        await reply.json({"Titles": titles, "Processes": processes})

    async def changes(self, request: Request, reply: Reply) -> None:
        """GET /containers/ID/changes."""
        entry = self._named(request)
        found = await (self._lives if entry.kind == CONTAINER else self._engine.machines).changes(entry)
        await reply.json([{"Path": path, "Kind": kind} for path, kind in found])

    async def stats(self, request: Request, reply: Reply) -> None:
        """GET /containers/ID/stats: once, or one line a second until the client or the container goes."""
        samples = self._lives.stats(self._named(request), one_shot=request.flag("one-shot"), follow=request.flag("stream", True))
        stream = await reply.stream("application/json")
        gone = asyncio.ensure_future(stream.gone())
        try:
            async for sample in samples:
                if gone.done():
                    break
                await stream.line(sample)
            await stream.end()
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)


def _has_port(entry: Container, filters: Filters) -> bool:
    """Docker's rule for filters publish and expose: one port of the list's line fits one of all their values. Raises UsageError."""
    published, exposed = ([ports_of(value) for value in filters.get(name)] for name in ("publish", "expose"))
    if not published and not exposed:
        return True
    return any(
        any(port["Type"] == protocol and port[key] in numbers for protocol, numbers in wanted)
        for port in show.list_ports(entry)
        for key, wanted in (("PublicPort", published), ("PrivatePort", exposed))
        if key in port
    )


def _matches(pattern: str, name: str) -> bool:
    """Docker's rule for filter name: a regular expression that occurs in the name, with or without its slash."""
    import re

    try:
        return bool(re.search(pattern, name) or re.search(pattern, f"/{name}"))
    except re.error:
        return pattern in name


def _check_older(document: dict[str, Any]) -> None:
    """Raise UsageError for what an older API does not have. What is of a wrong type is told of later."""
    host = document.get("HostConfig")
    mounts = host.get("Mounts") if isinstance(host, dict) else None
    for mount in mounts if isinstance(mounts, list) else []:
        options = mount.get("VolumeOptions") if isinstance(mount, dict) else None
        if isinstance(options, dict) and options.get("Subpath"):
            raise UsageError("VolumeOptions.Subpath needs API v1.45 or newer", "the request is of an older one", "leave it out")
