"""Measures virtual machines: QEMU and gasang in turn, same kernel, same initrd, same programs. See bench/README.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0:1] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "src")]

from bench import figures, kernel, peers, readme, systemd  # noqa: E402
from bench.assets import programs  # noqa: E402
from bench.figures import Figure  # noqa: E402
from bench.measures import boot, cache, check, idle, login, parallel, start  # noqa: E402
from bench.measures import programs as speed  # noqa: E402
from bench.peers import Peer  # noqa: E402
from bench.processes import MachineError  # noqa: E402

from gasang.cli.progress import Reporter, view_for  # noqa: E402
from gasang.core.errors import GasangError  # noqa: E402
from guests.build import BuildError  # noqa: E402

WARM = 4
"""Seconds in which the hot code of one program is compiled."""


class Bench:
    """One invocation: its options, its peers, and a method for each thing that can be measured."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.failed = False
        found = {"qemu": peers.qemu(), "gasang": peers.gasang(tuple(options.gasang.split()), options.jit)}
        self._peers = [peer for name, peer in found.items() if peer and name in options.peers]
        if not self._peers:
            raise MachineError("none of the peers asked for is installed: apt install qemu-system-misc, or see --peers")

    def _kernel(self) -> Path:
        return self._options.kernel or kernel.stock_kernel()

    def _names(self) -> list[str]:
        return list(self._options.programs or programs())

    def _ours(self) -> list[Peer]:
        return [peer for peer in self._peers if peer.name == "gasang"]

    def _compiling(self) -> list[Peer]:
        """The peers, ours with its hot code compiled whatever was asked for."""
        ours = peers.gasang(tuple(self._options.gasang.split()), "on")
        return [ours if peer.name == ours.name else peer for peer in self._peers]

    def _means(self) -> speed.Means:
        return speed.MEANS if self._options.jit == "off" else speed.COMPILED

    def _work(self) -> speed.Work:
        warm = self._options.warm
        return speed.Work(self._options.scale, (0 if self._options.jit == "off" else WARM) if warm is None else warm)

    def programs(self) -> list[Figure]:
        """Programs under Linux."""
        return speed.linux(self._peers, self._kernel(), self._names(), self._options.runs, self._work(), self._means())

    def cold(self) -> list[Figure]:
        """Programs of ten seconds under Linux, hot code compiled, begun cold."""
        return speed.cold(self._compiling(), self._kernel(), self._names(), self._options.runs, self._options.scale)

    def parallel(self) -> list[Figure]:
        """A program of two threads with one vCPU and with two."""
        return parallel.parallel(self._peers, self._kernel(), self._options.runs, self._work())

    def bare(self) -> list[Figure]:
        """Programs on the bare machine."""
        return speed.bare(self._peers, self._names(), self._options.runs, self._work(), self._options.sv39, self._means())

    def boot(self) -> list[Figure]:
        """Kernel start to power-off."""
        return boot.kernel_boot(self._peers, self._kernel(), self._options.initrd, self._options.runs)

    def cache(self) -> list[Figure]:
        """Kernel start to power-off, hot code compiled: first start, and with a code cache."""
        return cache.cached_boot(self._peers, self._kernel(), self._options.initrd, self._options.runs)

    def systemd(self) -> list[Figure]:
        """Debian with systemd to its login prompt: interpreted, hot code compiled, and with a code cache."""
        return login.login(self._peers, self._installed(), self._options.runs)

    def check(self) -> list[Figure]:
        """Debian with systemd to its login prompt, compiled code checked against the interpreter."""
        return [figure for ours in self._ours() for figure in check.check(ours, self._installed())]

    def _installed(self) -> systemd.Installed:
        reporter = Reporter(view_for("auto", sys.stderr))
        try:
            return systemd.installed(peers.gasang(tuple(self._options.gasang.split())), reporter)
        finally:
            reporter.close()

    def debian(self) -> list[Figure]:
        """`gasang run --vm debian:trixie -- true`."""
        return [figure for ours in self._ours() for figure in boot.debian_command(ours, self._options.runs)]

    def idle(self) -> list[Figure]:
        """CPU and memory of a guest at its prompt."""
        return idle.idle(self._peers, self._kernel())

    def start(self) -> list[Figure]:
        """Start to first guest instruction."""
        return start.first_instruction(self._peers, self._kernel(), self._options.initrd, self._options.runs)

    def all(self) -> list[Figure]:
        """All of it but `bare`, as it stands in the README; what fails is told, and the rest measured."""
        found: list[Figure] = []
        for measure in (self.boot, self.programs, self.idle, self.start, self.debian):
            try:
                found += measure()
            except MachineError as error:
                print(f"bench: {error}", file=sys.stderr)
                self.failed = True
        return found


MEASURES: dict[str, Callable[[Bench], list[Figure]]] = {
    "programs": Bench.programs,
    "cold": Bench.cold,
    "parallel": Bench.parallel,
    "bare": Bench.bare,
    "boot": Bench.boot,
    "cache": Bench.cache,
    "systemd": Bench.systemd,
    "check": Bench.check,
    "debian": Bench.debian,
    "idle": Bench.idle,
    "start": Bench.start,
    "all": Bench.all,
}

OWN_TABLE = ("cold", "cache", "systemd", "check", "parallel")
"""Measures whose results have a table of their own in the README."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/vm.py", description=__doc__)
    listing = ", ".join(f"{name}: {(measure.__doc__ or '').rstrip('.')}" for name, measure in MEASURES.items())
    parser.add_argument("measure", choices=MEASURES, help=listing)
    parser.add_argument("--runs", type=int, default=5, help="runs of each peer, in turn; the median counts (default 5)")
    parser.add_argument("--scale", type=int, default=100, metavar="PERCENT", help="of each program's usual work (default 100)")
    parser.add_argument(
        "--warm", type=int, metavar="SECONDS", help=f"that a program runs before it is timed (default {WARM} with --jit on)"
    )
    parser.add_argument("--programs", nargs="+", choices=programs(), metavar="NAME", help=f"only these of {', '.join(programs())}")
    parser.add_argument("--sv39", action="store_true", help="bare programs with 4 KiB pages")
    parser.add_argument("--peers", nargs="+", choices=("qemu", "gasang"), default=("qemu", "gasang"), help="only these")
    parser.add_argument("--gasang", default="", metavar="COMMAND", help="how to call gasang (default: this tree's)")
    parser.add_argument("--jit", choices=("off", "on"), default="off", help="whether gasang compiles hot code (default off)")
    parser.add_argument("--kernel", type=Path, help="a riscv64 kernel (default: Debian's, fetched once)")
    parser.add_argument("--initrd", type=Path, help="for boot and start: an initrd that powers off by itself (default: ours)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write-readme", action="store_true", help="put the table into bench/README.md")
    return parser


def _place(options: argparse.Namespace) -> str:
    """Which of README's tables is this measurement's."""
    own = options.measure in OWN_TABLE
    return " ".join(["bench/vm.py", *([options.measure] if own else ["--jit on"] if options.jit == "on" else [])])


def main() -> int:
    """Measure, then print; 1 if a machine or a build failed."""
    options = _parser().parse_args()
    machine = peers.machine()
    try:
        bench = Bench(options)
        found = MEASURES[options.measure](bench)
    except (MachineError, BuildError, GasangError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    machine["load after"] = peers.load()
    print(figures.as_json(found, machine) if options.json else figures.as_text(found))
    if options.write_readme:
        readme.write(_place(options), figures.as_markdown(found), machine)
    return int(bench.failed)


if __name__ == "__main__":
    sys.exit(main())
