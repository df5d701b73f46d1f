"""The file system device: messages to a server and its answers back."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from gasang.devices.virtio.fs import LARGEST, REQUESTS, URGENT, VirtioFs
from support.board_parts import FakeMemory
from support.device_makers import EchoServer
from support.virtio_driver import CONFIG, STATUS, Driver

HEADER = bytes(range(16)) + bytes(24)


def test_the_guest_reads_tag_and_number_of_queues() -> None:
    driver = Driver(VirtioFs("höme", EchoServer())).start()
    data = b"".join(driver.read(CONFIG + at).to_bytes(4, "little") for at in range(0, 40, 4))
    assert data == "höme".encode().ljust(36, b"\0") + b"\1\0\0\0"


@pytest.mark.parametrize("tag", ["", "x" * 37, "ö" * 19])
def test_a_tag_no_guest_could_read(tag: str) -> None:
    with pytest.raises(ValueError, match="tag"):
        VirtioFs(tag, EchoServer())


def test_messages_are_answered_and_others_taken() -> None:
    server = EchoServer()
    driver = Driver(VirtioFs("tag", server)).start()
    assert driver.request(REQUESTS, [HEADER, b"question"], [16, 100]) == HEADER[:16] + b"question"
    assert driver.request(REQUESTS, [HEADER, b"long question"], [16, 4]) == HEADER[:16] + b"long"
    assert driver.request(URGENT, [HEADER]) == b""
    assert driver.irq.level
    assert server.asked == 3


@pytest.mark.parametrize("length", [0, 39, LARGEST + 1])
def test_messages_of_no_sensible_length_fail_the_device(length: int) -> None:
    driver = Driver(VirtioFs("tag", EchoServer()), FakeMemory(8 << 20)).start()
    driver.rings[REQUESTS].add([bytes(length)] if length else [], [100])
    driver.notify(REQUESTS)
    assert driver.read(STATUS) & 64


def test_an_answer_without_room_fails_the_device() -> None:
    driver = Driver(VirtioFs("tag", EchoServer())).start()
    driver.rings[REQUESTS].add([HEADER, b"question"], [15])
    driver.notify(REQUESTS)
    assert driver.read(STATUS) & 64
    assert "room" in driver.faults[0]


def waiting() -> tuple[Driver, EchoServer, list[Callable[[], None]]]:
    """A device with a message that has not been served yet."""
    jobs: list[Callable[[], None]] = []
    server = EchoServer()
    driver = Driver(VirtioFs("tag", server, jobs.append)).start()
    driver.rings[REQUESTS].add([HEADER, b"later"], [100])
    driver.notify(REQUESTS)
    assert driver.rings[REQUESTS].take_used() == []
    return driver, server, jobs


def run(jobs: list[Callable[[], None]]) -> None:
    while jobs:
        jobs.pop(0)()


def test_the_worker_answers_later() -> None:
    driver, server, jobs = waiting()
    assert server.asked == 0
    run(jobs)
    ((_, content),) = driver.rings[REQUESTS].take_used()
    assert content == HEADER[:16] + b"later"


def test_a_reset_gives_up_what_waits_and_the_server_forgets_before_the_next_guest() -> None:
    driver, server, jobs = waiting()
    run(jobs)
    driver.rings[REQUESTS].take_used()
    driver.rings[REQUESTS].add([HEADER, b"given up"], [100])
    driver.notify(REQUESTS)
    driver.write(STATUS, 0)
    run(jobs)
    assert server.asked == 1
    driver.start()
    driver.rings[REQUESTS].add([HEADER, b"anew"], [100])
    driver.notify(REQUESTS)
    run(jobs)
    assert server.asked == 1
    assert driver.rings[REQUESTS].take_used()[0][1] == HEADER[:16] + b"anew"


def test_the_same_buffer_twice_fails_the_device() -> None:
    driver, _, jobs = waiting()
    driver.rings[REQUESTS].publish(0)
    driver.notify(REQUESTS)
    assert driver.read(STATUS) & 64
    run(jobs)
    assert driver.read(STATUS) & 64


def test_a_buffer_that_leaves_ram_meanwhile_fails_the_device() -> None:
    driver, server, jobs = waiting()
    driver.rings[REQUESTS].descriptor(5, 0, 100, 0, 0)
    driver.rings[REQUESTS].publish(5)
    driver.notify(REQUESTS)
    run(jobs)
    assert server.asked == 1
    assert driver.read(STATUS) & 64


def test_what_waits_is_answered_after_a_restore() -> None:
    driver, _, jobs = waiting()
    state = copy.deepcopy(driver.transport.save())
    fresh, server = Driver(VirtioFs("tag", EchoServer(), jobs.append), driver.memory), EchoServer()
    fresh.transport.load(state)
    jobs.pop(0)  # the first machine's
    run(jobs)
    ((_, content),) = driver.rings[REQUESTS].take_used()
    assert content == HEADER[:16] + b"later"
    assert server.asked == 0


def test_the_server_is_restored() -> None:
    driver = Driver(VirtioFs("tag", EchoServer())).start()
    driver.request(REQUESTS, [HEADER, b"x"], [100])
    state = copy.deepcopy(driver.transport.save())
    server = EchoServer()
    Driver(VirtioFs("tag", server), driver.memory).transport.load(state)
    assert server.asked == 1


def test_a_restore_beats_a_forgetting_that_waits() -> None:
    driver, server, jobs = waiting()
    run(jobs)
    driver.rings[REQUESTS].take_used()
    state = copy.deepcopy(driver.transport.save())
    driver.write(STATUS, 0)
    driver.start()
    driver.transport.load(state)
    run(jobs)
    assert server.asked == 1
