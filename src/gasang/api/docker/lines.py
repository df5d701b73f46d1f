"""Replies that are JSON lines while something long goes on, and that tell of a failure after the 200 has left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from gasang.api.http.connection import Reply, Stream
from gasang.core.errors import GasangError
from gasang.core.faults import told

Say = Callable[[dict[str, Any]], Awaitable[None]]


class Lines:
    """Begins the reply with its first line, so that what fails before it still gets a status of its own."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._stream: Stream | None = None

    async def say(self, line: dict[str, Any]) -> None:
        """Send a line."""
        if self._stream is None:
            self._stream = await self._reply.stream("application/json")
        await self._stream.line(line)

    async def run_while_there(self, work: Coroutine[Any, Any, None]) -> None:
        """As `run`, as long as the client is there; the request's body has been read. Raises ConnectionError where it goes away."""
        await self.run(self._while_there(work))

    async def _while_there(self, work: Coroutine[Any, Any, None]) -> None:
        working = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self._reply.connection.gone())
        try:
            await asyncio.wait([working, gone], return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ConnectionError("the client went away")
            working.result()
        finally:
            working.cancel()
            gone.cancel()
            await asyncio.gather(working, gone, return_exceptions=True)

    async def run(self, work: Awaitable[None]) -> None:
        """Do the work; a failure after the first line is a line of its own. Raises GasangError where none has left yet."""
        try:
            await work
        except ConnectionError:
            raise
        except (GasangError, OSError) as error:
            if self._stream is None:
                raise
            await self.say(failure(told(error) if isinstance(error, OSError) else error))
        if self._stream is None:
            self._stream = await self._reply.stream("application/json")
        await self._stream.end()


def failure(error: GasangError) -> dict[str, Any]:
    """An error as a line."""
    sentence = getattr(error, "sentence", str(error))
    code = getattr(error, "code", 0)
    detail: dict[str, Any] = {"message": sentence, "status": error.http_status, **({"code": code} if code else {})}
    return {"errorDetail": detail, "error": sentence}
