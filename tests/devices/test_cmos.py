"""The PC's clock: what drivers read of it, how they set it, and that nothing they store makes it fail."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.devices.cmos import B_24H, B_BINARY, CENTURY, DAY, HOURS, MINUTES, MONTH, SECONDS, WEEKDAY, YEAR, B, C, Cmos, D

WHEN = datetime(2026, 11, 21, 22, 5, 9, tzinfo=UTC)


def at(clock: Cmos, register: int) -> int:
    clock.write(0, 1, register)
    return clock.read(1, 1)


def put(clock: Cmos, register: int, value: int) -> None:
    clock.write(0, 1, register)
    clock.write(1, 1, value)


def cmos() -> Cmos:
    return Cmos(WHEN.timestamp)


FIELDS = (CENTURY, YEAR, MONTH, DAY, WEEKDAY, HOURS, MINUTES, SECONDS)


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        (B_24H, [0x20, 0x26, 0x11, 0x21, 7, 0x22, 0x05, 0x09]),
        (B_24H | B_BINARY, [20, 26, 11, 21, 7, 22, 5, 9]),
        (0, [0x20, 0x26, 0x11, 0x21, 7, 0x90, 0x05, 0x09]),
        (B_BINARY, [20, 26, 11, 21, 7, 10 | 0x80, 5, 9]),
    ],
)
def test_the_time_in_every_notation(mode: int, shown: list[int]) -> None:
    clock = cmos()
    put(clock, B, mode)
    assert [at(clock, register) for register in FIELDS] == shown
    for register, value in zip(FIELDS, shown, strict=True):  # set to what it shows it stays
        put(clock, register, value)
    assert [at(clock, register) for register in FIELDS] == shown


def test_a_guest_sets_its_own_clock() -> None:
    clock = cmos()
    for register, value in ((YEAR, 0x30), (MONTH, 0x01), (HOURS, 0x00), (SECONDS, 0x59)):
        put(clock, register, value)
    again = cmos()
    again.load(clock.save())
    for one in (clock, again):
        assert [at(one, register) for register in FIELDS] == [0x20, 0x30, 0x01, 0x21, 2, 0x00, 0x05, 0x59]
    put(clock, MONTH, 0x13)  # there is none
    assert at(clock, MONTH) == 0x01


def test_registers_beside_the_time() -> None:
    clock = cmos()
    put(clock, 0x10, 0xAB)
    put(clock, C, 0xFF)
    put(clock, D, 0)
    assert (at(clock, 0x10), at(clock, 0x90), at(clock, C), at(clock, D), clock.read(0, 1)) == (0xAB, 0xAB, 0, 0x80, 0xFF)
    clock.reset()
    assert at(clock, 0x10) == 0xAB


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 0xFFFF))))
def test_nothing_stored_makes_it_fail(stores: list[tuple[int, int]]) -> None:
    clock = cmos()
    for offset, value in stores:
        clock.write(offset, 2, value)
        assert 0 <= clock.read(1, 1) <= 0xFF
