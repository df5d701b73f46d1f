"""Start to power-off of Debian's stock kernel, and of `gasang run --vm debian:trixie -- true`."""

from __future__ import annotations

from pathlib import Path

from bench.assets import initrd
from bench.figures import Figure, Target, middle
from bench.peers import Peer
from bench.processes import Run, run

LIMIT = 300.0


def kernel_boot(peers: list[Peer], kernel: Path, small: Path | None, runs: int) -> list[Figure]:
    """Wall and CPU time of the kernel with `small` (our own initrd, which powers off at once, if None)."""
    taken: dict[str, list[Run]] = {"qemu": [], "gasang": []}
    for _ in range(runs):
        for peer in peers:
            taken[peer.name].append(run(peer.boot(kernel, small or initrd(), "console=ttyS0"), LIMIT))
    wall = {name: middle([each.wall for each in its]) for name, its in taken.items()}
    cpu = {name: middle([each.cpu for each in its]) for name, its in taken.items()}
    return [
        Figure.of_peers("boot to power-off: wall", "s", wall, Target("≤", 1.8)),
        Figure.of_peers("boot to power-off: CPU", "s", cpu),
    ]


def debian_command(ours: Peer, runs: int) -> list[Figure]:
    """`gasang run --vm debian:trixie -- true`; the first, untimed run makes the image if it is missing."""
    command = [*ours.start, "debian:trixie", "--", "true"]
    run(command, 3600)
    taken = [run(command, LIMIT) for _ in range(runs)]
    wall = middle([each.wall for each in taken])
    cpu = middle([each.cpu for each in taken])
    return [
        Figure("run --vm debian:trixie -- true: wall", "s", None, wall, target=Target("≤", 8, "ours")),
        Figure("run --vm debian:trixie -- true: CPU", "s", None, cpu),
    ]
