"""The speed of the benchmark programs, under Linux or on the bare machine, by the guest's own clock."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.assets import bare_program, initrd, programs
from bench.figures import Figure, Target, geometric_mean, middle, quotient
from bench.measures.cache import wait_for_finishing
from bench.peers import Peer, environment
from bench.processes import MachineError, run

from gasang.native.cache import default_directory

Means = dict[str, tuple[tuple[str, ...], Target]]
"""Geometric means of a report by name: of which programs (of the group of that name, if none are named), and what they should reach."""

MEANS: Means = {"integer": ((), Target("≥", 0.5)), "floating": ((), Target("≥", 0.7)), "tlb": ((), Target("≥", 2.0))}
COMPILED: Means = {
    "integer": ((), Target("≥", 2.5)),
    "floating": ((), Target("≥", 4.0)),
    "tlb": ((), Target("≥", 5.0)),
    "small calls and strings": (("records", "procedures"), Target("≥", 3.5)),
    "lists, matrix, state machine": (("linked_list", "matrix", "state_machine"), Target("≥", 2.2)),
}
"""Of compiled code."""
COLD = Target("≥", 1.5)
"""The mean speed of compiled code, with what it takes to compile it."""
COLD_SCALE = 400
"""Percent of the usual work: about ten seconds under QEMU."""
RESULT = re.compile(r"^(\w+) ([0-9a-f]{16}) (\d+) (-?\d+)$", re.MULTILINE)
EXACT_SCALE = 5


@dataclass(frozen=True)
class Work:
    """What the programs do: percent of their usual work, and seconds that each runs before it is timed."""

    scale: int
    warm: int = 0

    def __str__(self) -> str:
        return f"scale={self.scale} warm={self.warm}"


@dataclass(frozen=True)
class Result:
    """One line that a program printed; `instructions` is -1 where it could not count."""

    name: str
    checksum: str
    nanoseconds: int
    instructions: int


def results(output: str) -> list[Result]:
    """The results in a console's text."""
    return [Result(name, checksum, int(time), int(count)) for name, checksum, time, count in RESULT.findall(output)]


Sample = dict[str, dict[str, list[float]]]
"""program → peer → seconds of each run."""

Once = Callable[[Peer], list[Result]]


def _sample(peers: Iterable[Peer], runs: int, once: Once, counts: dict[str, int]) -> Sample:
    """Run the peers in turn, `runs` times; equal programs must give equal checksums everywhere.

    `counts` takes what gasang counted, which is exact; QEMU's counter is none without -icount.
    """
    taken: Sample = defaultdict(lambda: defaultdict(list))
    checksums: dict[str, str] = {}
    for _ in range(runs):
        for peer in peers:
            for result in once(peer):
                taken[result.name][peer.name].append(result.nanoseconds / 1e9)
                if peer.name == "gasang" and result.instructions > 0:
                    counts[result.name] = result.instructions
                if checksums.setdefault(result.name, result.checksum) != result.checksum:
                    raise MachineError(f"{result.name} under {peer.name}: checksum {result.checksum} is not {checksums[result.name]}")
    return taken


def _figures(taken: Sample, counts: dict[str, int], means: Means) -> list[Figure]:
    """A line a program and the geometric means; ratios are speeds, ours over QEMU's."""
    figures, speeds = [], {}
    for name, group in programs().items():
        if name not in taken:
            continue
        qemu, ours = middle(taken[name]["qemu"]), middle(taken[name]["gasang"])
        ratio = quotient(qemu, ours)
        if ratio:
            speeds[name] = ratio
        count = counts.get(name)
        each = [f"{count / seconds / 1e6:.0f}" if seconds else "–" for seconds in (qemu, ours)] if count else []
        figures.append(Figure(f"{group}: {name}", "s", qemu, ours, ratio, note=f"{' / '.join(each)} M instr/s" if each else ""))
    for name, (chosen, target) in means.items():
        members = [program for program, group in programs().items() if program in (chosen or taken) and (chosen or group == name)]
        if members and set(members) <= taken.keys():
            mean = geometric_mean([speeds[member] for member in members]) if speeds.keys() >= set(members) else None
            figures.append(Figure(f"{name}: speed, geometric mean", "", None, None, mean, target))
    return figures


def linux(peers: list[Peer], kernel: Path, names: list[str], runs: int, work: Work, means: Means = MEANS) -> list[Figure]:
    """The programs as Linux processes, one boot for all of them each time."""

    def once(peer: Peer) -> list[Result]:
        found = _under_linux(peer, kernel, names, work, environment())
        wait_for_finishing(default_directory())
        return found

    counts: dict[str, int] = {}
    return _figures(_sample(peers, runs, once, counts), counts, means)


def _under_linux(peer: Peer, kernel: Path, names: list[str], work: Work, env: dict[str, str]) -> list[Result]:
    command = peer.boot(kernel, initrd(), f"console=ttyS0 quiet bench={','.join(names)} {work}")
    found = results(run(command, 1200, env).output)
    if [result.name for result in found] != names:
        raise MachineError(
            f"{peer.name}: results of {', '.join(result.name for result in found) or 'nothing'} instead of {', '.join(names)}"
        )
    return found


def cold(peers: list[Peer], kernel: Path, names: list[str], runs: int, scale: int) -> list[Figure]:
    """The programs under Linux, COLD_SCALE times `scale` percent of their work, begun cold, with an empty code cache."""

    def once(peer: Peer) -> list[Result]:
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder) / "native"
            shutil.copytree(default_directory(), cache, ignore=shutil.ignore_patterns("regions"))
            work = Work(COLD_SCALE * scale // 100)
            found = _under_linux(peer, kernel, names, work, environment(GASANG_NATIVE_CACHE=str(cache)))
            wait_for_finishing(cache)
            return found

    counts: dict[str, int] = {}
    return _figures(_sample(peers, runs, once, counts), counts, {"cold start": (tuple(names), COLD)})


def bare(peers: list[Peer], names: list[str], runs: int, work: Work, paging: bool, means: Means = MEANS) -> list[Figure]:
    """The programs in S-mode on the bare machine, a start each."""

    def once(peer: Peer) -> list[Result]:
        return [_one_bare(peer, name, work, paging) for name in names]

    counts = _counted_by_qemu(peers, names, work.scale)
    return _figures(_sample(peers, runs, once, counts), counts, means)


def _one_bare(peer: Peer, name: str, work: Work, paging: bool) -> Result:
    found = results(run(peer.boot(bare_program(name, paging), append=str(work), memory=128), 300).output)
    if len(found) != 1:
        raise MachineError(f"{name} under {peer.name} printed {len(found)} results")
    return found[0]


def _counted_by_qemu(peers: list[Peer], names: list[str], scale: int) -> dict[str, int]:
    """Instructions of each program at `scale`, counted by QEMU with -icount on a small part of the work."""
    counts = {}
    for peer in peers:
        if peer.name == "qemu":
            counting = Peer(peer.name, (*peer.start, "-icount", "shift=0"), peer.memory_flag)
            for name in names:
                counts[name] = _one_bare(counting, name, Work(EXACT_SCALE), paging=False).instructions * scale // EXACT_SCALE
    return counts
