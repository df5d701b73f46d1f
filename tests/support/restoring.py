"""Restores snapshots of computing guests in this process, one after the other: a program to be run in a process of its own.

Its arguments are folders of snapshots. For each it prints a line: what the guest said, then how it ended.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gasang.kinds.vm.snapshot.snapshot import Snapshot, Wiring


def restored(folder: Path) -> str:
    """What the guest of a snapshot says until it switches its machine off."""
    said = bytearray()
    with Snapshot.open(folder).restore(Wiring(said.extend)) as vm:
        vm.start()
        vm.join()
        return f"{said.decode()} {vm.power.action.name if vm.power else 'stopped'}"


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(restored(Path(argument)), flush=True)
