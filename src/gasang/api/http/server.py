"""Accept clients and serve each in a task of its own until it goes, errors as JSON with their status."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from gasang.api.http.connection import Connection, Headers, Reply
from gasang.api.http.request import Request
from gasang.core.errors import GasangError
from gasang.core.faults import told

Application = Callable[[Request, Reply], Awaitable[None]]
_SHORT_OF: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ECONNABORTED})
_MOMENT: Final = 0.2
"""Seconds until another try to accept a client, where none of ours ends before."""
_log = logging.getLogger(__name__)


class Server:
    """Serves `application` on a listening stream socket."""

    def __init__(self, listener: socket.socket, application: Application, headers: Headers = ()) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._application = application
        self._headers = tuple(headers)
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Accept until cancelled; then end the clients, and what is done for them."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                stream = await self._accept()
                task = loop.create_task(self._client(stream))
                self._tasks.add(task)
                task.add_done_callback(self._done)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self) -> socket.socket:
        """The next client. While the host gives us no descriptor for one, the end of another client is awaited, or a moment."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                stream, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno not in _SHORT_OF:
                    raise
                _log.warning("no client can be accepted: %s", error)
                await asyncio.wait([*self._tasks, asyncio.ensure_future(asyncio.sleep(_MOMENT))], return_when=asyncio.FIRST_COMPLETED)
            else:
                return stream

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, ConnectionError):
            _log.error("a request failed", exc_info=error)

    async def _client(self, stream: socket.socket) -> None:
        stream.setblocking(False)
        connection = Connection(stream)
        try:
            while await self._exchange(connection):
                pass
        finally:
            if not connection.taken_over:
                connection.close()

    async def _exchange(self, connection: Connection) -> bool:
        """One request and its reply; whether the connection goes on."""
        reply = Reply(connection, without_body=False, headers=self._headers)
        try:
            request = await connection.request()
            if request is None:
                return False
            reply = Reply(connection, without_body=request.method == "HEAD", headers=self._headers)
            await self._answer(request, reply)
        except GasangError as error:
            if connection.replied:
                return False
            await reply.json({"message": str(error)}, error.http_status)
            if error.http_status == 400:
                return False  # what the client sends next may be the rest of what was refused
        return not connection.taken_over and await connection.next_cycle()

    async def _answer(self, request: Request, reply: Reply) -> None:
        """Run the application; a fault of ours becomes a 500 that names it, and a line in the log."""
        task = asyncio.ensure_future(self._application(request, reply))
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if isinstance(error, GasangError | ConnectionError):
            raise error
        _log.error("%s %s failed", request.method, request.path, exc_info=error)
        if isinstance(error, OSError | MemoryError):
            raise told(error) from error
        if not reply.connection.replied:
            await reply.json({"message": f"{type(error).__name__}: {error}"}, 500)
        else:
            raise ConnectionError("the reply broke off") from error
