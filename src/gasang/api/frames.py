"""The streams of a container without a terminal, as the Docker Engine API packs them into one: eight bytes of head, then data. Pure.

The head is the stream's number, three zeros and the length as a big-endian number (Engine API, ContainerAttach, "Stream format").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from gasang.core.errors import BadInputError
from gasang.daemon.containers.streams import CODE

STDOUT: Final = 1
STDERR: Final = 2
MULTIPLEXED: Final = "application/vnd.docker.multiplexed-stream"
_HEAD: Final = struct.Struct(">II")
_STREAMS: Final = {0: STDOUT, STDOUT << 24: STDOUT, STDERR << 24: STDERR}
"""The first half of a head → its stream; what is said of standard input is shown as output."""


class Demultiplexer:
    """Sorts what comes by stream. Nothing is held back but an incomplete head: long frames go out as they come."""

    def __init__(self, *, codes: bool = False) -> None:
        """`codes` is whether exit codes are told, too, as a stream CODE."""
        self._known = {**_STREAMS, CODE << 24: CODE} if codes else _STREAMS
        self._head = b""
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(stream, bytes) of what `data` brings, frames of one stream that follow each other as one.

        Raises BadInputError for a head of no known stream.
        """
        if self._head:
            data, self._head = self._head + data, b""
        position, size, unpack = 0, len(data), _HEAD.unpack_from
        stream, left, pieces = self._stream, self._left, list[bytes]()
        while position < size:
            if left == 0:
                if size - position < _HEAD.size:
                    self._head = data[position:]
                    break
                number, left = unpack(data, position)
                position += _HEAD.size
                found = self._known.get(number)
                if found is None:
                    raise BadInputError("daemon", "its stream is damaged: a frame has no known head", "look at daemon.log")
                if found != stream:
                    if pieces:
                        yield stream, b"".join(pieces)
                    stream, pieces = found, []
            piece = data[position : position + left]
            pieces.append(piece)
            position += len(piece)
            left -= len(piece)
        self._stream, self._left = stream, left
        whole = b"".join(pieces)
        if whole:
            yield stream, whole
