"""Start to power-off with the guest's hot code compiled: with an empty code cache, and with what earlier starts have left in it."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.assets import initrd
from bench.figures import Figure, Target, middle
from bench.peers import Peer, environment
from bench.processes import Machine, Run

from gasang.accel.soft.jit.finishing import LOCK
from gasang.native.cache import default_directory

LIMIT = 300.0
STARTS = 3
"""Starts with one cache: what the first finds hot is compiled beside and behind it, what the others add becomes less and less."""

ON = ("--jit", "on")
WAYS: list[tuple[str, tuple[str, ...]]] = [("gasang", ()), ("first", ON), ("second", ON), *[("", ON)] * (STARTS - 3), ("cached", ON)]
"""The starts with one cache, in turn. Those with a name count, and QEMU's runs are beside them."""


def cached_boot(peers: Sequence[Peer], kernel: Path, small: Path | None, runs: int) -> list[Figure]:
    """Wall and CPU time with `small` (our own initrd, which powers off at once, if None): of each start of WAYS that has a name."""
    image = small or initrd()
    taken: dict[str, list[Run]] = {}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder) / "native"
            shutil.copytree(default_directory(), cache, ignore=shutil.ignore_patterns("regions"))
            for name, options in WAYS:
                for peer in peers:
                    ours = peer.name == "gasang"
                    if name or ours:
                        taken.setdefault(name if ours else "qemu", []).append(_boot(peer, kernel, image, cache, options if ours else ()))
    figures: list[Figure] = []
    names = {"gasang": "interpreted", "first": "--jit on, nothing cached", "second": "second start", "cached": f"start {STARTS}"}
    targets = {"first": Target("≤", 0.7), "cached": Target("≤", 0.5)}
    for kind in ("wall", "cpu"):
        values = {name: middle([float(getattr(run, kind)) for run in its]) for name, its in taken.items()}
        figures += [
            Figure.of_peers(f"boot to power-off, {text}: {kind}", "s", {"qemu": values.get("qemu"), "gasang": values.get(name)},
                            targets.get(name) if kind == "wall" else None)
            for name, text in names.items()
        ]  # fmt: skip
    return figures


def _boot(peer: Peer, kernel: Path, image: Path, cache: Path, options: tuple[str, ...]) -> Run:
    """One start; what it has left to be compiled is done when this returns."""
    command = peer.boot(kernel, image, "console=ttyS0")
    machine = Machine([*command, *options], environment(GASANG_NATIVE_CACHE=str(cache)))
    try:
        run = machine.finish(LIMIT)
    finally:
        machine.end()
    if options:
        wait_for_finishing(cache)
    return run


def wait_for_finishing(cache: Path) -> None:
    """Return when what a machine that has ended left to be compiled is done: it would run beside what is measured next."""
    (cache / "regions").mkdir(exist_ok=True)
    with open(cache / "regions" / LOCK, "ab") as alone:  # taken before the machine's process has ended
        fcntl.flock(alone.fileno(), fcntl.LOCK_EX)
