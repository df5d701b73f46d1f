"""What a client wants of a process's streams, and of its log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ends:
    """Which ends of a process a client holds; `replay` the log first; `live` what comes then; multiplexed: frames of 8 bytes' head."""

    stdin: bool
    stdout: bool
    stderr: bool
    live: bool
    replay: bool
    multiplexed: bool


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
