"""Measures machines under KVM: boots in a machine with a real one, exits on this host's. See bench/README.md."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0:1] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "src")]

from bench import figures, peers, readme  # noqa: E402
from bench.figures import Figure  # noqa: E402
from bench.measures.kvm.boot import kernel_boot  # noqa: E402
from bench.measures.kvm.exits import exits  # noqa: E402
from bench.measures.kvm.requests import requests  # noqa: E402
from bench.processes import MachineError  # noqa: E402

from gasang.core.errors import GasangError  # noqa: E402
from guests.build import BuildError  # noqa: E402
from support.nested.machine import NestedError  # noqa: E402

MEASURES: dict[str, Callable[[int], list[Figure]]] = {"boot": kernel_boot, "exits": exits, "requests": requests}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/kvm.py", description=__doc__)
    listing = ", ".join(f"{name}: {(measure.__doc__ or '').rstrip('.')}" for name, measure in MEASURES.items())
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"only these (default all): {listing}")
    parser.add_argument("--runs", type=int, default=5, help="of each peer, in turn; the median counts (default 5)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write-readme", action="store_true", help="put the table into bench/README.md")
    return parser


def main() -> int:
    """Measure, then print; 1 if something failed, 2 for a measure there is not."""
    options = _parser().parse_args()
    unknown = [name for name in options.measures if name not in MEASURES]
    if unknown:
        print(f"bench: there is no measure {unknown[0]}; choose from {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    machine = peers.machine() | {"kvm": _kvm()}
    try:
        found = [figure for name in options.measures or MEASURES for figure in MEASURES[name](max(options.runs, 1))]
    except (MachineError, BuildError, NestedError, GasangError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    machine["load after"] = peers.load()
    print(figures.as_json(found, machine) if options.json else figures.as_text(found, "peer"))
    if options.write_readme:
        readme.write("bench/kvm.py", figures.as_markdown(found, "peer"), machine)
    return 0


def _kvm() -> str:
    """Which module this host's /dev/kvm is of."""
    names = [name for name in ("kvm_intel", "kvm_amd", "kvm_pvm") if os.path.exists(f"/sys/module/{name}")]
    return ", ".join(names) or ("there is one" if os.path.exists("/dev/kvm") else "none")


if __name__ == "__main__":
    sys.exit(main())
