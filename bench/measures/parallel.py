"""A program of two threads on a machine with one processor, and with two: what the second is worth.

The same program on the host itself, held to one processor and let have two, is a peer: where processors are halves of a core, or others
have them too, the second is worth less there already.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from bench.assets import crew_here, initrd
from bench.figures import Figure, Target, middle
from bench.measures.cache import wait_for_finishing
from bench.measures.programs import Work, results
from bench.peers import Peer
from bench.processes import MachineError, run

from gasang.native.cache import default_directory

LIMIT = 300.0
PROCESSORS = (1, 2)
HERE = "the host itself"
WORTH = Target("≥", 1.8)
"""The time with one processor over that with two."""


def parallel(peers: list[Peer], kernel: Path, runs: int, work: Work) -> list[Figure]:
    """By the guest's clock; peers take turns, each with one processor and with two at once behind it. Equal work must give equal checksums.

    What the second is worth is the middle of what it was worth in each turn: a host that others slow down does not stay so for long.
    """
    taken: dict[tuple[str, int], list[float]] = {}
    checksums: set[str] = set()
    for _ in range(runs):
        for name, command in _commands(peers, kernel, work).items():
            for count in PROCESSORS:
                found = results(run(command(count), LIMIT).output)
                wait_for_finishing(default_directory())
                checksums.update(result.checksum for result in found)
                if len(found) != 1 or len(checksums) != 1:
                    said = f"{len(found)} results, checksums {', '.join(sorted(checksums))}"
                    raise MachineError(f"{name} with {count} processors: {said}")
                taken.setdefault((name, count), []).append(found[0].nanoseconds / 1e9)
    figures: list[Figure] = []
    for count in PROCESSORS:
        values = {name: middle(its) for (name, processors), its in taken.items() if processors == count}
        figures.append(Figure.of_peers(f"two threads, {count} vCPU{'s'[: count - 1]}", "s", values))
    for name in (HERE, *(peer.name for peer in peers)):
        turns = zip(*(taken.get((name, count), []) for count in PROCESSORS), strict=True)
        target = WORTH if name == "gasang" else None
        what = "two processors against one" if name == HERE else "two vCPUs against one"
        figures.append(Figure(f"{what}, {name}: speed", "", None, None, middle([one / two for one, two in turns]), target))
    return figures


def _commands(peers: list[Peer], kernel: Path, work: Work) -> dict[str, Callable[[int], list[str]]]:
    """To each peer's name its command for so many processors."""
    guest = f"console=ttyS0 quiet bench=crew {work}"

    def booted(peer: Peer) -> Callable[[int], list[str]]:
        return lambda count: peer.boot(kernel, initrd(), guest, cpus=count)

    return {HERE: lambda count: _here(count, work)} | {peer.name: booted(peer) for peer in peers}


def _here(count: int, work: Work) -> list[str]:
    """The command that runs the program on so many of the host's processors."""
    processors = ",".join(map(str, sorted(os.sched_getaffinity(0))[:count]))
    return ["taskset", "-c", processors, str(crew_here()), str(work.scale), str(work.warm)]
