"""What an exit costs: a guest that stores to a port without end, under our machine and under the bare loop in C, in turn."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from bench.assets import SOURCES
from bench.figures import Figure, Target, middle

from gasang.accel.kvm.machine import KvmMachine
from gasang.core.protocols import State
from gasang.devices.syscon import PowerAction, PowerRequest
from guests.build import BuildError
from support.kvm_guests import machine, real_mode

EXITS = 20_000
CODE = b"\xe6\x10\xeb\xfc"
"""again: out 0x10, al; jmp again"""


class Counter:
    """A device that ends the machine after so many stores; it notes when it saw the first."""

    size = 1

    def __init__(self, made: KvmMachine, exits: int) -> None:
        self._made = made
        self._left = exits
        self.begin = self.end = 0.0

    def read(self, offset: int, width: int) -> int:
        """Nothing."""
        return 0

    def write(self, offset: int, width: int, value: int) -> None:
        """Count."""
        if not self.begin:
            self.begin = time.perf_counter()
        if self._left:
            self._left -= 1
            return
        self.end = time.perf_counter()
        self._made.on_power(PowerRequest(PowerAction.OFF))

    def reset(self) -> None:
        """Nothing."""

    def save(self) -> State:
        """Nothing."""
        return {"version": 1}

    def load(self, state: State) -> None:
        """Nothing."""


def ours(exits: int) -> float:
    """Nanoseconds of one exit in our machine, from its table to a device and back."""
    with machine() as made:
        counter = Counter(made, exits)
        made.ports.attach("counter", 0x10, counter)
        real_mode(made, CODE)
        made.start()
        made.join()
        return (counter.end - counter.begin) * 1e9 / exits


def compiled(folder: Path) -> Path:
    """The bare loop. Raises BuildError."""
    program = folder / "exits"
    command = ["gcc", "-O2", "-Wall", str(SOURCES / "exits.c"), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(done.stderr)
    return program


def exits(runs: int) -> list[Figure]:
    """An exit handled."""
    theirs, own = [], []
    with tempfile.TemporaryDirectory() as folder:
        program = compiled(Path(folder))
        for _ in range(runs):
            done = subprocess.run([str(program), str(EXITS), "1"], capture_output=True, text=True, check=False)
            if done.returncode:
                raise BuildError(f"the bare loop ended with {done.returncode}: {done.stderr}")
            theirs.append(float(done.stdout) / 1000)
            own.append(ours(EXITS) / 1000)
    values = {"bare": middle(theirs), "gasang": middle(own)}
    note = f"the bare loop in C; best {min(theirs):.3g} and {min(own):.3g}"
    return [Figure.of_peers("an exit handled (port write)", "µs", values, Target("≤", 1.4), "bare", note)]
