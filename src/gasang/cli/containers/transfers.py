"""Pulls and pushes: what the daemon tells layer by layer, as two steps of progress (bytes moved, bytes unpacked)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, Final

from gasang.api.client import Client, path_of
from gasang.cli.containers.logins import registry_headers
from gasang.cli.progress import Reporter, Step, open_progress
from gasang.cli.settings import Context

_MOVING: Final = ("Downloading", "Pushing")
_UNPACKING: Final = "Extracting"
_DONE: Final = {"Download complete": "Downloading", "Pull complete": _UNPACKING, "Pushed": "Pushing"}
"""The end of a layer's status: what was under way of it is done."""


class Transfer:
    """Follows the layers of one transfer. The whole grows while sizes become known."""

    def __init__(self, title: str, reporter: Reporter, cleanup: ExitStack) -> None:
        self._title = title
        self._reporter = reporter
        self._cleanup = cleanup
        self._steps: dict[str, Step] = {}
        self._layers: dict[tuple[str, str], tuple[int, int]] = {}

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
