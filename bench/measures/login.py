"""Start to the login prompt of a Debian with systemd: interpreted, compiled with an empty code cache, and with what earlier starts left."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure, Target, middle
from bench.measures.cache import wait_for_finishing
from bench.peers import Peer, environment
from bench.processes import Run, cpu_seconds, running
from bench.systemd import Installed

from gasang.native.cache import default_directory

PROMPT = "login: "
LIMIT = 300.0
MEMORY = 1024
STARTS = 3
"""Starts with one code cache."""
TARGETS = {"first": Target("≤", 0.55), "cached": Target("≤", 0.35)}
NAMES = {"gasang": "interpreted", "first": "--jit on, nothing cached", "cached": f"start {STARTS}"}


def login(peers: Sequence[Peer], system: Installed, runs: int) -> list[Figure]:
    """Wall and CPU time of each start; what a start leaves to be compiled is done before the next, and not counted."""
    taken: dict[str, list[Run]] = {}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder) / "native"
            shutil.copytree(default_directory(), cache, ignore=shutil.ignore_patterns("regions"))
            for peer in peers:
                taken.setdefault(peer.name, []).append(_start(peer, system, cache, ()))
                if peer.name == "gasang":
                    starts = [_start(peer, system, cache, ("--jit", "on")) for _ in range(STARTS)]
                    taken.setdefault("first", []).append(starts[0])
                    taken.setdefault("cached", []).append(starts[-1])
    figures: list[Figure] = []
    for kind in ("wall", "cpu"):
        values = {name: middle([float(getattr(run, kind)) for run in its]) for name, its in taken.items()}
        figures += [
            Figure.of_peers(f"systemd to its login prompt, {text}: {kind}", "s", {"qemu": values.get("qemu"), "gasang": values.get(name)},
                            TARGETS.get(name))
            for name, text in NAMES.items()
        ]  # fmt: skip
    return figures


def _start(peer: Peer, system: Installed, cache: Path, options: tuple[str, ...]) -> Run:
    """One start on a disk of its own, ended at the prompt."""
    with tempfile.TemporaryDirectory() as folder:
        command = peer.boot(system.kernel, system.initrd, "console=ttyS0", MEMORY, system.copied(Path(folder)))
        with running([*command, *options], environment(GASANG_NATIVE_CACHE=str(cache))) as machine:
            wall = machine.wait_for(PROMPT, LIMIT)
            run = Run(wall, cpu_seconds(machine.pid), machine.output())
            machine.ask_to_end()
    if options:
        wait_for_finishing(cache)
    return run
