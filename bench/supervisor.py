"""What a container's supervisor costs: its memory, its start, and the throughput of logs and streams.

    python bench/supervisor.py [--megabytes N] [--runs N] [--write-readme]

The peer of the start is a plain posix_spawn of the same program; throughputs are set beside a plain pipe into this process. Each figure is
the median of the runs.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from bench import figures, peers, readme
from bench.figures import Figure, Target

from gasang.host.syscalls import number
from gasang.kinds.container.supervisor.launch import Supervisor
from gasang.kinds.container.supervisor.logs import LogReader
from gasang.kinds.container.supervisor.settings import Settings
from gasang.kinds.container.supervisor.status import read_start
from support.supervised import plan_of, python

RATE = "MB/s"
LINE = b"2026-01-01 a line of a log as programs write them, with a number 0123456789 and some words at its end.\n"
WRITER = """
import os
block = {line!r} * 640
for _ in range({count}):
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(1, rest):]
"""


def fresh() -> Path:
    return Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))


def receive(connection: socket.socket) -> int:
    total, room = 0, bytearray(1 << 20)
    while size := connection.recv_into(room):
        total += size
    return total


def throughput(megabytes: int, *, log: bool, client: bool, multiplexed: bool = False) -> float:
    """Bytes a second from the process's first to its end told, log and client served."""
    folder, count = fresh(), megabytes * 10**6 // (len(LINE) * 640)
    with Supervisor.launch(
        Settings(log="log" if log else "", ephemeral=True), python(WRITER.format(line=LINE, count=count)), folder
    ) as made:
        made.subscribe()
        threads = []
        if client:
            here, there = socket.socketpair()
            with there:
                made.attach(there, multiplexed=multiplexed)
            threads = [threading.Thread(target=receive, args=(here,))]
            threads[0].start()
        begun = time.perf_counter()
        made.start()
        made.wait()
        for thread in threads:
            thread.join()
        taken = time.perf_counter() - begun
        made.reap()
    shutil.rmtree(folder)
    return count * 640 * len(LINE) / taken


def plain_pipe(megabytes: int) -> float:
    """The same writer into a pipe that is read here."""
    here, there = os.pipe()
    count = megabytes * 10**6 // (len(LINE) * 640)
    begun = time.perf_counter()
    arguments = [sys.executable, "-S", "-E", "-c", WRITER.format(line=LINE, count=count)]
    process = os.posix_spawn(sys.executable, arguments, {}, file_actions=[(os.POSIX_SPAWN_DUP2, there, 1)])
    os.close(there)
    room = bytearray(1 << 20)
    while os.readv(here, [room]):
        pass
    taken = time.perf_counter() - begun
    os.close(here)
    os.waitpid(process, 0)
    return count * 640 * len(LINE) / taken


def showing(megabytes: int) -> float:
    """Bytes of output a second that `logs` gives to a socket, framed."""
    folder, count = fresh(), megabytes * 10**6 // len(LINE)
    entry = b'{"log":"' + LINE[:-1] + b'\\n","stream":"stdout","time":"2026-01-01T00:00:00.123456789Z"}\n'
    (folder / "log").write_bytes(entry * count)
    here, there = socket.socketpair()
    thread = threading.Thread(target=receive, args=(here,))
    thread.start()
    begun = time.perf_counter()
    with there, LogReader(folder, "log", there.fileno(), multiplexed=True) as reader:
        reader.run()
        there.shutdown(socket.SHUT_RDWR)
    thread.join()
    taken = time.perf_counter() - begun
    shutil.rmtree(folder)
    return count * len(LINE) / taken


def start() -> float:
    """Seconds from `launch` to the program's first instruction, as the supervisor records it."""
    folder = fresh()
    begun = time.time_ns()
    with Supervisor.launch(Settings(start_at_once=True, ephemeral=True), plan_of("/bin/true"), folder) as made:
        made.reap()
    started = read_start(folder)
    shutil.rmtree(folder)
    assert started is not None
    return (started.started - begun) / 1e9


def plain_start() -> float:
    """Seconds of a posix_spawn, which returns when the program has been executed."""
    begun = time.perf_counter()
    process = os.posix_spawn("/bin/true", ["true"], {})
    taken = time.perf_counter() - begun
    os.waitpid(process, 0)
    return taken


def rests(process: int) -> None:
    """Wait until a supervisor waits without a limit: what it needed for the start has been given back then, and no event tells of it."""
    while True:
        call, *arguments = Path(f"/proc/{process}/syscall").read_text().split()
        if call == str(number("ppoll")) and int(arguments[2], 16) == 0:
            return
        time.sleep(0.01)


def memory(count: int) -> float:
    """Kilobytes of an idle supervisor's own share (PSS) among `count`."""
    folders = [fresh() for _ in range(count)]
    plan = plan_of("/bin/sleep", "1000")
    made = [Supervisor.launch(Settings(log="log", ephemeral=True), plan, folder) for folder in folders]
    for one in made:
        one.start()
    rests(made[0].process or 0)
    text = Path(f"/proc/{made[0].process}/smaps_rollup").read_text()
    for one, folder in zip(made, folders, strict=True):
        os.kill(one.process or 0, signal.SIGKILL)
        one.reap()
        one.close()
        shutil.rmtree(folder)
    found = re.search(r"Pss:\s+(\d+)", text)
    assert found is not None
    return float(found[1])


def of_runs(name: str, unit: str, measure: Callable[[], float], runs: int, scale: float, target: Target | None = None) -> Figure:
    """A line of the report: the median of the runs; the best of them in the note."""
    taken = [measure() * scale for _ in range(runs)]
    more_is_better = unit == RATE
    best = max(taken) if more_is_better else min(taken)
    note = f"best {figures.number(best)}" + ("; more is better" if more_is_better else "")
    found = Figure(name, unit, None, statistics.median(taken), None, target, note)
    print(f"{name:45} {statistics.median(taken):8.2f} {unit}, best {best:8.2f}", flush=True)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write-readme", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args()
    size, runs, facts = options.megabytes, options.runs, peers.host()
    start()
    found = [
        of_runs("launch to the program's start", "ms", start, 4 * runs, 1000),
        of_runs("posix_spawn of the same program", "ms", plain_start, 4 * runs, 1000),
        of_runs("memory of one, alone (PSS)", "kB", lambda: memory(1), 1, 1),
        of_runs("memory of one of twenty (PSS)", "kB", lambda: memory(20), 1, 1, Target("≤", 3000, "ours")),
    ]
    for name, log, client, multiplexed in (
        ("output to the log", True, False, False),
        ("output to a client", False, True, False),
        ("output to a client in frames", False, True, True),
        ("output to the log and to a client in frames", True, True, True),
    ):
        rate = partial(throughput, size, log=log, client=client, multiplexed=multiplexed)
        found.append(of_runs(name, RATE, rate, runs, 1e-6))
    found.append(of_runs("the same writer into a pipe", RATE, lambda: plain_pipe(size), runs, 1e-6))
    found.append(of_runs("logs shown in frames", RATE, lambda: showing(size), runs, 1e-6))
    if options.write_readme:
        readme.write("bench/supervisor.py", figures.as_markdown(found, "–"), {**facts, "load after": peers.load()})


if __name__ == "__main__":
    main()
