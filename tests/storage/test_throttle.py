"""Limits on requests and bytes, with a clock of the test's own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gasang.storage.memory import Memory
from gasang.storage.throttle import Bucket, Limits, Throttled, throttled


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_bytes_and_requests_are_limited() -> None:
    clock = Clock()
    disk = Throttled(Memory(1 << 20), Limits(requests=100, data=1 << 20, requests_burst=10, data_burst=64 << 10), clock, clock.wait)
    for number in range(64):
        disk.write(number << 14, b"x" * (1 << 14))
    assert abs(clock.now - 100 - (1 - 1 / 16)) < 1e-6  # a MiB at a MiB a second, less the burst
    clock.now += 1000
    begin = clock.now
    for _ in range(110):
        disk.read(0, 1)
    assert abs(clock.now - begin - 1) < 1e-6
    assert disk.read(0, 4) == b"xxxx"
    disk.flush()
    assert abs(clock.now - begin - 1 - 0.01) < 1e-6


def test_a_disk_without_limits_is_left_alone() -> None:
    disk = Memory(512)
    assert throttled(disk, Limits()) is disk
    assert throttled(disk, Limits(data=1)) is not disk


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 1 << 24)), max_size=50), st.integers(1, 1 << 24), st.integers(1, 1 << 24))
def test_never_more_than_rate_and_burst(steps: list[tuple[float, int]], rate: int, burst: int) -> None:
    now, taken = 0.0, 0
    bucket = Bucket.full(rate, burst, now)
    for idle, amount in steps:
        now += idle
        owed = bucket.take(amount, now)
        taken += amount
        now += owed
        assert taken <= (rate * now + burst) * (1 + 1e-6) + 1
