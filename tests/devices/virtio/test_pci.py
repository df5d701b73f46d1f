"""The virtio-pci transport: what it says it is, a driver's way from reset to reply, interrupts, and guests that do their worst."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.core.protocols import State
from gasang.devices.pci.config import BARS, COMMAND, MEMORY_SPACE
from gasang.devices.virtio.device import EVENT_IDX, INDIRECT_DESC, VERSION_1, Link
from gasang.devices.virtio.pci import NO_VECTOR, WINDOW
from gasang.devices.virtio.queue import QueueError
from support.board_parts import RAM_BASE, FakeMemory
from support.device_makers import VIRTIO_MAKERS, Surroundings
from support.pci_driver import ACCESS, BASE, COMMON, DEVICE, ISR, NOTIFY, PciDriver

NEEDS_RESET = 64
RAM_SIZE = 1 << 16


class Echo:
    """Copies what it is sent on a queue back; `broken` makes it fail as a hostile chain would."""

    device_id: int = 42
    features: int = 1 << 5 | 1 << 40
    queue_sizes: Sequence[int] = (16, 4)

    def __init__(self) -> None:
        self.link: Link | None = None
        self.broken = False

    def config(self) -> bytes:
        return bytes(range(1, 11))

    def start(self, link: Link) -> None:
        self.link = link

    def notify(self, index: int) -> None:
        assert self.link is not None
        if self.broken:
            raise QueueError("nonsense")
        queue = self.link.queues[index]
        while (chain := queue.pop()) is not None:
            data = b"".join(self.link.memory.read(*segment) for segment in chain.readable)
            self.link.memory.write(chain.writable[0][0], data)
            queue.push(chain, len(data))
        self.link.used(queue)

    def reset(self) -> None:
        self.link = None

    def save(self) -> State:
        return {"version": 1}

    def load(self, state: State) -> None:
        """Nothing."""


@pytest.fixture
def driver() -> PciDriver:
    return PciDriver(Echo())


def test_says_what_it_is(driver: PciDriver) -> None:
    assert driver.get(0) == (0x1040 + 42) << 16 | 0x1AF4
    assert driver.get(8) == 0xFF0000 << 8 | 1
    assert driver.get(6, 2) & 1 << 4
    assert sorted(driver.where) == [COMMON, NOTIFY, ISR, DEVICE, ACCESS]
    assert (driver.vectors, driver.multiplier, driver.common(0x12, 2)) == (3, 4, 2)
    assert driver.offered() == 1 << 5 | 1 << 40 | VERSION_1 | INDIRECT_DESC | EVENT_IDX
    assert driver.get(0x3D, 1) == 0, "no interrupt pin"


def test_the_windows_size_is_found_as_every_system_does(driver: PciDriver) -> None:
    assert driver.transport.config.base() is None
    driver.set(BARS, 4, 0xFFFF_FFFF)
    assert driver.get(BARS) == -WINDOW & 0xFFFF_FFFF
    driver.set(BARS, 4, BASE + WINDOW)
    driver.set(COMMAND, 2, MEMORY_SPACE)
    assert driver.transport.config.base() == BASE + WINDOW
    driver.set(BARS + 4, 4, 0xFFFF_FFFF)
    assert driver.get(BARS + 4) == 0


def test_works_from_reset_to_reply(driver: PciDriver) -> None:
    driver.start()
    assert driver.status() == 15
    assert driver.request(0, [b"hello ", b"world"], [32]) == b"hello world"
    assert driver.request(1, [b"and"], [32]) == b"and"
    assert driver.messages == [(0xFEE0_0000, 1), (0xFEE0_0000, 2)]
    assert [driver.transport.read(driver.where[ISR], 1) for _ in range(2)] == [1, 0]
    assert driver.transport.read(driver.where[DEVICE], 4) == 0x04030201
    assert driver.transport.read(driver.where[DEVICE] + 10, 2) == 0
    driver.put(0x16, 2, 1)
    assert [driver.common(at, 4) for at in (0x20, 0x24)] == [driver.rings[1].descriptors, 0]
    assert [driver.common(at, 2) for at in (0x18, 0x1A, 0x1C, 0x1E)] == [4, 2, 1, 1]


def test_a_store_of_eight_bytes_is_two_of_four(driver: PciDriver) -> None:
    driver.put(0x16, 2, 0)
    driver.put(0x20, 8, 0x1234_5678_9ABC_DEF0)
    assert [driver.common(at, 4) for at in (0x20, 0x24)] == [0x9ABC_DEF0, 0x1234_5678]


def test_masked_interrupts_wait(driver: PciDriver) -> None:
    driver.start()
    driver.transport.write(driver.table + 16 + 12, 4, 1)
    driver.request(0, [b"x"], [1])
    assert driver.messages == []
    assert driver.transport.read(driver.pending, 8) == 2
    driver.transport.write(driver.table + 16 + 12, 4, 0)
    assert driver.messages == [(0xFEE0_0000, 1)]
    driver.set(driver.msix + 2, 2, 3 << 14)
    driver.request(0, [b"x"], [1])
    assert len(driver.messages) == 1
    driver.set(driver.msix + 2, 2, 1 << 15)
    assert len(driver.messages) == 2
    driver.set(driver.msix + 2, 2, 0)
    driver.request(0, [b"x"], [1])
    assert len(driver.messages) == 2, "off is not masked"


def test_a_vector_that_is_not_there_is_none(driver: PciDriver) -> None:
    driver.put(0x10, 2, 3)
    assert driver.common(0x10, 2) == NO_VECTOR
    driver.put(0x16, 2, 0)
    driver.put(0x1A, 2, 2)
    assert driver.common(0x1A, 2) == 2
    driver.put(0x1A, 2, 77)
    assert driver.common(0x1A, 2) == NO_VECTOR
    driver.put(0x16, 2, 2)
    driver.put(0x1A, 2, 1)
    assert [driver.common(at, 2) for at in (0x18, 0x1A, 0x1C, 0x1E)] == [0, NO_VECTOR, 0, 0]


def test_a_configuration_change_has_its_own_vector(driver: PciDriver) -> None:
    driver.start()
    driver.transport.config_changed()
    assert (driver.messages, driver.common(0x15, 1)) == ([(0xFEE0_0000, 0)], 1)
    assert driver.transport.read(driver.where[ISR], 1) == 2


def test_the_window_is_reached_through_configuration_space(driver: PciDriver) -> None:
    at = driver.where[ACCESS]

    def aim(where: int, length: int, bar: int = 0) -> None:
        for offset, width, value in ((4, 1, bar), (8, 4, where), (12, 4, length)):
            driver.set(at + offset, width, value)

    aim(0x14, 1)
    driver.set(at + 16, 1, 3)
    assert (driver.get(at + 16, 1), driver.status()) == (3, 3)
    for wrong in ((0x14, 2), (0x15, 2), (WINDOW - 2, 4), (0xFFFF_FFF0, 4), (0x14, 3)):
        aim(*wrong)
        driver.set(at + 16, wrong[1] if wrong[1] in (1, 2, 4) else 4, 0)
    aim(0x14, 1, bar=1)
    driver.set(at + 16, 1, 0)
    assert driver.status() == 3


def test_a_fault_stops_the_device_until_it_is_reset(driver: PciDriver) -> None:
    driver.start()
    assert isinstance(driver.transport.device, Echo)
    driver.transport.device.broken = True
    driver.notify(0)
    assert driver.status() == 15 | NEEDS_RESET
    assert (driver.faults, driver.messages) == (["nonsense"], [(0xFEE0_0000, 0)])
    driver.transport.device.broken = False
    driver.notify(0)
    assert len(driver.messages) == 1
    driver.start()
    assert driver.request(0, [b"alive"], [5]) == b"alive"


def test_a_restored_device_goes_on(driver: PciDriver) -> None:
    driver.start()
    driver.request(0, [b"one"], [3])
    driver.transport.write(driver.table + 16 + 12, 4, 1)
    driver.request(0, [b"two"], [3])
    twin = PciDriver(Echo(), driver.memory)
    twin.transport.load(driver.transport.save())
    assert twin.transport.save() == driver.transport.save()
    twin.rings = driver.rings
    twin.transport.write(driver.table + 16 + 12, 4, 0)
    assert twin.request(0, [b"three"], [5]) == b"three"
    assert twin.messages == [(0xFEE0_0000, 1)] * 2
    with pytest.raises(BadInputError, match="saved PCI configuration space: byte 0x2"):
        PciDriver(VIRTIO_MAKERS["rng"](Surroundings())).transport.load(driver.transport.save())


WIDTHS = st.sampled_from([1, 2, 4, 8])
VALUES = st.integers(0, 16) | st.integers(0, (1 << 64) - 1) | st.sampled_from([0xFF, 0xFFFF, 0x8000, 0xFFFF_FFFF, 1 << 63, RAM_BASE])
REGISTERS = st.integers(0, 0x40) | st.integers(0, WINDOW - 8) | st.sampled_from([0x1000, 0x2000, 0x3000, 0x3004, 0x4000, 0x400C, 0x5000])
STEP = st.one_of(
    st.tuples(st.just("config"), st.integers(0, 4096 - 8) | st.integers(0x40, 0xC0), WIDTHS, VALUES),
    st.tuples(st.just("window"), REGISTERS, WIDTHS, VALUES),
    st.tuples(st.just("look"), REGISTERS, WIDTHS, st.just(0)),
    st.tuples(st.just("look at config"), st.integers(0, 4096 - 8), WIDTHS, st.just(0)),
    st.tuples(st.just("memory"), st.integers(0, RAM_SIZE - 8), WIDTHS, VALUES),
    st.tuples(st.just("notify"), st.integers(0, 5), WIDTHS, st.just(0)),
    st.tuples(st.just("again"), st.integers(0, 1), WIDTHS, st.just(0)),
)


@pytest.mark.parametrize("name", VIRTIO_MAKERS)
@settings(max_examples=150)
@given(steps=st.lists(STEP, max_size=40))
def test_a_hostile_guest_fails_its_own_device_at_worst(name: str, steps: list[tuple[str, int, int, int]]) -> None:
    around = Surroundings()
    driver = PciDriver(VIRTIO_MAKERS[name](around), FakeMemory(RAM_SIZE)).start(size=8, without=0)
    transport = driver.transport
    for what, where, width, value in steps:
        value &= (1 << 8 * width) - 1
        match what:
            case "config":
                transport.write_config(where, width, value)
            case "window":
                transport.write(where, width, value)
            case "look":
                assert 0 <= transport.read(where, width) < 1 << 8 * width
            case "look at config":
                assert 0 <= transport.read_config(where, width) < 1 << 8 * width
            case "memory":
                driver.memory.write(RAM_BASE + where, struct.pack("<Q", value)[:width])
            case "notify":
                driver.notify(where)
            case "again":
                if where:
                    transport.load(transport.save())
                else:
                    driver.start(size=8)
        while around.jobs:
            around.jobs.pop(0)()
    driver.memory.content[:] = bytes(RAM_SIZE)
    driver.start(size=8)
    assert driver.status() == 15, "a reset brings every device back"
