"""Start to the login prompt of a Debian with systemd: interpreted, compiled with an empty code cache, and with what earlier starts left."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.figures import Figure, Target, middle
from bench.measures.cache import wait_for_finishing
from bench.peers import Peer, environment
from bench.processes import cpu_seconds, memory_of, running
from bench.systemd import Installed
from bench.terminal import Terminal

from gasang.native.cache import default_directory

PROMPT = "login: "
LIMIT = 300.0
MEMORY = 1024
MIB = 1 << 20
ON = ("--jit", "on")
STARTS = 3
"""Starts with one code cache."""
MEMORY_TARGET = Target("≤", 300, "ours")
TARGETS = {"first": Target("≤", 0.55), "cached": Target("≤", 0.35)}
NAMES = {"gasang": "interpreted", "first": "--jit on, nothing cached", "cached": f"start {STARTS}"}


class Taken(NamedTuple):
    """A start: seconds of wall time and of CPU, and bytes of private memory beside the guest's, at the prompt."""

    wall: float
    cpu: float
    own: int


def login(peers: Sequence[Peer], system: Installed, runs: int) -> list[Figure]:
    """Wall and CPU time of each start, a QEMU's before each of ours; memory of what compiles and of compiled code.

    What a start leaves to be compiled is done before the next, and not counted.
    """
    taken: dict[str, list[Taken]] = {}
    ways: list[tuple[str, tuple[str, ...]]] = [("gasang", ()), ("first", ON), *[("", ON)] * (STARTS - 2), ("cached", ON)]
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder) / "native"
            shutil.copytree(default_directory(), cache, ignore=shutil.ignore_patterns("regions"))
            for name, options in ways:
                for peer in peers:
                    ours = peer.name == "gasang"
                    if name or ours:
                        start = _start(peer, system, cache, options if ours else (), is_last=name == "cached")
                        taken.setdefault(name if ours else "qemu", []).append(start)
    figures: list[Figure] = []
    for kind in ("wall", "cpu"):
        values = {name: middle([float(getattr(one, kind)) for one in its]) for name, its in taken.items()}
        figures += [
            Figure.of_peers(f"systemd to its login prompt, {text}: {kind}", "s", {"qemu": values.get("qemu"), "gasang": values.get(name)},
                            TARGETS.get(name))
            for name, text in NAMES.items()
        ]  # fmt: skip
    if taken.get("gasang"):
        plain = max(one.own for one in taken["gasang"])
        more = max(one.own for name in ("first", "cached") for one in taken[name]) - plain
        figures.append(Figure("memory of compiler and compiled code", "MiB", None, more / MIB, target=MEMORY_TARGET))
    return figures


def _start(peer: Peer, system: Installed, cache: Path, options: tuple[str, ...], *, is_last: bool) -> Taken:
    """One start on a disk of its own, ended at the prompt; the last with a cache by force, so that it leaves nothing to be compiled."""
    with tempfile.TemporaryDirectory() as folder:
        command = peer.boot(system.kernel, system.initrd, "console=ttyS0", MEMORY, system.copied(Path(folder)))
        with running([*command, *options], environment(GASANG_NATIVE_CACHE=str(cache)), Terminal()) as machine:
            wall = machine.wait_for(PROMPT, LIMIT)
            taken = Taken(wall, cpu_seconds(machine.pid), memory_of(machine.pid, MEMORY * MIB).own)
            if not is_last:
                machine.ask_to_end()
    if options and not is_last:
        wait_for_finishing(cache)
    return taken
