"""What happens to machines, images, networks and volumes, told to whoever listens; the last ones are kept."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

KEPT: Final = 1024
WAITING_MAX: Final = 4096
"""Events that wait for one slow listener before it is let go."""


@dataclass(frozen=True)
class Event:
    """`type` container, image, network, volume or daemon; `action` the verb; `actor` the id; `time` in nanoseconds since 1970."""

    type: str
    action: str
    actor: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    time: int = 0


class Events:
    """The bus. Everything happens on the daemon's event loop."""

    def __init__(self) -> None:
        self._past: deque[Event] = deque(maxlen=KEPT)
        self._listeners: set[asyncio.Queue[Event]] = set()

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def tell(self, kind: str, action: str, actor: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Something happened now."""
        texts = {name: str(value) for name, value in (attributes or {}).items()}
        event = Event(kind, action, actor, texts, time.time_ns())
        self._past.append(event)
        for queue in tuple(self._listeners):
            if queue.qsize() < WAITING_MAX:
                queue.put_nowait(event)

    def past(self, since: int, until: int | None) -> list[Event]:
        """What is kept from the time `since` until `until`, both in nanoseconds since 1970."""
        return [event for event in self._past if since <= event.time and (until is None or event.time <= until)]

    async def future(self) -> AsyncIterator[Event]:
        """Every event from now on."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)
