"""A guest whose other processors add buffers as fast as they are taken keeps nobody for ever."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator

import pytest

from gasang.devices.virtio.queue import BATCH
from gasang.devices.virtio.rng import VirtioRng
from support.board_parts import FakeMemory
from support.virtio_driver import STATUS, Driver


class Flooding(FakeMemory):
    """Whenever the device returns a buffer, it is available again at once."""

    driver: Driver | None = None
    flooding = True

    def write(self, address: int, data: bytes | memoryview) -> None:
        super().write(address, data)
        ring = self.driver.rings[0] if self.driver is not None and self.driver.rings else None
        if ring is not None and self.flooding and address == ring.used + 2:
            (done,) = struct.unpack("<H", data)
            super().write(ring.available + 2, struct.pack("<H", (done + 1) & 0xFFFF))


@pytest.fixture
def driver() -> Iterator[Driver]:
    memory = Flooding()
    made = Driver(VirtioRng(lambda length: bytes(length)), memory).start(size=2)
    for slot in range(2):  # both slots name the same buffer
        made.rings[0].descriptor(0, made.rings[0].heap, 8, 2, 0)
        memory.write(made.rings[0].available + 4 + 2 * slot, struct.pack("<H", 0))
    memory.driver = made
    yield made
    memory.flooding = False
    made.transport.settle()


def served(driver: Driver) -> int:
    return int(driver.transport.save()["queues"][0][6])


def flood(driver: Driver) -> None:
    driver.memory.write(driver.rings[0].available + 2, struct.pack("<H", 1))
    driver.notify(0)


def test_a_processor_that_notifies_comes_back(driver: Driver) -> None:
    flood(driver)
    assert served(driver) == BATCH
    end = time.monotonic() + 10
    while served(driver) < 3 * BATCH:
        assert time.monotonic() < end, "the rest is served beside it"
        with driver.transport.lock:
            pass


def test_what_is_left_is_served_when_the_guest_pauses(driver: Driver) -> None:
    flood(driver)
    assert isinstance(driver.memory, Flooding)
    driver.memory.flooding = False
    driver.transport.settle()
    count = served(driver)
    assert struct.unpack("<H", driver.memory.read(driver.rings[0].available + 2, 2)) == (count,)
    driver.transport.settle()
    assert served(driver) == count
    assert "virtio" not in [thread.name for thread in threading.enumerate()]


def test_a_reset_ends_it(driver: Driver) -> None:
    flood(driver)
    driver.write(STATUS, 0)
    driver.transport.settle()
    assert "virtio" not in [thread.name for thread in threading.enumerate()]


def test_a_second_notification_needs_no_second_thread(driver: Driver) -> None:
    flood(driver)
    driver.notify(0)
    driver.notify(0)
    assert [thread.name for thread in threading.enumerate()].count("virtio") <= 1
