"""The measurement of a host's KVM: for real where there is one, its arithmetic everywhere."""

from __future__ import annotations

import time

import pytest

from gasang.accel.kvm import speed
from gasang.accel.kvm.speed import CODE, FIRST_TURNS, SECONDS, kernel_mode_speed, measured
from gasang.core.errors import UnsupportedError
from support.kvm_guests import DEVICE, needs_kvm


def test_the_loop_jumps_where_it_should() -> None:
    """Offsets of the two short jumps, from the bytes behind them."""
    turn, begin = CODE.index(b"\x48\xff"), 0
    jnz, jmp = CODE.index(b"\x75") + 2, len(CODE)
    assert jnz + int.from_bytes(CODE[jnz - 1 : jnz], signed=True) == turn
    assert jmp + int.from_bytes(CODE[jmp - 1 : jmp], signed=True) == begin


@needs_kvm
def test_the_speed_is_found_in_time() -> None:
    begin = time.monotonic()
    assert kernel_mode_speed(DEVICE) > 1e4
    assert time.monotonic() - begin < 10 * SECONDS  # the host may be busy


@needs_kvm
def test_a_guest_that_does_not_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "CODE", b"\xf4")
    with pytest.raises(UnsupportedError, match="reason 5"):
        kernel_mode_speed(DEVICE)


class Clock:
    """Time that passes only in guests."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("rate", [1e3, 1e5, 4e5, 5e6, 3e9, 1e11])
def test_any_speed_is_found_within_the_time(rate: float) -> None:
    """Turns double until one measurement is long enough, and stop before the time is over."""
    clock = Clock()
    asked: list[int] = []

    def timed(turns: int) -> float:
        asked.append(turns)
        clock.now += 2 * turns / rate
        return 2 * turns / rate

    assert measured(timed, clock) == pytest.approx(rate)
    assert asked == [1, *(FIRST_TURNS << n for n in range(len(asked) - 1))]
    assert clock.now <= max(SECONDS, 2 * FIRST_TURNS / rate) + 2 / rate


def test_one_long_measurement_is_not_believed() -> None:
    """The host was busy with something else just then."""
    clock = Clock()
    late = iter([0.06, 0.06])

    def timed(turns: int) -> float:
        taken = 2 * turns / 1e9 + next(late, 0.0)
        clock.now += taken
        return taken

    assert measured(timed, clock) > 1e8
