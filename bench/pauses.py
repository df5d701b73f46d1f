"""How long a machine stands still while it is kept or forked: measured within its process."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from bench.figures import Figure, Target

from gasang.kinds.vm.machine import VirtualMachine
from support.debian_guest import debian_at_its_prompt

BOUND = Target("≤", 10, "ours")


class Stopwatch:
    """Notes how long a machine stands still: from the wish to the moment in which its harts may go on."""

    def __init__(self, vm: VirtualMachine) -> None:
        self.pauses: list[float] = []
        close, open_ = vm.machine.gate.close, vm.machine.gate.open
        self._begun = 0.0

        def begin() -> None:
            self._begun = time.perf_counter()
            close()

        def end() -> None:
            self.pauses.append(1000 * (time.perf_counter() - self._begun))
            open_()

        vm.machine.gate.close, vm.machine.gate.open = begin, end  # type: ignore[method-assign]


def measured(runs: int) -> list[Figure]:
    """A snapshot's pause, and a fork's."""
    with tempfile.TemporaryDirectory() as place, debian_at_its_prompt() as (vm, screen):
        screen.ask("true")
        time.sleep(1)
        watch = Stopwatch(vm)
        begun = time.perf_counter()
        snapshot = vm.snapshot(Path(place), "prompt")
        note = f"all of it {time.perf_counter() - begun:.2f} s, {len(snapshot.index()) * 64 / 1024:.0f} MiB of memory kept"
        kept, watch.pauses[:] = watch.pauses[0], []
        for _ in range(runs):
            with vm.fork(lambda twin: 0) as twin:
                twin.wait()
    note_of_all = f"first {watch.pauses[0]:.1f}, longest of {runs} {max(watch.pauses):.1f}"
    return [
        Figure("snapshot: the machine's pause", "ms", None, kept, note=note),
        Figure("fork: the parent's pause", "ms", None, statistics.median(watch.pauses), target=BOUND, note=note_of_all),
    ]
