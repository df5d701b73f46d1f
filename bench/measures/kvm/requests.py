"""What a disk's request costs: a guest that reads one sector at a time, its notifications exits, or heard and served beside it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.figures import Figure, middle

from support.disk_guests import driven, until

SECONDS = 1.0
WARM = 100
"""Requests after which interrupts are raised by an eventfd and the queue is lent."""


def per_request(*, exits: bool) -> float:
    """Microseconds, as the guest counts them."""
    with tempfile.TemporaryDirectory() as folder, driven(Path(folder), set_up=False) as made:
        if exits:
            made.transport.bells = None
        made.set_up()
        made.vm.start()
        until(lambda: made.count() > WARM)
        begin, before = time.perf_counter(), made.count()
        time.sleep(SECONDS)
        taken, done = time.perf_counter() - begin, made.count() - before
        made.vm.stop()
        return taken / done * 1e6


def requests(runs: int) -> list[Figure]:
    """A disk's request."""
    found: dict[str, list[float]] = {"exits": [], "gasang": []}
    for _ in range(runs):
        for name, taken in found.items():
            taken.append(per_request(exits=name == "exits"))
    values = {name: middle(taken) for name, taken in found.items()}
    note = f"where each notification is an exit; best {min(found['exits']):.3g} and {min(found['gasang']):.3g}"
    return [Figure.of_peers("a disk's request (512 bytes read, one at a time)", "µs", values, None, "exits", note)]
