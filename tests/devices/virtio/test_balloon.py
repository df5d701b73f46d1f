"""The memory balloon."""

from __future__ import annotations

import copy
import struct

import pytest

from gasang.devices.virtio.balloon import MOST_PAGES, REPORTING, STATISTICS_QUEUE, VirtioBalloon
from support.balloon_driver import DEFLATE, INFLATE, STATISTICS, BalloonDriver
from support.board_parts import RAM_BASE, FakeMemory
from support.virtio_driver import CONFIG, EVENT_IDX, STATUS

PAGE = 4096
FIRST = RAM_BASE // PAGE
FREE = RAM_BASE + (1 << 20) - 0x8000
"""Where no ring is."""
CONFIG_CHANGE = 2


def test_the_guest_hears_what_is_asked_of_it() -> None:
    balloon = VirtioBalloon()
    balloon.set_target(8 << 20)
    driver = BalloonDriver(balloon)
    assert driver.asked_for() == 8 << 20
    balloon.set_target(3 << 20)
    assert driver.asked_for() == 3 << 20
    assert driver.driver.acknowledge() & CONFIG_CHANGE
    balloon.set_target(3 << 20)
    assert not driver.driver.acknowledge() & CONFIG_CHANGE
    driver.has(2 << 20)
    assert (balloon.target, balloon.actual) == (3 << 20, 2 << 20)


@pytest.mark.parametrize(("asked", "target"), [(-1, 0), (4097, 4096), (1 << 60, 0xFFFF_FFFF * PAGE)])
def test_a_target_is_whole_pages_that_can_be_told(asked: int, target: int) -> None:
    balloon = VirtioBalloon()
    balloon.set_target(asked)
    assert balloon.target == target


def test_inflated_pages_go_back_to_the_host_in_runs() -> None:
    driver = BalloonDriver(VirtioBalloon())
    first = FREE // PAGE
    driver.numbers(INFLATE, [first + 5, first + 2, first + 1, first, first + 1])
    assert driver.driver.memory.discarded == [(FREE, 3 * PAGE), (FREE + 5 * PAGE, PAGE)]
    driver.numbers(DEFLATE, [first])
    assert len(driver.driver.memory.discarded) == 2


@pytest.mark.parametrize("number", [FIRST - 1, FIRST + 256, 0, 0xFFFF_FFFF])
def test_a_page_outside_ram_fails_the_device(number: int) -> None:
    driver = BalloonDriver(VirtioBalloon())
    driver.driver.rings[INFLATE].add([struct.pack("<I", number)])
    driver.driver.notify(INFLATE)
    assert driver.driver.read(STATUS) & 64
    assert driver.driver.memory.discarded == []


@pytest.mark.parametrize("length", [3, 4 * MOST_PAGES + 4])
def test_odd_or_too_many_page_numbers_fail_the_device(length: int) -> None:
    driver = BalloonDriver(VirtioBalloon())
    driver.driver.rings[INFLATE].add([bytes(length)])
    driver.driver.notify(INFLATE)
    assert driver.driver.read(STATUS) & 64


def test_reported_memory_goes_back_to_the_host() -> None:
    driver = BalloonDriver(VirtioBalloon())
    driver.report((FREE, 2 * PAGE), (FREE + 4 * PAGE, PAGE))
    assert driver.driver.memory.discarded == [(FREE, 2 * PAGE), (FREE + 4 * PAGE, PAGE)]


@pytest.mark.parametrize(("poison", "discarded"), [(0, 1), (0xAAAA_AAAA, 0)])
def test_a_guest_that_poisons_free_pages_keeps_them(poison: int, discarded: int) -> None:
    driver = BalloonDriver(VirtioBalloon())
    driver.driver.write(CONFIG + 12, poison)
    assert driver.driver.read(CONFIG + 12) == poison
    driver.report((FREE, PAGE))
    assert len(driver.driver.memory.discarded) == discarded


def test_statistics_come_when_asked_for() -> None:
    driver = BalloonDriver(VirtioBalloon())
    driver.tell({4: 1000, 6: 2000, 99: 1})
    assert driver.balloon.statistics == {"free": 1000, "available": 2000}
    assert not driver.is_asked_for_statistics()
    driver.balloon.ask()
    assert driver.is_asked_for_statistics()
    driver.balloon.ask()
    assert not driver.is_asked_for_statistics()
    driver.tell({4: 5})
    assert driver.balloon.statistics == {"free": 5}


def test_a_second_buffer_of_statistics_sends_the_first_back() -> None:
    driver = BalloonDriver(VirtioBalloon())
    driver.tell({4: 1})
    driver.tell({4: 2})
    assert driver.is_asked_for_statistics()
    assert driver.balloon.statistics == {"free": 2}


def test_too_many_statistics_fail_the_device() -> None:
    driver = BalloonDriver(VirtioBalloon())
    driver.driver.rings[STATISTICS].add([bytes(641)])
    driver.driver.notify(STATISTICS)
    assert driver.driver.read(STATUS) & 64


def test_queues_move_up_where_one_was_not_agreed_on() -> None:
    driver = BalloonDriver(VirtioBalloon(), without=STATISTICS_QUEUE | EVENT_IDX)
    head = driver.driver.rings[2].add(writable=[PAGE])
    (_, address, length) = (head, *driver.driver.rings[2].taken[head][1][0])
    driver.driver.notify(2)
    assert driver.driver.memory.discarded == [(address, length)]


def test_a_queue_without_meaning_is_left_alone() -> None:
    driver = BalloonDriver(VirtioBalloon(), without=STATISTICS_QUEUE | REPORTING | EVENT_IDX)
    driver.driver.rings[2].add([bytes(10)])
    driver.driver.notify(2)
    assert driver.driver.read(STATUS) == 15
    assert driver.driver.rings[2].take_used() == []


def test_a_restored_balloon_has_the_statistics_buffer() -> None:
    memory = FakeMemory()
    driver = BalloonDriver(VirtioBalloon(), memory)
    driver.balloon.set_target(1 << 20)
    driver.has(1 << 19)
    driver.tell({4: 7})
    state = copy.deepcopy(driver.driver.transport.save())
    driver.driver.write(STATUS, 0)
    assert (driver.balloon.target, driver.balloon.actual, dict(driver.balloon.statistics)) == (1 << 20, 0, {})
    driver.driver.transport.load(state)
    assert (driver.balloon.actual, driver.balloon.statistics) == (1 << 19, {"free": 7})
    driver.balloon.ask()
    assert driver.is_asked_for_statistics()
