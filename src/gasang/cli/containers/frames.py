"""The streams of a container without a terminal, as the Docker Engine API packs them into one: eight bytes of head, then data. Pure.

The head is the stream's number, three zeros and the length as a big-endian number (Engine API, ContainerAttach, "Stream format").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gasang.core.errors import BadInputError

STDOUT: Final = 1
STDERR: Final = 2
_HEAD: Final = 8
MULTIPLEXED: Final = "application/vnd.docker.multiplexed-stream"


class Demultiplexer:
    """Sorts what comes by stream. Nothing is held back but an incomplete head: long frames go out as they come."""

    def __init__(self) -> None:
        self._head = b""
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, memoryview]]:
        """(stream, bytes) of what `data` brings. Raises BadInputError for a head of no known stream."""
        view = memoryview(data)
        while view:
            if self._left:
                piece = view[: self._left]
                self._left -= len(piece)
                view = view[len(piece) :]
                yield self._stream, piece
                continue
            lacking = _HEAD - len(self._head)
            self._head += bytes(view[:lacking])
            view = view[lacking:]
            if len(self._head) == _HEAD:
                self._begin()

    def _begin(self) -> None:
        self._stream, self._left = self._head[0], int.from_bytes(self._head[4:], "big")
        if self._stream > STDERR or any(self._head[1:4]):
            raise BadInputError("daemon", "its stream is damaged: a frame has no known head", "look at daemon.log")
        self._head = b""
