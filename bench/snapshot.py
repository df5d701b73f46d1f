"""Measures snapshots and forks of a 512 MiB Debian guest on the software machine. See bench/README.md.

    python bench/snapshot.py [--runs N] [--forks N] [--json] [--write-readme]

The guest is booted once and kept at its prompt. GASANG_HOME or the user's own folders have its image (`gasang pull debian:trixie`).
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "src")]

from bench import figures, peers, readme  # noqa: E402
from bench.figures import Figure, Target  # noqa: E402

from gasang.accel.soft.clock import first_moment  # noqa: E402
from gasang.cpus.riscv64.library import load  # noqa: E402
from gasang.images.control import ControlPort  # noqa: E402
from gasang.kinds.vm.machine import VirtualMachine  # noqa: E402
from gasang.kinds.vm.snapshot.guest import restored_guest  # noqa: E402
from gasang.kinds.vm.snapshot.snapshot import Snapshot  # noqa: E402
from support.debian_guest import Screen, debian_at_its_prompt  # noqa: E402

IDLE_SECONDS = 3.0
COLD = """
import sys
sys.path[:0] = [{tests!r}, {src!r}]
from pathlib import Path
from gasang.images.control import ControlPort
from gasang.kinds.vm.snapshot.guest import restored_guest
from gasang.kinds.vm.snapshot.snapshot import Snapshot
from support.debian_guest import Screen

screen = Screen()
with restored_guest(Snapshot.open(Path(sys.argv[1])), screen, ControlPort(lambda stage: None)) as (vm, ports):
    vm.start()
    ports.typed(b"echo $((6*7))\\n")
    screen.wait_for(b"42\\r")
    print("42", flush=True)
"""


def restore(folder: Path) -> float:
    """Seconds from a prepared process's wish to the first command's output."""
    screen = Screen()
    begun = time.perf_counter()
    with restored_guest(Snapshot.open(folder), screen, ControlPort(lambda stage: None)) as (vm, ports):
        vm.start()
        ports.typed(b"echo $((6*7))\n")
        screen.wait_for(b"42\r")
        return time.perf_counter() - begun


def apart(measure: Callable[[], float]) -> float:
    """What it measures in a forked process: each begins with what this one has loaded and nothing that another has done."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, repr(measure()).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        text = told.read()
    os.waitpid(child, 0)
    return float(text)


def cold_restore(folder: Path) -> float:
    """Seconds from the start of a Python process to the first command's output."""
    program = COLD.format(tests=str(ROOT / "tests"), src=str(ROOT / "src"))
    begun = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"42\n"
        return time.perf_counter() - begun


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
            self.pauses.append(time.perf_counter() - self._begun)
            open_()

        vm.machine.gate.close, vm.machine.gate.open = begin, end  # type: ignore[method-assign]


class Flock:
    """Twins of a machine, each of which runs a command, tells its output, and lives until it is told to end."""

    def __init__(self, vm: VirtualMachine, screen: Screen) -> None:
        self._vm, self._screen = vm, screen
        self._told, self._tell = os.pipe()
        self._ending, self._end = os.pipe()

    def one(self, cleanup: ExitStack) -> int:
        """Another; its process."""
        return cleanup.enter_context(self._vm.fork(self._body)).pid

    def _body(self, vm: VirtualMachine) -> int:
        os.close(self._end)
        self._screen.renew()
        vm.start()
        self._screen.type(b"echo $((6*7))\n")
        self._screen.wait_for(b"42\r")
        os.write(self._tell, b"x")
        os.read(self._ending, 1)
        return 0

    def wait_for(self, count: int) -> None:
        """Return when so many have told."""
        while count:
            count -= len(os.read(self._told, count))

    def close(self) -> None:
        """No more of them."""
        for descriptor in (self._told, self._tell, self._ending, self._end):
            os.close(descriptor)


def private_memory(pid: int) -> float:
    """MiB of a process that no other has."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(amount) for amount in re.findall(r"Private_(?:Clean|Dirty):\s+(\d+)", text)) / 1024


def forks(vm: VirtualMachine, screen: Screen, runs: int, count: int) -> list[Figure]:
    """The parent's pause, a flock, and the memory of one that is idle."""
    watch, flock = Stopwatch(vm), Flock(vm, screen)
    for _ in range(runs):
        with ExitStack() as cleanup:
            flock.one(cleanup)
            flock.wait_for(1)
    pauses = sorted(1000 * pause for pause in watch.pauses)
    with ExitStack() as cleanup:
        begun = time.perf_counter()
        pids = [flock.one(cleanup) for _ in range(count)]
        flock.wait_for(count)
        taken = time.perf_counter() - begun
        time.sleep(IDLE_SECONDS)
        memory = [private_memory(pid) for pid in pids]
    flock.close()
    all_pauses = f"first {1000 * watch.pauses[0]:.1f}, longest of {len(pauses)} {pauses[-1]:.1f}"
    return [
        Figure("fork: the parent's pause", "ms", None, statistics.median(pauses), None, Target("≤", 10, "ours"), all_pauses),
        Figure(f"{count} forks, each with a command's output", "s", None, taken, None, Target("≤", 3, "ours")),
        Figure(
            "private memory of an idle fork", "MiB", None, statistics.median(memory), None, Target("≤", 12, "ours"),
            f"of {count}; most {max(memory):.1f}",
        ),
    ]  # fmt: skip


def keep(vm: VirtualMachine, store: Path, name: str) -> tuple[Snapshot, Figure]:
    """A snapshot of the machine, and how long it stood still for it."""
    watch = Stopwatch(vm)
    begun = time.perf_counter()
    snapshot = vm.snapshot(store, name)
    note = f"all of it {time.perf_counter() - begun:.2f} s, {len(snapshot.index()) * 64 / 1024:.0f} MiB of memory kept"
    return snapshot, Figure("snapshot: the machine's pause", "ms", None, 1000 * watch.pauses[0], None, None, note)


def spread(name: str, times: list[float], target: Target | None = None, note: str = "") -> Figure:
    """The median of many, in milliseconds."""
    ordered = sorted(1000 * taken for taken in times)
    more = f"of {len(ordered)}: {ordered[0]:.1f} to {ordered[-1]:.1f}"
    return Figure(name, "ms", None, statistics.median(ordered), None, target, f"{more}; {note}" if note else more)


def measured(runs: int, count: int) -> list[Figure]:
    """All of it."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("XDG_CACHE_HOME")) as place:
        with debian_at_its_prompt() as (vm, screen):
            screen.ask("true")
            time.sleep(1)
            snapshot, kept = keep(vm, Path(place), "prompt")
        load()
        first_moment()
        restore(snapshot.path)
        with restored_guest(snapshot, Screen(), ControlPort(lambda stage: None)) as (vm, _):
            vm.start()
            time.sleep(1.5)  # in which it is noted which pages it needs
        warm = [apart(lambda: restore(snapshot.path)) for _ in range(runs)]
        cold = [cold_restore(snapshot.path) for _ in range(max(runs // 4, 3))]
        found = [
            kept,
            spread("restore to the first command's output", warm, Target("≤", 60, "ours"), "a prepared process"),
            spread("the same with a start of Python", cold),
        ]
    with debian_at_its_prompt() as (vm, screen):
        screen.ask("true")
        time.sleep(1)
        found += forks(vm, screen, runs, count)
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench/snapshot.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--forks", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write-readme", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args()
    facts = peers.host()
    found = measured(options.runs, options.forks)
    facts["load after"] = peers.load()
    print(figures.as_json(found, facts) if options.json else figures.as_text(found, "–"))
    if options.write_readme:
        readme.write("bench/snapshot.py", figures.as_markdown(found, "–"), facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
