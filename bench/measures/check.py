"""A Debian with systemd to its login prompt, each run of a compiled region repeated by the interpreter: whether they ever differ.

QEMU has nothing of the kind. A region that differs ends its machine, so that the prompt comes only where none did.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from bench.figures import Figure, Target
from bench.measures.cache import wait_for_finishing
from bench.measures.login import MEMORY, MIB, ON, PROMPT
from bench.peers import Peer, environment
from bench.processes import running
from bench.systemd import Installed
from bench.terminal import Terminal

from gasang.accel.soft.jit.difference import FOLDER
from gasang.native.cache import default_directory

LIMIT = 1800.0
CHECK = ("--jit", "check")
WAYS = (("nothing cached", CHECK), ("", ON), ("", ON), ("what three starts left cached", CHECK))
"""The starts with one code cache, in turn; those with a name are checked, and count."""
NONE = Target("≤", 0, "ours")


def check(ours: Peer, system: Installed) -> list[Figure]:
    """Seconds to the prompt of each checked start and what it was checked with. Raises MachineError where a region differs."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        home, cache = Path(folder) / "home", Path(folder) / "native"
        shutil.copytree(default_directory(), cache, ignore=shutil.ignore_patterns("regions"))
        for name, options in WAYS:
            wall = _start(ours, system, options, home, cache)
            if name:
                text = f"systemd to its login prompt, --jit check, {name}"
                left = sum(file.stat().st_size for file in (cache / "regions").rglob("*") if file.is_file())
                differences = len(list((home / "data" / FOLDER).glob("*")))
                figures += [
                    Figure(f"{text}: wall", "s", None, wall),
                    Figure(f"{text}: code cached in the end", "MiB", None, left / MIB),
                    Figure(f"{text}: regions that differ", "", None, differences, target=NONE),
                ]
    return figures


def _start(ours: Peer, system: Installed, options: tuple[str, ...], home: Path, cache: Path) -> float:
    """Seconds to the prompt, on a disk of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = ours.boot(system.kernel, system.initrd, "console=ttyS0", MEMORY, system.copied(Path(folder)))
        changes = environment(GASANG_NATIVE_CACHE=str(cache), GASANG_HOME=str(home))
        with running([*command, *options], changes, Terminal()) as machine:
            wall = machine.wait_for(PROMPT, LIMIT)
            machine.ask_to_end()
    wait_for_finishing(cache)
    return wall
