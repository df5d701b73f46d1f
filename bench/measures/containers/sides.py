"""The engines that are compared, each with a client, an image and a name; measurements take them in turn."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure, Target, middle, quotient

from support.engines import rootfs
from support.engines.client import Docker
from support.engines.engine import ENGINES, Engine, remove, short_home

IMAGE = "busybox:bench"
PEER = "dockerd"


@dataclass(frozen=True)
class Side:
    """One engine, running."""

    engine: Engine
    docker: Docker

    @property
    def name(self) -> str:
        """As figures call it."""
        return self.engine.name

    def seconds(self, *words: str | Path) -> float:
        """Wall time of a command that must end well; its output goes nowhere."""
        begin = time.monotonic()
        done = subprocess.run(
            (*self.docker.program, *map(str, words)),
            env=self.docker.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
        taken = time.monotonic() - begin
        if done.returncode:
            raise OSError(
                f"{self.name}: {' '.join(map(str, words))}: exit code {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"
            )
        return taken


@dataclass(frozen=True)
class Taken:
    """What runs in turn have taken: each side's median, and the median of the rounds' ratios (ours over the peer's).

    Other work on the machine, which comes and goes, holds both sides of a round up alike.
    """

    medians: dict[str, float | None]
    ratio: float | None

    def figure(self, name: str, unit: str, target: Target | None, note: str = "", scale: float = 1.0) -> Figure:
        """As a line of the report."""
        theirs, ours = (None if (value := self.medians.get(side)) is None else value * scale for side in (PEER, "gasang"))
        return Figure(name, unit, theirs, ours, self.ratio, target, note)


@contextmanager
def sides(names: Sequence[str]) -> Iterator[list[Side]]:
    """The engines named, started with empty states and the image of the measurements."""
    homes = [short_home(name) for name in names]
    engines = [ENGINES[name](home) for name, home in zip(names, homes, strict=True)]
    found: list[Side] = []
    try:
        for engine in engines:
            engine.start()
            found.append(Side(engine, Docker(engine, engine.home / "client")))
            found[-1].docker("import", "--change", "ENV PATH=/bin", "--change", 'CMD ["sh"]', "-", IMAGE, typed=rootfs.busybox_layer())
        yield found
    finally:
        for side in found:
            left = side.docker("ps", "-aq", code=None).lines
            if left:
                side.docker("rm", "-f", *left, code=None)
        for engine in engines:
            engine.stop()
            remove(engine.home)


def in_turn(
    found: Sequence[Side], runs: int, measure: Callable[[Side], float], prepare: Callable[[Side], None] | None = None
) -> Taken:
    """Each side's `runs`, alternating, and who is first too, after one that does not count."""
    taken: dict[str, list[float]] = {side.name: [] for side in found}
    for number in range(runs + 1):
        for side in found if number % 2 else reversed(found):
            if prepare is not None:
                prepare(side)
            value = measure(side)
            if number:
                taken[side.name].append(value)
    rounds = zip(taken.get("gasang", ()), taken.get(PEER, ()), strict=False)
    ratios = [ratio for ours, theirs in rounds if (ratio := quotient(ours, theirs)) is not None]
    return Taken({name: middle(values) for name, values in taken.items()}, middle(ratios))


@contextmanager
def waiting(side: Side, *options: str) -> Iterator[str]:
    """A container that only waits, for a with block."""
    name = f"waiting-{os.getpid()}-{time.monotonic_ns()}"
    side.docker("run", "-d", "--name", name, *options, IMAGE, "sleep", "100000")
    try:
        yield name
    finally:
        side.docker("rm", "-f", name)
