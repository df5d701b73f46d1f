"""The entropy device."""

from __future__ import annotations

from gasang.devices.virtio.rng import LARGEST, VirtioRng
from support.virtio_driver import Driver


def test_fills_buffers() -> None:
    asked: list[int] = []

    def source(count: int) -> bytes:
        asked.append(count)
        return bytes([len(asked)]) * count

    driver = Driver(VirtioRng(source)).start()
    assert driver.request(0, writable=[3, 5]) == b"\1" * 8
    assert driver.request(0, writable=[4]) == b"\2" * 4
    assert asked == [8, 4]


def test_gives_no_more_than_its_limit() -> None:
    driver = Driver(VirtioRng()).start()
    assert len(driver.request(0, writable=[LARGEST + 1])) == LARGEST


def test_the_hosts_entropy_differs_each_time() -> None:
    driver = Driver(VirtioRng()).start()
    assert driver.request(0, writable=[32]) != driver.request(0, writable=[32])


def test_a_buffer_without_room_comes_back_empty() -> None:
    driver = Driver(VirtioRng()).start()
    assert driver.request(0, readable=[b"not for writing"]) == b""


def test_serves_what_was_available_before_it_started() -> None:
    driver = Driver(VirtioRng(bytes)).start()
    driver.transport.device.reset()
    driver.rings[0].add(writable=[4])
    driver.transport.device.start(driver.transport)
    assert driver.rings[0].take_used() == [(0, bytes(4))]
