"""The transport's registers: identification, negotiation, queues, interrupts, reset, failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from gasang.core.protocols import State
from gasang.devices.virtio.device import EVENT_IDX, INDIRECT_DESC, VERSION_1, Link
from gasang.devices.virtio.queue import QueueError
from support.board_parts import RAM_BASE
from support.virtio_driver import (
    CONFIG,
    DEVICE_FEATURES,
    DEVICE_FEATURES_SEL,
    DRIVER_FEATURES,
    DRIVER_FEATURES_SEL,
    GENERATION,
    INTERRUPT_STATUS,
    QUEUE_DESC,
    QUEUE_NUM,
    QUEUE_NUM_MAX,
    QUEUE_READY,
    QUEUE_SEL,
    STATUS,
    Driver,
)

NEEDS_RESET = 64


class Echo:
    """Copies what it is sent on queue 0 back; `broken` makes it fail as a hostile chain would."""

    device_id: int = 42
    features: int = 1 << 5 | 1 << 40
    queue_sizes: Sequence[int] = (16, 4)

    def __init__(self) -> None:
        self.link: Link | None = None
        self.space = bytes(range(1, 11))
        self.calls: list[str] = []
        self.on_notify: Callable[[], None] = lambda: None

    def config(self) -> bytes:
        return self.space

    def start(self, link: Link) -> None:
        self.calls.append("start")
        self.link = link

    def notify(self, index: int) -> None:
        self.calls.append(f"notify {index}")
        self.on_notify()
        assert self.link is not None
        queue = self.link.queues[index]
        while (chain := queue.pop()) is not None:
            data = b"".join(self.link.memory.read(*segment) for segment in chain.readable)
            self.link.memory.write(chain.writable[0][0], data)
            queue.push(chain, len(data))
        self.link.used(queue)

    def reset(self) -> None:
        self.calls.append("reset")
        self.link = None

    def save(self) -> State:
        return {"version": 1}

    def load(self, state: State) -> None:
        self.calls.append("load")


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def driver(echo: Echo) -> Driver:
    return Driver(echo)


def test_identifies_itself(driver: Driver) -> None:
    assert [driver.read(offset) for offset in (0, 4, 8)] == [0x74726976, 2, 42]
    assert driver.offered() == 1 << 5 | 1 << 40 | VERSION_1 | INDIRECT_DESC | EVENT_IDX
    driver.write(DEVICE_FEATURES_SEL, 2)
    assert driver.read(DEVICE_FEATURES) == 0
    assert [driver.read(offset) for offset in range(0xB0, 0xC0, 4)] == [0xFFFF_FFFF] * 4


def test_works_from_reset_to_reply(driver: Driver, echo: Echo) -> None:
    driver.start()
    assert driver.request(0, [b"hello ", b"world"], [32]) == b"hello world"
    assert driver.irq.level
    assert driver.acknowledge() == 1
    assert not driver.irq.level
    assert driver.read(INTERRUPT_STATUS) == 0
    assert echo.calls == ["reset", "start", "notify 0"]


@pytest.mark.parametrize("features", [0, 1 << 5, VERSION_1 | 1 << 6, VERSION_1 | 1 << 63])
def test_refuses_features_that_cannot_be(driver: Driver, features: int, echo: Echo) -> None:
    driver.negotiate(features)
    assert driver.read(STATUS) == 3
    driver.write(STATUS, 7)
    assert driver.read(STATUS) & NEEDS_RESET
    assert "start" not in echo.calls


def test_agreed_features_are_fixed(driver: Driver) -> None:
    driver.negotiate(VERSION_1)
    driver.write(DRIVER_FEATURES_SEL, 0)
    driver.write(DRIVER_FEATURES, 1 << 6)
    assert driver.transport.features == VERSION_1


def test_status_bits_are_set_one_by_one_and_cleared_by_reset_only(driver: Driver) -> None:
    driver.start()
    driver.write(STATUS, 1)
    assert driver.read(STATUS) == 15
    driver.write(STATUS, 0x80)
    assert driver.read(STATUS) == 0x8F
    driver.write(STATUS, 0)
    assert driver.read(STATUS) == 0


def test_a_driver_sets_only_the_status_bits_that_are_its_own(driver: Driver) -> None:
    driver.negotiate(VERSION_1)
    driver.write(STATUS, 0xFFFF_FF70)
    assert driver.read(STATUS) == 11


def test_selects_queues(driver: Driver) -> None:
    sizes = []
    for index in (0, 1, 2, 0xFFFF_FFFF):
        driver.write(QUEUE_SEL, index)
        sizes.append(driver.read(QUEUE_NUM_MAX))
        driver.write(QUEUE_NUM, 1)
    assert sizes == [16, 4, 0, 0]
    driver.write(QUEUE_READY, 1)
    assert driver.read(QUEUE_READY) == 0


def test_a_ready_queue_keeps_its_place(driver: Driver) -> None:
    driver.start()
    driver.write(QUEUE_SEL, 0)
    for register in (QUEUE_NUM, QUEUE_DESC, QUEUE_DESC + 4):
        driver.write(register, 0)
    assert driver.request(0, [b"still here"], [16]) == b"still here"
    driver.write(QUEUE_READY, 0)
    assert driver.read(QUEUE_READY) == 0


def test_reads_the_configuration_in_any_width_and_zero_behind_it(driver: Driver) -> None:
    assert [driver.read(CONFIG, 1), driver.read(CONFIG + 1, 1), driver.read(CONFIG + 2, 2), driver.read(CONFIG + 4, 4)] == [
        1,
        2,
        0x0403,
        0x08070605,
    ]
    assert [driver.read(CONFIG + 8, 4), driver.read(CONFIG + 10, 1), driver.read(0xFFC, 4)] == [0x0A09, 0, 0]
    driver.write(CONFIG, 0xFFFF_FFFF)
    assert driver.read(CONFIG, 1) == 1


def test_a_configuration_change_counts_and_interrupts(driver: Driver) -> None:
    before = driver.read(GENERATION)
    driver.transport.config_changed()
    assert not driver.irq.level
    driver.start()
    driver.transport.config_changed()
    assert driver.read(GENERATION) == before + 2
    assert driver.acknowledge() == 2


def test_control_registers_take_32_bits_only(driver: Driver) -> None:
    assert [driver.transport.read(0, width) for width in (1, 2, 8)] == [0, 0, 0]
    driver.transport.write(STATUS, 1, 1)
    assert driver.read(STATUS) == 0


def test_notifications_before_the_driver_is_ready_are_ignored(driver: Driver, echo: Echo) -> None:
    driver.notify(0)
    driver.negotiate(VERSION_1)
    driver.notify(0)
    driver.notify(9)
    assert echo.calls == ["reset"]


def test_reset_forgets_everything(driver: Driver, echo: Echo) -> None:
    driver.start()
    driver.request(0, [b"x"], [1])
    driver.write(STATUS, 0)
    assert (driver.irq.level, driver.read(INTERRUPT_STATUS), echo.link) == (False, 0, None)
    driver.write(QUEUE_SEL, 0)
    assert driver.read(QUEUE_READY) == 0
    driver.start()
    assert driver.request(0, [b"again"], [5]) == b"again"


def test_a_fault_stops_the_device_until_it_is_reset(driver: Driver, echo: Echo) -> None:
    def fail() -> None:
        raise QueueError("nonsense")

    driver.start()
    driver.acknowledge()
    echo.on_notify = fail
    driver.notify(0)
    assert driver.read(STATUS) == 15 | NEEDS_RESET
    assert driver.acknowledge() == 2, "the driver is told by a configuration change"
    assert driver.faults == ["nonsense"]
    calls = len(echo.calls)
    driver.notify(0)
    driver.write(QUEUE_SEL, 0)
    driver.write(QUEUE_READY, 1)
    assert (len(echo.calls), driver.read(QUEUE_READY)) == (calls, 0)
    driver.transport.serve(fail)
    assert len(driver.faults) == 1
    echo.on_notify = lambda: None
    driver.start()
    assert driver.request(0, [b"alive"], [5]) == b"alive"


def test_rings_outside_ram_fail_the_device(driver: Driver) -> None:
    driver.negotiate(VERSION_1)
    driver.write(QUEUE_SEL, 0)
    driver.setup(RAM_BASE, 4)
    driver.write(QUEUE_READY, 0)
    driver.write(QUEUE_DESC + 4, 0xFFFF_FFFF)
    driver.write(QUEUE_READY, 1)
    assert (driver.read(QUEUE_READY), driver.read(STATUS)) == (0, 11 | NEEDS_RESET)
    assert not driver.irq.level, "no driver listens yet"


def test_a_restored_device_goes_on(driver: Driver, echo: Echo) -> None:
    driver.start()
    driver.request(0, [b"one"], [3])
    other = Echo()
    twin = Driver(other, driver.memory)
    twin.transport.load(driver.transport.save())
    assert twin.irq.level
    assert other.calls == ["reset", "load", "start"]
    twin.rings = driver.rings
    assert twin.request(0, [b"two"], [3]) == b"two"


def test_a_state_whose_rings_lie_outside_ram_fails_the_device_only(driver: Driver) -> None:
    driver.start()
    state = driver.transport.save()
    state["queues"][0][1] = 16
    driver.transport.load(state)
    assert driver.read(STATUS) & NEEDS_RESET
