"""Measures restores, forks and commands of a 512 MiB Debian guest on the software machine behind a daemon. See bench/README.md.

    python bench/snapshot.py [--runs N] [--forks N] [--json] [--write-readme]

Root. The daemon is one of its own. GASANG_HOME or the user's own folders have the image (`gasang pull debian:trixie`).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "src")]

from bench import figures, pauses, peers, readme  # noqa: E402
from bench.figures import Figure, Target  # noqa: E402

import gasang  # noqa: E402
from gasang.api.machine import Machine  # noqa: E402
from gasang.core.paths import cache_folder, data_folder  # noqa: E402
from gasang.native.cache import default_directory  # noqa: E402
from support.debian_guest import IMAGE, PROMPT  # noqa: E402
from support.engines.verbs import Gasang, served  # noqa: E402
from support.seat import Seat  # noqa: E402

IDLE_SECONDS = 3.0
STANDING_SECONDS = 30.0
AT_ONCE = 4
"""Commands asked for at the same time in a flock of twins."""
SAYS = ["sh", "-c", "echo $((6*7))"]


@contextmanager
def behind_a_daemon() -> Iterator[Gasang]:
    """The command with a daemon of its own that has the image, as on a machine where it has run before: bytecode is kept."""
    here = dict(os.environ)
    with tempfile.TemporaryDirectory() as bytecode:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ |= {"GASANG_NATIVE_CACHE": str(default_directory()), "PYTHONPYCACHEPREFIX": bytecode}
        try:
            with served() as command:
                shutil.copytree(data_folder(here) / "images", command.home / "data" / "images", dirs_exist_ok=True)
                (command.home / "cache").mkdir(exist_ok=True)
                (command.home / "cache" / "ready").symlink_to(cache_folder(here) / "ready")
                os.environ["GASANG_HOME"] = str(command.home)
                yield command
        finally:
            os.environ.clear()
            os.environ |= here


@contextmanager
def debian(command: Gasang, network: str) -> Iterator[Machine]:
    """At its prompt."""
    command("run", "-d", "--name", "web", "--network", network, "--memory", "512M", "--arch", "riscv64", "--vm", IMAGE)
    seat = Seat(command.home, "web")
    seat.until(PROMPT)
    with gasang.machine("web") as vm:
        says_its_line(vm)
        yield vm
    seat.close()


def says_its_line(vm: Machine) -> None:
    """A command and its output."""
    done = vm.exec(SAYS)
    assert done.output == b"42\n", done


def seconds(doing: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    doing()
    return time.perf_counter() - begun


def spread(name: str, times: list[float], target: Target | None = None, note: str = "") -> Figure:
    """The median of many, in milliseconds."""
    ordered = sorted(1000 * taken for taken in times)
    more = f"of {len(ordered)}: {ordered[0]:.1f} to {ordered[-1]:.1f}"
    return Figure(name, "ms", None, statistics.median(ordered), None, target, f"{more}; {note}" if note else more)


def restores(command: Gasang, vm: Machine, runs: int) -> list[Figure]:
    """From Python and as typed: the first, and those of a machine that stands ready."""

    def restore_and_ask() -> None:
        vm.restore("base")
        says_its_line(vm)

    def typed() -> None:
        command("restore", "web", "base")
        assert command("exec", "web", *SAYS) == "42\n"

    command("snapshot", "create", "web", "base")
    first = seconds(restore_and_ask)
    wait_until_one_stands(command)
    ready = [seconds(restore_and_ask) for _ in range(runs)]
    as_typed = [seconds(typed) for _ in range(runs)]
    return [
        spread("restore to a command's output", ready, Target("≤", 60, "ours"), f"the first {1000 * first:.0f}"),
        spread("`gasang restore`, then `gasang exec`", as_typed, note="two starts of Python among it"),
    ]


def wait_until_one_stands(command: Gasang) -> None:
    """Return when a process stands ready for the next restore; raise TimeoutError."""
    end = time.monotonic() + STANDING_SECONDS
    while not list((command.home / "data" / "containers").glob("family-*/*.standing/machine")):
        if time.monotonic() > end:
            raise TimeoutError("nothing stands ready for the next restore")
        time.sleep(0.1)
    time.sleep(1)


def execs(command: Gasang, vm: Machine, runs: int) -> list[Figure]:
    """A command in a guest that runs."""
    asked = [seconds(lambda: vm.exec(["true"])) for _ in range(runs)]
    typed = [seconds(lambda: command("exec", "web", "true")) for _ in range(runs)]
    start = [seconds(lambda: command("--version")) for _ in range(runs)]
    return [
        spread("exec of `true`, with its exit code", asked, Target("≤", 30, "ours")),
        spread("`gasang exec` of it", typed, note=f"`gasang --version` takes {1000 * statistics.median(start):.0f}"),
    ]


def forks(command: Gasang, vm: Machine, count: int) -> list[Figure]:
    """A flock, each of which runs a command; one that is idle; and as typed."""
    [alone] = vm.forks(1)
    time.sleep(IDLE_SECONDS)
    memory_alone = private_memory(alone)
    alone.remove(force=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun = time.perf_counter()
        twins = vm.forks(count)
        forked = time.perf_counter() - begun
        for _ in pool.map(says_its_line, twins):
            pass
        taken = time.perf_counter() - begun
    time.sleep(IDLE_SECONDS)
    memory = [private_memory(twin) for twin in twins]
    for twin in twins:
        twin.remove(force=True)
    typed = seconds(lambda: command("fork", "web"))
    return [
        Figure(f"{count} forks, each with a command's output", "s", None, taken, None, Target("≤", 3, "ours"), f"forked in {forked:.2f}"),
        Figure("`gasang fork`", "ms", None, 1000 * typed, note="a start of Python among it"),
        Figure(
            "private memory of an idle fork, all of its processes", "MiB", None, statistics.median(memory), None, Target("≤", 12, "ours"),
            f"of {count} that ran a command, most {max(memory):.1f}; {memory_alone:.1f} of one alone, which shares with its parent only",
        ),
    ]  # fmt: skip


def private_memory(machine: Machine) -> float:
    """MiB that a machine's processes have and no other: its own, its supervisor, its stand-in."""
    supervisors = [path for path in Path("/proc").glob("[0-9]*") if machine.id.encode() in words_of(path)]
    pids = [int(machine.inspect()["State"]["Pid"])]
    for path in supervisors:
        pids += [int(path.name), *map(int, (path / "task" / path.name / "children").read_text().split())]
    return sum(map(private_of, set(pids)))


def words_of(process: Path) -> bytes:
    """Its command line; nothing of one that has ended."""
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def private_of(pid: int) -> float:
    """MiB of one process."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(amount) for amount in re.findall(r"Private_(?:Clean|Dirty):\s+(\d+)", text)) / 1024


def measured(runs: int, count: int, network: str) -> list[Figure]:
    """All of it."""
    with behind_a_daemon() as command:
        with debian(command, network) as vm:
            found = [*restores(command, vm, runs), *execs(command, vm, runs)]
        with debian(command, network) as vm:
            found += forks(command, vm, count)
            for twin in gasang.machines():
                if twin.id != vm.id:
                    twin.remove(force=True)
    return [*found, *pauses.measured(runs)]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench/snapshot.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--forks", type=int, default=50)
    parser.add_argument("--network", default="bridge", help="what the machine is joined to: bridge, as when nothing is said, or none")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write-readme", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args()
    facts = peers.host()
    found = measured(options.runs, options.forks, options.network)
    facts["load after"] = peers.load()
    print(figures.as_json(found, facts) if options.json else figures.as_text(found, "–"))
    if options.write_readme:
        readme.write("bench/snapshot.py", figures.as_markdown(found, "–"), facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
