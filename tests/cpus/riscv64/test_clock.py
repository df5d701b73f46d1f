"""The guest's clock: a line through an anchor, steered while harts read it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from gasang.accel.soft.clock import moment
from gasang.cpus.riscv64.clock import TIMEBASE
from support.bare import Bare

READS = 20_000


@pytest.fixture
def bare() -> Iterator[Bare]:
    machine = Bare(harts=2)
    yield machine
    machine.close()


def test_a_step_is_a_step_and_a_scale_is_a_slope(bare: Bare) -> None:
    functions, address, shared = bare.machine.processor.functions, bare.hart.address, bare.machine.shared
    functions["steer_clock"](address, 0, 0)
    before = functions["time_of"](address)
    assert functions["time_of"](address) == before, "the slope is none"
    functions["steer_clock"](address, 0, 12_345)
    assert functions["time_of"](address) == before + 12_345
    functions["steer_clock"](address, 3 << 32, 0)
    first, begin = functions["time_of"](address), functions["host_ticks"]()
    second, end = functions["time_of"](address), functions["host_ticks"]()
    assert first >= before + 12_345
    assert 0 < second - first <= 3 * (end - shared.clock_ticks)
    assert begin < end
    assert shared.clock_sequence % 2 == 0


def test_before_the_anchor_it_is_the_anchors_time(bare: Bare) -> None:
    functions, address = bare.machine.processor.functions, bare.hart.address
    functions["steer_clock"](address, 1 << 32, 0)
    shared = bare.machine.shared
    shared.clock_ticks += 1 << 40
    assert functions["time_of"](address) == shared.clock_time


def test_the_real_clock_goes_at_the_timebase(bare: Bare) -> None:
    functions, address = bare.machine.processor.functions, bare.hart.address
    begin, first = moment(lambda: functions["time_of"](address)), threading.Event()
    assert not first.wait(0.1)
    end = moment(lambda: functions["time_of"](address))
    assert (end.ticks - begin.ticks) / TIMEBASE == pytest.approx((end.nanoseconds - begin.nanoseconds) / 1e9, rel=0.01)


def test_no_reader_sees_time_go_back_while_it_is_steered(bare: Bare) -> None:
    """The slope changes a hundredfold to and fro; a mixture of two lines would be far off."""
    functions = bare.machine.processor.functions
    over = threading.Event()
    wrong: list[tuple[int, int]] = []

    def read(address: int) -> None:
        last = functions["time_of"](address)
        for _ in range(READS):
            now = functions["time_of"](address)
            if now < last:
                wrong.append((last, now))
            last = now

    def steer() -> None:
        scale = int(bare.machine.shared.clock_scale)
        while not over.is_set():
            functions["steer_clock"](bare.hart.address, scale * 100, 0)
            functions["steer_clock"](bare.hart.address, scale, 3)

    steering = threading.Thread(target=steer)
    steering.start()
    readers = [threading.Thread(target=read, args=(hart.address,)) for hart in bare.machine.harts]
    for thread in readers:
        thread.start()
    for thread in readers:
        thread.join()
    over.set()
    steering.join()
    assert wrong == []
