"""A program of two threads on a machine with one processor, and with two: what the second is worth."""

from __future__ import annotations

from pathlib import Path

from bench.assets import initrd
from bench.figures import Figure, Target, middle, quotient
from bench.measures.programs import Work, results
from bench.peers import Peer
from bench.processes import MachineError, run

LIMIT = 300.0
PROCESSORS = (1, 2)
WORTH = Target("≥", 1.8)
"""The time with one processor over that with two."""


def parallel(peers: list[Peer], kernel: Path, runs: int, work: Work) -> list[Figure]:
    """By the guest's clock; peers and numbers of processors take turns. Equal work must give equal checksums."""
    taken: dict[tuple[str, int], list[float]] = {}
    checksums: set[str] = set()
    for _ in range(runs):
        for peer in peers:
            for count in PROCESSORS:
                command = peer.boot(kernel, initrd(), f"console=ttyS0 quiet bench=crew {work}", cpus=count)
                found = results(run(command, LIMIT).output)
                checksums.update(result.checksum for result in found)
                if len(found) != 1 or len(checksums) != 1:
                    said = f"{len(found)} results, checksums {', '.join(sorted(checksums))}"
                    raise MachineError(f"{peer.name} with {count} processors: {said}")
                taken.setdefault((peer.name, count), []).append(found[0].nanoseconds / 1e9)
    figures: list[Figure] = []
    for count in PROCESSORS:
        values = {name: middle(its) for (name, processors), its in taken.items() if processors == count}
        figures.append(Figure.of_peers(f"two threads, {count} vCPU{'s'[: count - 1]}", "s", values))
    for peer in peers:
        one, two = (middle(taken.get((peer.name, count), [])) for count in PROCESSORS)
        target = WORTH if peer.name == "gasang" else None
        figures.append(Figure(f"two vCPUs against one, {peer.name}: speed", "", None, None, quotient(one, two), target))
    return figures
