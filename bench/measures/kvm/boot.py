"""Debian's stock kernel to userspace on a real KVM: ours beside QEMU's microvm, inside the machine that the nested tests run in too."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from bench.figures import Figure, Target, middle
from bench.processes import MachineError

from gasang.cli.progress import Reporter, view_for
from support.nested.inputs import Inputs, Wish, inputs
from support.nested.machine import Nested, initramfs, tree

WISH = Wish(("busybox-static", "python3", "qemu-system-x86"))
SHIPPED = ("src/gasang", "tests/support/nested", "bench/measures/kvm")
MEMORY = 4096
CPUS = 2
LIMIT = 300.0


def kernel_boot(runs: int) -> list[Figure]:
    """Command to userspace."""
    taken: dict[str, list[float]] = {"qemu": [], "gasang": []}
    ours = initramfs(f"python3 -m bench.measures.kvm.peers {runs}", tree(*SHIPPED))
    with tempfile.TemporaryDirectory() as folder, Nested(_parts(), ours, Path(folder), MEMORY, CPUS) as nested:
        while (event := nested.event(LIMIT))["event"] != "end":
            if event["seconds"] < 0:
                raise MachineError(f"{event['peer']} never reached userspace; it said:\n{event['said']}")
            if not event["warm"]:
                taken[event["peer"]].append(event["seconds"])
    wall = {name: middle(seconds) for name, seconds in taken.items()}
    note = f"best {min(taken['qemu']):.3g} and {min(taken['gasang']):.3g}"
    return [Figure.of_peers("nested: stock kernel to userspace", "s", wall, Target("≤", 1.0), note=note)]


def _parts() -> Inputs:
    reporter = Reporter(view_for("auto", sys.stderr))
    try:
        return inputs(WISH, os.environ, reporter)
    finally:
        reporter.close()
