"""From the command to the guest's first words: with an empty cache, as on a new machine, and with a filled one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

from bench.figures import Figure, Target, middle
from bench.peers import Peer, environment
from bench.processes import running

from guests.build import build_guest

FIRST_WORDS = "hello from a guest"
LIMIT = 300.0


def first_instruction(peers: list[Peer], runs: int) -> list[Figure]:
    """Seconds until a guest of a few instructions has spoken: the first start of all, then `runs` more."""
    first: dict[str, float] = {}
    later: dict[str, list[float]] = {"qemu": [], "gasang": []}
    with tempfile.TemporaryDirectory() as cache:
        start = _starter(environment(XDG_CACHE_HOME=cache))
        for peer in peers:
            first[peer.name] = start(peer)
        for _ in range(runs):
            for peer in peers:
                later[peer.name].append(start(peer))
    return [
        Figure.of_peers("first start of all to first words", "s", first, Target("≤", 20, "ours")),
        Figure.of_peers("later start to first words", "s", {name: middle(each) for name, each in later.items()}, Target("≤", 0.5, "ours")),
    ]


def _starter(env: dict[str, str]) -> Callable[[Peer], float]:
    elf = build_guest("hello")

    def start(peer: Peer) -> float:
        with running(peer.boot(elf, memory=128), env) as machine:
            return machine.wait_for(FIRST_WORDS, LIMIT)

    return start
