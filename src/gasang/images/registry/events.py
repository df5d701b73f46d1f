"""What a transfer tells while it runs: one event for each change of a layer, in the words of Docker's pull and push streams."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from gasang.core.progress import Step


class Status(StrEnum):
    """Where a layer is."""

    WAITING = "Waiting"
    PULLING = "Pulling fs layer"
    DOWNLOADING = "Downloading"
    DOWNLOADED = "Download complete"
    EXTRACTING = "Extracting"
    PULLED = "Pull complete"
    HERE = "Already exists"
    PREPARING = "Preparing"
    PUSHING = "Pushing"
    PUSHED = "Pushed"
    THERE = "Layer already exists"
    MOUNTED = "Mounted from"


@dataclass(frozen=True)
class Event:
    """A layer (the first twelve digits of its digest; "" for the whole image), its status, and how much of how many bytes is done.

    `unit` says what is counted where the status is none of those above, but a step's title.
    """

    layer: str
    status: str
    current: int = 0
    total: int = 0
    unit: str = ""


Listener = Callable[[Event], None]
"""Is called from several threads, one at a time."""


def nobody(event: Event) -> None:
    """Listens to nothing."""


def short(digest: str) -> str:
    """A layer's name in events."""
    return digest.removeprefix("sha256:")[:12]


class Teller:
    """Gives events to a listener, one at a time; those of bytes only when enough has changed."""

    STEP = 1 << 20

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str], int] = {}

    def tell(self, layer: str, status: str, current: int = 0, total: int = 0) -> None:
        """An event, unless it is nearly the one before."""
        with self._lock:
            last = self._last.get((layer, status))
            if last is not None and 0 < current - last < self.STEP and current < total:
                return
            self._last[layer, status] = current
            self._listener(Event(short(layer), status, current, total))


def both(first: Listener, second: Listener) -> Listener:
    """Tells two."""

    def tell(event: Event) -> None:
        first(event)
        second(event)

    return tell


class AsSteps:
    """A listener that advances a step by the bytes transferred; what is there already counts at once."""

    def __init__(self, step: Step, statuses: tuple[str, ...] = (Status.DOWNLOADING, Status.PUSHING)) -> None:
        self._step = step
        self._statuses = statuses
        self._reached: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        """Take an event."""
        before = self._reached.get(event.layer, 0)
        if event.status in self._statuses and event.current > before:
            self._reached[event.layer] = event.current
            self._step.advance(event.current - before, event.layer)
