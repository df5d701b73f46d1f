"""`python -m support.lockstep --count 10000000`, with src and tests on PYTHONPATH.

Random programs on our processor and on Spike, until told to stop.
"""

from __future__ import annotations

import argparse
import sys
import time

from gasang.cpus.riscv64.trap import INTERRUPT
from support.lockstep.duel import Difference, Duel


def main() -> int:
    """Run programs until `--count` instructions have been compared; 1 if the machines differ."""
    parser = argparse.ArgumentParser(prog="python -m support.lockstep")
    parser.add_argument("--count", type=int, default=1_000_000, help="instructions to compare")
    parser.add_argument("--seed", type=int, default=0, help="number of the first program")
    parser.add_argument("--keep-going", type=int, default=1, metavar="N", help="report this many differences before giving up")
    options = parser.parse_args()
    duel, seed, failures, begin, shown = Duel(), options.seed, 0, time.monotonic(), 0.0
    while duel.tally.instructions < options.count and failures < options.keep_going:
        try:
            duel.run(seed)
        except Difference as difference:
            failures += 1
            print(difference, end="\n\n")
        seed += 1
        elapsed = time.monotonic() - begin
        if elapsed > shown + 5:
            shown = elapsed
            left = elapsed * (options.count / max(duel.tally.instructions, 1) - 1)
            print(f"{duel.tally.instructions:,} instructions, program {seed}, {left:.0f} s left", file=sys.stderr)
    tally = duel.tally
    print(
        f"{tally.instructions:,} instructions in {tally.blocks:,} blocks, {tally.overwritten} not compared, "
        f"{tally.reconciled} reconciled, {tally.abandoned} programs left, {time.monotonic() - begin:.1f} s"
    )
    print("traps: " + ", ".join(f"{cause & ~INTERRUPT}: {count:,}" for cause, count in sorted(duel.traps.items())))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
