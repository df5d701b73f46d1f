"""The connections that stop being HTTP: attach, exec's start; and logs, which look like them."""

from __future__ import annotations

from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Route
from gasang.core.errors import StateError, UsageError
from gasang.daemon.containers.moments import moment
from gasang.daemon.containers.streams import Ends, LogRequest, detach_keys
from gasang.daemon.engine import Engine

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
MULTIPLEXED_SINCE = (1, 42)


def media_type(request: Request, terminal: bool) -> str:
    """What the stream's bytes are; older clients know one name for both."""
    newer = request.version is None or request.version >= MULTIPLEXED_SINCE
    return MULTIPLEXED if newer and not terminal else RAW


class Streams:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("POST", "/containers/{id}/attach", self.attach),
            Route("POST", "/containers/{id}/resize", self.resize),
            Route("GET", "/containers/{id}/logs", self.logs),
            Route("POST", "/containers/{id}/exec", self.exec_create),
            Route("POST", "/exec/{id}/start", self.exec_start),
            Route("POST", "/exec/{id}/resize", self.exec_resize),
            Route("GET", "/exec/{id}/json", self.exec_inspect),
        ]

    async def attach(self, request: Request, reply: Reply) -> None:
        """POST /containers/ID/attach: before its start, or while it runs."""
        entry = self._engine.containers.find(request.arguments["id"])
        ends = Ends(
            stdin=request.flag("stdin") and entry.config["OpenStdin"],
            stdout=request.flag("stdout"),
            stderr=request.flag("stderr"),
            live=request.flag("stream"),
            replay=request.flag("logs"),
            multiplexed=not entry.config["Tty"],
            keys=detach_keys(request.text("detachKeys")) if entry.config["Tty"] else b"",
            ends_stdin=entry.config["StdinOnce"],
        )
        if entry.status.status == "paused":
            raise StateError(entry.subject, "it is paused", "unpause it first")
        stream, early = await reply.take_over(media_type(request, entry.config["Tty"]))
        await self._engine.containers.attach(entry, stream, early, ends)

    async def resize(self, request: Request, reply: Reply) -> None:
        """POST /containers/ID/resize."""
        rows, columns = _size(request)
        await self._engine.containers.resize(self._engine.containers.find(request.arguments["id"]), rows, columns)
        await reply.empty(200)

    async def logs(self, request: Request, reply: Reply) -> None:
        """GET /containers/ID/logs."""
        entry = self._engine.containers.find(request.arguments["id"])
        if not (request.flag("stdout") or request.flag("stderr")):
            raise UsageError("logs", "Bad parameters: you must choose at least one stream", "give stdout=1 or stderr=1")
        tail = request.text("tail")
        wanted = LogRequest(
            stdout=request.flag("stdout"),
            stderr=request.flag("stderr"),
            follow=request.flag("follow"),
            since=moment(request.text("since")),
            until=moment(request.text("until")),
            timestamps=request.flag("timestamps"),
            details=request.flag("details"),
            tail=int(tail) if tail.isdecimal() and len(tail) < 19 else -1,
            multiplexed=not entry.config["Tty"],
        )
        self._engine.containers.check_log(entry)
        output = await reply.bare(media_type(request, entry.config["Tty"]))
        with output:
            await self._engine.containers.show_log(entry, wanted, output.fileno())

    async def exec_create(self, request: Request, reply: Reply) -> None:
        """POST /containers/ID/exec."""
        entry = self._engine.containers.find(request.arguments["id"])
        await reply.json({"Id": self._engine.execs.create(entry, await request.json())}, 201)

    async def exec_start(self, request: Request, reply: Reply) -> None:
        """POST /exec/ID/start: detached it answers 200, attached it takes the connection over."""
        wanted = await request.json()
        execs = self._engine.execs
        found = execs.find(request.arguments["id"])
        terminal = found.terminal
        if wanted.get("Detach"):
            await execs.start(found, None, b"", wanted.get("ConsoleSize"))
            await reply.empty(200)
            return
        execs.check_startable(found)
        stream, early = await reply.take_over(media_type(request, terminal))
        await execs.start(found, stream, early, wanted.get("ConsoleSize"))

    async def exec_resize(self, request: Request, reply: Reply) -> None:
        """POST /exec/ID/resize."""
        rows, columns = _size(request)
        await self._engine.execs.resize(self._engine.execs.find(request.arguments["id"]), rows, columns)
        await reply.empty(200)

    async def exec_inspect(self, request: Request, reply: Reply) -> None:
        """GET /exec/ID/json."""
        found = self._engine.execs.find(request.arguments["id"])
        await self._engine.execs.settle(found)
        await reply.json(self._engine.execs.show(found))


def _size(request: Request) -> tuple[int, int]:
    """Rows and columns of a terminal. Raises UsageError unless both are between 0 and 65535."""
    rows, columns = request.number("h"), request.number("w")
    if rows is None or columns is None or not (0 <= rows <= 65535 and 0 <= columns <= 65535):
        raise UsageError("terminal size", "h and w are not both between 0 and 65535", "give both")
    return rows, columns
