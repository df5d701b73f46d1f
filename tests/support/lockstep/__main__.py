"""`make conformance`, or `python -m support.lockstep --count 10000000` with src and tests on PYTHONPATH.

Random programs on our processor and on Spike, until as many instructions as asked have been compared.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence

from gasang.cpus.riscv64.trap import INTERRUPT
from support.lockstep.duel import Difference, Duel

EVERY = 5.0
"""Seconds between two lines of progress."""


class Report:
    """Tells how far the run is, a line every few seconds, with the time it will still take."""

    def __init__(self, duel: Duel, count: int) -> None:
        self._duel = duel
        self._count = count
        self._begin = self._shown = time.monotonic()

    def at(self, seed: int) -> None:
        """Program `seed` is done."""
        now, done = time.monotonic(), self._duel.tally.instructions
        if now < self._shown + EVERY:
            return
        self._shown = now
        left = (now - self._begin) * (self._count / max(done, 1) - 1)
        print(f"  {done:,} instructions ({done / self._count:.0%}), program {seed}, about {max(left, 0):.0f} s left", flush=True)

    def end(self) -> None:
        """What was compared in all."""
        tally = self._duel.tally
        print(
            f"{tally.instructions:,} instructions in {tally.blocks:,} blocks, {tally.overwritten} not compared, "
            f"{tally.reconciled} reconciled, {tally.abandoned} programs left, {time.monotonic() - self._begin:.1f} s"
        )
        print("traps: " + ", ".join(f"{cause & ~INTERRUPT}: {count:,}" for cause, count in sorted(self._duel.traps.items())))


def run(duel: Duel, count: int, first: int, keep_going: int) -> int:
    """Run programs from number `first` on until `count` instructions have been compared; how many differed, `keep_going` at most."""
    report, seed, failures = Report(duel, count), first, 0
    while duel.tally.instructions < count and failures < keep_going:
        try:
            duel.run(seed)
        except Difference as difference:
            failures += 1
            print(difference, end="\n\n", flush=True)
        report.at(seed)
        seed += 1
    report.end()
    print(f"programs {first} to {seed - 1}: " + (f"{failures} differ" if failures else "no difference"))
    return failures


def main(words: Sequence[str] | None = None) -> int:
    """1 if the machines differ."""
    parser = argparse.ArgumentParser(prog="python -m support.lockstep")
    parser.add_argument("--count", type=int, default=1_000_000, help="instructions to compare")
    parser.add_argument("--seed", type=int, help="number of the first program (default: a random one)")
    parser.add_argument("--keep-going", type=int, default=1, metavar="N", help="report this many differences before giving up")
    options = parser.parse_args(words)
    seed = random.getrandbits(32) if options.seed is None else options.seed
    print(f"lock-step with Spike: {options.count:,} instructions of random programs, from seed {seed} on", flush=True)
    return 1 if run(Duel(), options.count, seed, options.keep_going) else 0


if __name__ == "__main__":
    sys.exit(main())
