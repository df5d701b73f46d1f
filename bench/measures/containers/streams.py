"""How fast a container's output comes: from its log, and attached while it runs. Text in lines of a hundred bytes."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure, Target
from bench.measures.containers.sides import IMAGE, Side, Taken, in_turn

LINE = b"The quick brown fox jumps over the lazy dog, and the log keeps every word of it: 0123456789 abcdefg.\n"
LOGGED = 64_000_000
ATTACHED = 256_000_000
NAME = "talker"


def streams(found: Sequence[Side], runs: int) -> list[Figure]:
    """`docker logs` of 64 MB, and `docker run` of a program that prints 256 MB, in MB of output a second of the client's whole life."""
    rounds = max(1, runs // 4)
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as folder:
        for size in (LOGGED, ATTACHED):
            (Path(folder) / str(size)).write_bytes(LINE * (size // len(LINE)))
        for side in found:
            options = ("--name", NAME, "--log-opt", "max-size=1g", "-v", f"{folder}:/data:ro")
            side.seconds("run", *options, IMAGE, "cat", f"/data/{LOGGED}")
        logs = in_turn(found, rounds, lambda side: _rate(side, LOGGED, "logs", NAME))
        for side in found:
            side.docker("rm", NAME)
        attached = in_turn(
            found, rounds, lambda side: _rate(side, ATTACHED, "run", "--rm", "-v", f"{folder}:/data:ro", IMAGE, "cat", f"/data/{ATTACHED}")
        )
    return [_speed("docker logs", logs), _speed("an attached stream", attached)]


def _rate(side: Side, size: int, *words: str) -> float:
    expected = size // len(LINE) * len(LINE)
    begin = time.monotonic()
    with subprocess.Popen(
        (*side.docker.program, *words), env=side.docker.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as client:
        assert client.stdout is not None
        seen = 0
        while chunk := client.stdout.read1(1 << 20):  # type: ignore[attr-defined]
            seen += len(chunk)
    taken = time.monotonic() - begin
    if seen != expected:
        raise OSError(f"{side.name}: {' '.join(words)}: {seen} bytes came, expected {expected}")
    return expected / taken / 1e6


def _speed(name: str, values: Taken) -> Figure:
    return values.figure(name, "MB/s", Target("≥", 200, "ours"), "more is better")
