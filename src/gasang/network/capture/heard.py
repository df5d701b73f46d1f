"""Frames as somebody hears them who takes no part: from a socket, one at a time."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from gasang.core.errors import GasangError

LARGEST: Final = 14 + 4 + 65535


@dataclass(frozen=True, slots=True)
class Frame:
    """As it passed; `moment` in nanoseconds since 1970."""

    data: bytes
    moment: int


class Heard:
    """All frames of a network. Nothing waits: who is slow misses some. What is listened to derives from this."""

    def __init__(self, source: socket.socket, called: str) -> None:
        """`source` does not block, and is this one's to close; `called` is what the network's frames pass ("bridge")."""
        self._socket = source
        self._called = called

    def fileno(self) -> int:
        """To be waited for."""
        return self._socket.fileno()

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def frames(self, most: int) -> list[Frame]:
        """Those that are there, so many at most. Raises GasangError when what is listened to goes."""
        found: list[Frame] = []
        try:
            while len(found) < most:
                found.append(self._next())
        except BlockingIOError:
            pass
        except OSError as error:
            if not found:
                raise GasangError("network", f"its {self._called} has gone ({error.strerror})", "start a machine in it") from error
        return found

    def counts(self) -> tuple[int, int]:
        """How many frames there were up to now, and how many of them were lost."""
        raise NotImplementedError

    def _next(self) -> Frame:
        """The next one. Raises BlockingIOError where there is none, OSError when there will be none any more."""
        raise NotImplementedError
