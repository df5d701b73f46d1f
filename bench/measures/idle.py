"""A guest that waits at its prompt: CPU time and memory it costs the host."""

from __future__ import annotations

import time
from pathlib import Path

from bench.assets import initrd
from bench.figures import Figure, Target
from bench.peers import Peer
from bench.processes import cpu_seconds, memory_of, running

PROMPT = "guest# "
BOOT_LIMIT = 120.0
SETTLE = 3.0
MIB = 1 << 20
GUEST = 512


def idle(peers: list[Peer], kernel: Path, seconds: float = 20.0) -> list[Figure]:
    """Percent of a core over `seconds` after the boot has settled, and memory then, of a 512 MiB guest."""
    percent: dict[str, float] = {}
    own: dict[str, float] = {}
    clean: dict[str, float] = {}
    guest: dict[str, float] = {}
    for peer in peers:
        with running(peer.boot(kernel, initrd(), "console=ttyS0 quiet bench=prompt", GUEST)) as machine:
            machine.wait_for(PROMPT, BOOT_LIMIT)
            time.sleep(SETTLE)  # the kernel finishes what it put off during the boot
            before, begin = cpu_seconds(machine.pid), time.monotonic()
            time.sleep(seconds)
            percent[peer.name] = 100 * (cpu_seconds(machine.pid) - before) / (time.monotonic() - begin)
            memory = memory_of(machine.pid, GUEST * MIB)
        own[peer.name], clean[peer.name], guest[peer.name] = memory.own / MIB, memory.clean / MIB, memory.guest / MIB
    return [
        Figure.of_peers("idle at the prompt: CPU", "% of a core", percent, Target("≤", 2, "ours")),
        Figure.of_peers("idle at the prompt: memory beside the guest's", "MiB", own, Target("≤", 60, "ours")),
        Figure.of_peers("idle at the prompt: of it, program files' content", "MiB", clean),
        Figure.of_peers("idle at the prompt: guest memory present", "MiB", guest),
    ]
