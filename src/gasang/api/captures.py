"""/gasang/networks/NAME/capture: what passes on a network, as a pcapng file while it is made.

| query | |
| --- | --- |
| `filter` | which frames (network/capture/filters.py) |
| `count` | end after so many |
| `duration` | end after so many seconds |
| `kept` | so many bytes of each frame |

It ends with the client, too. A client that is slow loses frames and nobody else does; how many, the file's last block tells.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import Final

from gasang.api.http.connection import Reply, Stream
from gasang.api.http.request import Request
from gasang.api.http.router import Route
from gasang.core.errors import GasangError, UsageError
from gasang.daemon.engine import Engine
from gasang.network.capture.heard import Heard
from gasang.network.capture.pcapng import MEDIA_TYPE
from gasang.network.capture.recording import MOST_KEPT, Recording, Wanted

_AT_ONCE: Final = 64


class Captures:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._networks = engine.networks

    def routes(self) -> list[Route]:
        """The table."""
        return [Route("GET", "/gasang/networks/{id}/capture", self.capture)]

    async def capture(self, request: Request, reply: Reply) -> None:
        """GET capture."""
        kept = request.number("kept")
        wanted = Wanted(request.text("filter"), request.number("count") or 0, MOST_KEPT if kept is None else kept)
        seconds = _seconds(request.text("duration"))
        network = self._networks.catalogue.find(request.arguments["id"])
        recording = Recording(network.bridge, wanted)
        with closing(await asyncio.to_thread(self._networks.host.listen, network.id)) as listener:
            stream = await reply.stream(MEDIA_TYPE)
            gone, sending = asyncio.ensure_future(stream.gone()), asyncio.ensure_future(_send(stream, listener, recording, seconds))
            try:
                await asyncio.wait([gone, sending], return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                sending.cancel()
                await asyncio.gather(gone, sending, return_exceptions=True)


async def _send(stream: Stream, listener: Heard, recording: Recording, seconds: float | None) -> None:
    until = None if seconds is None else time.monotonic() + seconds
    await stream.send(recording.begin())
    try:
        while not recording.is_complete and await _readable(listener, until):
            await stream.send(recording.add(listener.frames(_AT_ONCE)))
    except GasangError:
        pass  # the network's last machine has left, and what there was is told
    await stream.send(recording.end(time.time_ns(), *listener.counts()))
    await stream.end()


async def _readable(listener: Heard, until: float | None) -> bool:
    """Whether frames came before then."""
    left = None if until is None else until - time.monotonic()
    if left is not None and left <= 0:
        return False
    loop, there = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(listener.fileno(), there.set)
    try:
        await asyncio.wait_for(there.wait(), left)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(listener.fileno())
    return True


def _seconds(text: str) -> float | None:
    if not text:
        return None
    whole, _, fraction = text.partition(".")
    if not (f"{whole}{fraction}".isascii() and f"{whole}{fraction}".isdecimal() and whole and len(text) < 12):
        raise UsageError("duration", f"{text[:20]!r} is no number of seconds", "write it like 10 or 0.5")
    return float(text)
