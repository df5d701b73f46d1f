"""Measures the guest agent of a 512 MiB Debian guest on the software machine. See bench/README.md.

    python bench/agent.py [--runs N] [--megabytes N] [--json] [--write-readme]

The guest is booted once. GASANG_HOME or the user's own folders have its image (`gasang pull debian:trixie`).
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "src")]

from bench import figures, peers, readme  # noqa: E402
from bench.figures import Figure, Target  # noqa: E402

from gasang.kinds.vm.agent.client import Agent, Wants  # noqa: E402
from gasang.kinds.vm.sockets import GUEST_SOCKET  # noqa: E402
from support.debian_guest import debian_at_its_prompt  # noqa: E402

RATE = "MB/s"
WARM = 5


def seconds(doing: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    doing()
    return time.perf_counter() - begun


def middle(doing: Callable[[], object], runs: int) -> tuple[float, float]:
    """Milliseconds: the median, and what nine of ten runs keep."""
    for _ in range(WARM):
        doing()
    taken = sorted(seconds(doing) * 1000 for _ in range(runs))
    return statistics.median(taken), taken[int(len(taken) * 0.9)]


def resident(agent: Agent) -> float:
    """KiB that the agent's process has, shared ones among them."""
    said = agent.run(["cat", f"/proc/{agent.pid}/status"]).output
    found = re.search(rb"VmRSS:\s+(\d+) kB", said)
    assert found, said
    return float(found.group(1))


def output_rate(agent: Agent, megabytes: int) -> float:
    """Megabytes a second out of the guest."""
    size, got = megabytes * 10**6, 0

    def take(stream: int, data: bytes) -> None:
        nonlocal got
        got += len(data)

    with agent.exec(["head", "-c", str(size), "/dev/zero"]) as running:
        taken = seconds(lambda: running.run(take))
    assert got == size, got
    return megabytes / taken


def input_rate(agent: Agent, megabytes: int) -> float:
    """Megabytes a second into the guest."""
    with agent.exec(["sh", "-c", "cat >/dev/null"], streams=Wants(input=True)) as running:
        return megabytes / seconds(lambda: running.run(lambda stream, data: None, bytes(megabytes * 10**6)))


def most(late: float) -> str:
    """A note."""
    return f"nine of ten ≤ {late:.1f} ms"


def measured(runs: int, megabytes: int) -> list[Figure]:
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="gas-") as folder, debian_at_its_prompt(sockets=Path(folder)):
        agent = Agent.connect(Path(folder) / GUEST_SOCKET)
        agent.run(["true"])
        hello, hello_late = middle(agent.hello, runs)
        true, true_late = middle(lambda: agent.run(["true"]), runs)
        shell, shell_late = middle(lambda: agent.run(["sh", "-c", "echo $((6*7))"]), runs)
        out, into = output_rate(agent, megabytes), input_rate(agent, megabytes)
        size = resident(agent)
    bound, small = Target("≤", 30, "ours"), Target("≤", 1024, "ours")
    return [
        Figure("agent: connection and an answer, median", "ms", None, hello, note=most(hello_late)),
        Figure("agent: `true`, from connection to exit code, median", "ms", None, true, target=bound, note=most(true_late)),
        Figure("agent: `sh -c 'echo …'`, median", "ms", None, shell, note=most(shell_late)),
        Figure("agent: output of a command", RATE, None, out),
        Figure("agent: input of a command", RATE, None, into),
        Figure("agent: resident memory in the guest", "KiB", None, size, target=small),
    ]


def main() -> int:
    """Measure, print, and note."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write-readme", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args()
    facts = peers.host()
    found = measured(options.runs, options.megabytes)
    facts["load after"] = peers.load()
    print(figures.as_json(found, facts) if options.json else figures.as_text(found, "–"))
    if options.write_readme:
        readme.write("bench/agent.py", figures.as_markdown(found, "–"), facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
