"""The address bus: dispatch, widths, gaps and overlaps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.protocols import State
from gasang.devices.bus import Bus, BusError


class Recorder:
    """A device that remembers accesses and answers with a fixed number."""

    def __init__(self, size: int, answer: int = 0) -> None:
        self.size, self.answer = size, answer
        self.seen: list[tuple[int, ...]] = []

    def read(self, offset: int, width: int) -> int:
        self.seen.append((offset, width))
        return self.answer

    def write(self, offset: int, width: int, value: int) -> None:
        self.seen.append((offset, width, value))

    def reset(self) -> None:
        self.seen.append(())

    def save(self) -> State:
        return {"version": 1}

    def load(self, state: State) -> None:
        self.seen.clear()


def test_dispatches_by_region_and_hands_out_offsets() -> None:
    bus, low, high = Bus(), Recorder(0x1000, 7), Recorder(0x100, 9)
    bus.attach("high", 0x2000, high)
    bus.attach("low", 0x1000, low)
    assert (bus.read(0x1FFC, 4), bus.read(0x2000, 1)) == (7, 9)
    bus.write(0x20F8, 8, 1 << 64 | 5)
    assert low.seen == [(0xFFC, 4)]
    assert high.seen == [(0, 1), (0xF8, 8, 5)]
    assert [region.name for region in bus.regions] == ["low", "high"]


def test_cuts_an_answer_to_the_width() -> None:
    bus = Bus()
    bus.attach("device", 0, Recorder(16, -1))
    assert [bus.read(0, width) for width in (1, 2, 4, 8)] == [0xFF, 0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF]


@pytest.mark.parametrize(("address", "width"), [(0xFFF, 1), (0xFFF, 2), (0x10FE, 4), (0x1100, 1), (0x10FF, 2), (0, 8), ((1 << 64) - 1, 8)])
def test_nothing_answers_outside(address: int, width: int) -> None:
    bus = Bus()
    bus.attach("device", 0x1000, Recorder(0x100))
    with pytest.raises(BusError) as caught:
        bus.read(address, width)
    assert (caught.value.address, caught.value.width, caught.value.is_write) == (address, width, False)
    with pytest.raises(BusError) as caught:
        bus.write(address, width, 0)
    assert caught.value.is_write


@pytest.mark.parametrize(
    ("base", "size"), [(0xFFF, 2), (0x10FF, 1), (0x1000, 0x100), (0, 0x10000), (0x2000, 0), (-1, 1), ((1 << 64) - 1, 2)]
)
def test_refuses_windows_that_cannot_be(base: int, size: int) -> None:
    bus = Bus()
    bus.attach("device", 0x1000, Recorder(0x100))
    with pytest.raises(ValueError, match="other"):
        bus.attach("other", base, Recorder(size))


@given(st.lists(st.tuples(st.integers(0, 63), st.integers(1, 8)), max_size=12), st.integers(0, 79), st.sampled_from([1, 2, 4, 8]))
def test_agrees_with_a_search_of_all_regions(windows: list[tuple[int, int]], address: int, width: int) -> None:
    bus, attached = Bus(), []
    for number, (base, size) in enumerate(windows):
        try:
            bus.attach(str(number), base, Recorder(size, number))
            attached.append((base, size, number))
        except ValueError:
            assert any(base < other + length and other < base + size for other, length, _ in attached)
    expected = [number for base, size, number in attached if base <= address and address + width <= base + size]
    if expected:
        assert bus.read(address, width) == expected[0]
    else:
        with pytest.raises(BusError):
            bus.read(address, width)


def test_holds_the_lock_around_an_access_and_lets_go_of_it_after_an_error() -> None:
    class Locked(Recorder):
        def read(self, offset: int, width: int) -> int:
            return int(bus.lock.acquire(blocking=False))

    bus = Bus()
    bus.attach("device", 0, Locked(4))
    assert bus.read(0, 4) == 1
    bus.lock.release()
    with pytest.raises(BusError):
        bus.read(4, 4)
    with pytest.raises(RuntimeError):
        bus.lock.release()


def test_reset_reaches_every_device() -> None:
    bus, devices = Bus(), [Recorder(4), Recorder(4)]
    for number, device in enumerate(devices):
        bus.attach(str(number), 16 * number, device)
    bus.reset()
    assert [device.seen for device in devices] == [[()], [()]]
