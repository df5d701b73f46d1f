"""Pulls and pushes: what the daemon tells layer by layer, as two steps of progress (bytes moved, bytes unpacked).

An image that the daemon makes itself is told of as steps that follow each other, whatever their titles.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, Final

from gasang.api.client import Client, path_of
from gasang.cli.containers.logins import registry_headers
from gasang.cli.output import printable
from gasang.cli.progress import Reporter, Step, open_progress
from gasang.cli.settings import Context
from gasang.images.registry.events import Status

_MOVING: Final = ("Downloading", "Pushing")
_UNPACKING: Final = "Extracting"
_DONE: Final = {"Download complete": "Downloading", "Pull complete": _UNPACKING, "Pushed": "Pushing"}
"""The end of a layer's status: what was under way of it is done."""
_SAID: Final = ("Digest: ", "Status: ", "The push refers to ")
"""Begin lines about the whole that are no news."""


class Transfer:
    """Follows the layers of one transfer. The whole grows while sizes become known."""

    def __init__(self, title: str, reporter: Reporter, cleanup: ExitStack) -> None:
        self._title = title
        self._reporter = reporter
        self._cleanup = cleanup
        self._steps: dict[str, Step] = {}
        self._layers: dict[tuple[str, str], tuple[int, int]] = {}
        self._making = cleanup.enter_context(ExitStack())
        self._made: Step | None = None

    def take(self, line: dict[str, Any]) -> None:
        """One line of the daemon's."""
        layer, status, detail = str(line.get("id", "")), str(line.get("status", "")), line.get("progressDetail")
        if status in _DONE:
            current, total = self._layers.get((layer, _DONE[status]), (0, 0))
            if current < total:
                self._advance(layer, _DONE[status], total, total)
        elif isinstance(detail, dict) and (status in _MOVING or status == _UNPACKING):
            done, whole = detail.get("current"), detail.get("total")
            if isinstance(done, int) and isinstance(whole, int):
                self._advance(layer, status, done, whole)
        elif layer and status not in set(Status) and not status.startswith("Pulling from "):
            self._make(status, detail if isinstance(detail, dict) else {})
        elif not layer and status and not status.startswith(_SAID):
            print(f"gasang: {printable(status)}", file=sys.stderr)

    def _make(self, status: str, detail: dict[str, Any]) -> None:
        """A step of an image in the making; the one before is over."""
        title = status[:1].lower() + status[1:]
        if self._made is None or self._made.title != title:
            self._making.close()
            self._made = self._making.enter_context(self._reporter.step(title, None, str(detail.get("units", "bytes"))))
        done, whole = detail.get("current"), detail.get("total")
        if isinstance(done, int) and isinstance(whole, int):
            self._made.total, self._made.unit = whole, str(detail.get("units", "bytes"))
            self._made.advance(max(0, done - self._made.done))

    def _advance(self, layer: str, status: str, current: int, total: int) -> None:
        before, known = self._layers.get((layer, status), (0, 0))
        self._layers[layer, status] = (max(before, current), total)
        step = self._step(status)
        step.total = (step.total or 0) + total - known
        step.advance(max(0, current - before), layer)

    def _step(self, status: str) -> Step:
        if status not in self._steps:
            title = f"unpacking {self._title}" if status == _UNPACKING else f"{status.lower()} {self._title}"
            self._steps[status] = self._cleanup.enter_context(self._reporter.step(title, 0, "bytes"))
        return self._steps[status]


def follow(lines: Iterable[dict[str, Any]], title: str, context: Context) -> None:
    """Show a transfer until it is done. Raises GasangError where it fails."""
    with open_progress(context) as reporter, ExitStack() as cleanup:
        transfer = Transfer(title, reporter, cleanup)
        for line in lines:
            transfer.take(line)


def pull(client: Client, reference: str, platform: str | None, context: Context) -> None:
    """Pull a container image. Raises GasangError."""
    query = {"fromImage": reference, "platform": platform}
    follow(client.lines("POST", "/images/create", query, headers=registry_headers(reference)), reference, context)


def push(client: Client, reference: str, context: Context) -> None:
    """Push one. Raises GasangError."""
    name, _, tag = reference.rpartition(":")
    if not name or "/" in tag:
        name, tag = reference, "latest"
    path = path_of("images", *name.split("/"), "push")
    follow(client.lines("POST", path, {"tag": tag}, headers=registry_headers(reference)), reference, context)
