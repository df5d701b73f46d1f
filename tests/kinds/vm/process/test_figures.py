"""Figures: the lines of smaps_rollup as bytes."""

from __future__ import annotations

from gasang.kinds.vm.process.figures import figures, memory_of

TEXT = """5581fdbbb000-7ffe1ad30000 ---p 00000000 00:00 0                          [rollup]
Rss:                3000 kB
Pss:                1500 kB
Shared_Clean:       1000 kB
Shared_Dirty:        200 kB
Private_Clean:       300 kB
Private_Dirty:      1500 kB
Swap:                  8 kB
Odd: many words here
"""


def test_kinds_of_memory() -> None:
    kib = 1 << 10
    assert memory_of(TEXT) == {"resident": 3000 * kib, "shared": 1200 * kib, "private": 1800 * kib, "swapped": 8 * kib}


def test_a_kernel_that_tells_nothing_gives_zeroes() -> None:
    assert set(memory_of("").values()) == {0}


def test_those_of_this_process() -> None:
    found = figures()
    assert 0 < found["private"] <= found["resident"]
    assert found["processor"] > 0
