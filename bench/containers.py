"""Measures container engines: Debian's dockerd and gasang in turn, same client, same images. See bench/README.md."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0:1] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "src")]

from bench import figures, peers, readme  # noqa: E402
from bench.figures import Figure  # noqa: E402
from bench.measures.containers.commands import at_once, client_alone, execute, listing, own_listing, run  # noqa: E402
from bench.measures.containers.memory import memory  # noqa: E402
from bench.measures.containers.networks import networks  # noqa: E402
from bench.measures.containers.pulls import pull  # noqa: E402
from bench.measures.containers.sides import PEER, Side, sides  # noqa: E402
from bench.measures.containers.streams import streams  # noqa: E402

from support.engines.engine import ENGINES, EngineError, OwnNetwork  # noqa: E402

Measure = Callable[[Sequence[Side], int], list[Figure]]
MEASURES: dict[str, Measure] = {
    "client": client_alone,
    "run": run,
    "at-once": at_once,
    "exec": execute,
    "ps": listing,
    "own-ps": own_listing,
    "memory": memory,
    "networks": networks,
    "streams": streams,
    "pull": pull,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/containers.py", description=__doc__)
    listing = ", ".join(f"{name}: {(measure.__doc__ or '').rstrip('.')}" for name, measure in MEASURES.items())
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"only these (default all): {listing}")
    parser.add_argument(
        "--runs", type=int, default=20, help="runs of each engine, in turn; the median counts; long ones a quarter (default 20)"
    )
    parser.add_argument("--engines", nargs="+", choices=tuple(ENGINES), default=tuple(reversed(ENGINES)), help="only these")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write-readme", action="store_true", help="put the table into bench/README.md")
    return parser


def _facts(found: Sequence[Side]) -> dict[str, str]:
    versions = {side.name: side.docker("version", "--format", "{{.Server.Version}}").text for side in found if side.name == PEER}
    client = subprocess.run([*found[0].docker.program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {**peers.host(), **versions, "client": client}


def measure(wanted: Sequence[str], names: Sequence[str], runs: int) -> tuple[list[Figure], dict[str, str], bool]:
    """The figures, facts about the machine, and whether something failed; what fails is told, and the rest measured."""
    figures_found: list[Figure] = []
    failed = False
    with sides(names) as found:
        facts = _facts(found)
        for name in wanted:
            print(f"{name} …", file=sys.stderr, flush=True)
            try:
                figures_found += MEASURES[name](found, runs)
            except (OSError, AssertionError, subprocess.SubprocessError) as error:
                print(f"bench: {name}: {error}", file=sys.stderr)
                failed = True
    facts["load after"] = peers.load()
    return figures_found, facts, failed


def main() -> int:
    """Measure, then print; 1 if an engine or a command failed."""
    options = _parser().parse_args()
    unknown = set(options.measures) - set(MEASURES)
    missing = [name for name in ("docker", "busybox", "docker-registry") if not shutil.which(name)]
    if unknown or missing or os.geteuid() != 0:
        why = (
            f"there is no measure {', '.join(sorted(unknown))}"
            if unknown
            else f"not installed: {', '.join(missing)}"
            if missing
            else "needs root"
        )
        print(f"bench: {why}", file=sys.stderr)
        return 2
    names = [name for name in options.engines if name != PEER or shutil.which("dockerd") or os.environ.get("GASANG_DOCKERD_BIN")]
    OwnNetwork().enter()
    try:
        found, facts, failed = measure(options.measures or list(MEASURES), names, options.runs)
    except (EngineError, OSError, AssertionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(figures.as_json(found, facts) if options.json else figures.as_text(found, PEER))
    if options.write_readme:
        readme.write("bench/containers.py", figures.as_markdown(found, PEER), facts)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
