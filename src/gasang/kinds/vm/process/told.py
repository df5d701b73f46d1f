"""What a machine's process tells who waits for its start, and for its end."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Final

READY, FAILED = b"+", b"-"
"""The process's id comes after the first, a sentence after the second."""
_LONGEST: Final = 2000
_OTHER_END: Final = 5.0
"""Seconds for who keeps the streams to take the exit code."""


def failed(sentence: str) -> bytes:
    """The word of a machine that does not begin to live."""
    return FAILED + sentence.encode("utf-8", "backslashreplace")[:_LONGEST]


def fail(told: int, error: Exception) -> None:
    """Say that to who waits at a descriptor."""
    with suppress(OSError):  # who asked is gone
        os.write(told, failed(str(error)))


def end(link: socket.socket | None, code: int) -> None:
    """Say the exit code to who keeps the streams, if anybody does."""
    if link is not None:
        link.settimeout(_OTHER_END)
        with suppress(OSError):  # it was killed
            link.sendall(bytes([code & 0xFF]))
