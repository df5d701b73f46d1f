"""The descriptor that frames come from and go to, in the network's thread: a socket whose messages are frames, or a tap.

Both have a virtio_net_hdr of 12 bytes in front of each. On a socket, a message of four bytes is no frame but what the other end takes, as
TUNSETOFFLOAD has it (host.tap.Tap.join). Frames that do not go at once wait, so many at most; the rest is lost, as on any cable.
"""

from __future__ import annotations

import os
import selectors
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gasang.network.loop import Loop
from gasang.network.user.stack import LARGEST

_BURST: Final = 64
_MOST_WAITING: Final = 8 << 20
_TAKES_BYTES: Final = 4


class Port:
    """The descriptor is ours. `arrived` gets each frame, `rested` hears that there are no more for now, `agreed` what is taken.

    `ended` hears that the other end is closed.
    """

    def __init__(
        self, loop: Loop, descriptor: int, arrived: Callable[[bytes], None], rested: Callable[[], None], agreed: Callable[[int], None],
        ended: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._ended = ended
        self._selector = loop.selector
        self._descriptor = descriptor
        self._arrived = arrived
        self._rested = rested
        self._agreed = agreed
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._is_open = True
        os.set_blocking(descriptor, False)
        self._selector.register(descriptor, selectors.EVENT_READ, self._ready)

    def close(self) -> None:
        """Close it; twice is once."""
        if self._is_open:
            self._is_open = False
            self._selector.unregister(self._descriptor)
            os.close(self._descriptor)

    def send(self, pieces: list[bytes]) -> None:
        """A frame, in pieces."""
        if not self._is_open:
            return
        if not self._waiting:
            try:
                os.writev(self._descriptor, pieces)
                return
            except BlockingIOError:
                self._selector.modify(self._descriptor, selectors.EVENT_READ | selectors.EVENT_WRITE, self._ready)
            except OSError:
                return  # a frame that the kernel does not like, or nobody there any more
        frame = b"".join(pieces)
        if self._size + len(frame) <= _MOST_WAITING:
            self._waiting.append(frame)
            self._size += len(frame)

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush()
        if events & selectors.EVENT_READ:
            self._read()

    def _flush(self) -> None:
        with suppress(BlockingIOError):
            while self._waiting:
                with suppress(ConnectionError):
                    os.write(self._descriptor, self._waiting[0])
                self._size -= len(self._waiting.popleft())
            self._selector.modify(self._descriptor, selectors.EVENT_READ, self._ready)

    def _read(self) -> None:
        for _ in range(_BURST):
            try:
                frame = os.read(self._descriptor, LARGEST + 1)
            except BlockingIOError:
                break
            except OSError:
                frame = b""
            if not frame:
                self.close()
                self._ended()
                break
            if len(frame) == _TAKES_BYTES:
                self._agreed(int.from_bytes(frame, "little"))
            else:
                self._arrived(frame)
        self._rested()
