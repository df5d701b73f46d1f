"""What a client wants of a process's streams, and of its log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gasang.core.errors import UsageError

DETACH_KEYS: Final = "ctrl-p,ctrl-q"
CODE: Final = 4
"""The stream of an exit code, where one is told: a big-endian number of 4 bytes, the last frame. Docker's streams are 0 to 3."""
CODE_SIZE: Final = 4


@dataclass(frozen=True)
class Ends:
    """Which ends of a process a client holds; `replay` the log first; `live` what comes then; multiplexed: frames of 8 bytes' head."""

    stdin: bool
    stdout: bool
    stderr: bool
    live: bool
    replay: bool
    multiplexed: bool
    keys: bytes = b""
    """The keys that detach, on a terminal."""
    ends_stdin: bool = False
    """The end of the client's input is the end of the process's; else it is where the client leaves (Docker's StdinOnce)."""
    tells_code: bool = False
    """The exit code follows all that was written, in a frame of the stream CODE. Commands in virtual machines know how."""


@dataclass(frozen=True)
class LogRequest:
    """Which part of a log, in which form. Times in nanoseconds since 1970, 0 for no bound; tail -1 for all."""

    stdout: bool
    stderr: bool
    follow: bool
    since: int
    until: int
    timestamps: bool
    details: bool
    tail: int
    multiplexed: bool


def frame(stream: int, data: bytes) -> bytes:
    """Bytes of a stream behind their head (Engine API, ContainerAttach, "Stream format")."""
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


def code_frame(code: int) -> bytes:
    """An exit code as it is told."""
    return frame(CODE, code.to_bytes(CODE_SIZE, "big"))


def detach_keys(text: str) -> bytes:
    """The bytes of keys such as "ctrl-p,ctrl-q" (the default) or "a,b". Raises UsageError."""
    made = bytearray()
    for word in (text or DETACH_KEYS).split(","):
        if len(word) == 1 and word.isascii():
            made += word.encode()
        elif word.lower().startswith("ctrl-") and len(word) == 6 and (word[5].isascii() and (word[5].isalpha() or word[5] in "@[\\]^_")):
            made.append(ord(word[5].upper()) - 64)
        else:
            raise UsageError(
                f"Invalid detach keys ({text[:40]}) provided", f"{word[:20]!r} is no key", "write letters or ctrl-LETTER, with commas"
            )
    return bytes(made)
