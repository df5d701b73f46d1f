"""Guest RAM of several ranges: what is not RAM is refused, what changes from outside is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from gasang.accel.kvm.memory import GuestRam
from gasang.core.protocols import GuestMemoryFault

PAGE = 4096
LOW, HIGH = (0, 16 * PAGE), (1 << 32, 8 * PAGE)


@pytest.fixture
def ram() -> Iterator[GuestRam]:
    made = GuestRam((LOW, HIGH))
    yield made
    made.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this host takes nothing back")
def test_what_is_discarded_is_zero_and_counts_as_written(ram: GuestRam) -> None:
    told: list[tuple[int, int]] = []
    ram.write(0, b"x" * LOW[1])
    ram.write(HIGH[0], b"y" * HIGH[1])
    ram.on_write(lambda offset, length: told.append((offset, length)))
    ram.discard(HIGH[0] + PAGE, 2 * PAGE)
    ram.discard(2 * PAGE, PAGE)
    ram.discard(5 * PAGE, 0)
    assert told == [(LOW[1] + PAGE, 2 * PAGE), (2 * PAGE, PAGE)]
    assert ram.read(HIGH[0], HIGH[1]) == b"y" * PAGE + bytes(2 * PAGE) + b"y" * (5 * PAGE)
    assert ram.read(0, 4 * PAGE) == b"x" * (2 * PAGE) + bytes(PAGE) + b"x" * PAGE


@pytest.mark.parametrize(
    ("address", "length"),
    [(LOW[1], 1), (LOW[1] - 1, 2), (HIGH[0] - 1, 1), (HIGH[0] + HIGH[1] - 1, 2), (0, 1 << 33), (1 << 63, 1), (0, -1)],
)
def test_what_is_not_ram_is_not_discarded(ram: GuestRam, address: int, length: int) -> None:
    with pytest.raises(GuestMemoryFault):
        ram.discard(address, length)
