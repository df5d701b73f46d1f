"""Ranges and what is taken out of them, against a set of bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gasang.host.ranges import PART, Marks, Ranges, overlapping, without

MARKS = st.lists(st.integers(0, 60), unique=True, max_size=12).map(sorted)


def ranges_of(marks: list[int]) -> Ranges:
    return tuple((start, end - start) for start, end in zip(marks[::2], marks[1::2], strict=False))


def members(ranges: Ranges) -> set[int]:
    return {byte for offset, length in ranges for byte in range(offset, offset + length)}


@given(MARKS, st.integers(0, 60), st.integers(1, 20))
def test_taking_out_is_a_difference_of_sets(marks: list[int], offset: int, length: int) -> None:
    ranges = ranges_of(marks)
    taken = set(range(offset, offset + length))
    left = without(ranges, offset, length)
    assert members(left) == members(ranges) - taken
    assert overlapping(ranges, offset, length) == bool(members(ranges) & taken)
    assert list(left) == sorted(left)
    assert all(size > 0 for _, size in left)


@given(st.lists(st.tuples(st.integers(0, 20 * PART - 1), st.integers(1, 3 * PART)), max_size=8), st.integers(1, PART))
def test_marks_tell_the_parts_that_were_touched(added: list[tuple[int, int]], cut: int) -> None:
    size = 20 * PART + cut
    marks = Marks(size)
    expected: set[int] = set()
    for offset, wanted in added:
        length = min(wanted, size - offset)
        marks.add(offset, length)
        expected |= set(range(offset // PART, (offset + length - 1) // PART + 1))
    found = list(marks.ranges())
    assert {part for offset, length in found for part in range(offset // PART, -(-(offset + length) // PART))} == expected
    assert all(offset + length <= size and length > 0 for offset, length in found)
    marks.clear()
    assert list(marks.ranges()) == []
