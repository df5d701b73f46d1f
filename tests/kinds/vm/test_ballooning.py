"""How large a balloon is to be."""

from __future__ import annotations

import os
import threading

import pytest

from gasang.devices.virtio.balloon import VirtioBalloon
from gasang.host.pressure import HostMemory
from gasang.kinds.vm.ballooning import Ballooning, GuestMemoryUse, Keeper, wanted
from support.balloon_driver import BalloonDriver

MIB = 1 << 20
GIB = 1 << 30
EASY, SHORT, BETWEEN = HostMemory(10 * GIB, 5 * GIB, 0.0), HostMemory(10 * GIB, GIB // 2, 0.0), HostMemory(10 * GIB, 2 * GIB, 0.0)
STALLED = HostMemory(10 * GIB, 5 * GIB, 20.0)
RESERVE = 128 * MIB


@pytest.mark.parametrize(
    ("host", "balloon", "available", "asked", "expected"),
    [
        (SHORT, 0, 512 * MIB, 0, (512 * MIB - RESERVE) // 2),
        (STALLED, 100 * MIB, 512 * MIB, 0, 100 * MIB + (512 * MIB - RESERVE) // 2),
        (SHORT, 100 * MIB, RESERVE, 0, 100 * MIB),
        (SHORT, 100 * MIB, 1 << 63, 0, GIB),
        (SHORT, 100 * MIB, None, 0, 100 * MIB),
        (BETWEEN, 300 * MIB, 512 * MIB, 0, 300 * MIB),
        (EASY, 300 * MIB, 512 * MIB, 0, 300 * MIB - 128 * MIB),
        (EASY, 50 * MIB, 512 * MIB, 0, 0),
        (EASY, 50 * MIB, 512 * MIB, 256 * MIB, 256 * MIB),
        (SHORT, 300 * MIB, 10 * MIB, 0, 300 * MIB - (RESERVE - 10 * MIB)),
        (SHORT, 50 * MIB, 10 * MIB, 50 * MIB, 0),
    ],
)
def test_host_guest_and_person_are_weighed(host: HostMemory, balloon: int, available: int | None, asked: int, expected: int) -> None:
    assert wanted(host, GuestMemoryUse(GIB, balloon, available), asked) == expected


def test_it_comes_to_rest_while_the_host_stays_short() -> None:
    balloon, free = 0, 900 * MIB
    for _ in range(50):
        balloon = wanted(SHORT, GuestMemoryUse(GIB, balloon, free - balloon), 0)
    assert RESERVE <= free - balloon < RESERVE + MIB


def test_a_tick_takes_memory_and_asks_for_news() -> None:
    driver = BalloonDriver(VirtioBalloon())
    driver.tell({6: 512 * MIB})
    ballooning = Ballooning(driver.balloon, GIB, lambda: SHORT)
    ballooning.tick()
    assert driver.asked_for() == (512 * MIB - RESERVE) // 2
    assert driver.is_asked_for_statistics()


def test_a_person_asks_for_less_memory() -> None:
    driver = BalloonDriver(VirtioBalloon())
    ballooning = Ballooning(driver.balloon, GIB, lambda: EASY)
    ballooning.leave(GIB - 256 * MIB)
    assert driver.asked_for() == 256 * MIB
    ballooning.tick()
    assert driver.asked_for() == 256 * MIB
    ballooning.leave(2 * GIB)
    assert driver.asked_for() == 0


@pytest.mark.parametrize(("follows", "host"), [(False, SHORT), (True, None)])
def test_a_balloon_that_does_not_follow_the_host(follows: bool, host: HostMemory | None) -> None:
    driver = BalloonDriver(VirtioBalloon())
    driver.tell({6: 512 * MIB})
    ballooning = Ballooning(driver.balloon, GIB, lambda: host)
    ballooning.follows_host = follows
    ballooning.tick()
    assert driver.asked_for() == 0


def test_a_guest_without_driver_is_asked_for_nothing() -> None:
    balloon = VirtioBalloon()
    Ballooning(balloon, GIB, lambda: SHORT).tick()
    assert balloon.target == 0


class Ticks(Ballooning):
    """Counts."""

    def __init__(self) -> None:
        super().__init__(VirtioBalloon(), GIB)
        self.come = threading.Semaphore(0)

    def tick(self) -> None:
        self.come.release()


def test_a_keeper_ticks_until_it_is_held_or_closed() -> None:
    ticks = Ticks()
    keeper = Keeper(ticks, period=0.001)
    assert all(ticks.come.acquire(timeout=30) for _ in range(3))
    keeper.hold()
    while ticks.come.acquire(blocking=False):
        pass
    assert not ticks.come.acquire(timeout=0.05)
    keeper.release()
    assert ticks.come.acquire(timeout=30)
    keeper.close()
    assert "balloon" not in [thread.name for thread in threading.enumerate()]


def test_a_twins_keeper_goes_on() -> None:
    ticks = Ticks()
    keeper = Keeper(ticks, period=0.001)
    keeper.hold()
    child = os.fork()
    if child == 0:
        ticks.come = threading.Semaphore(0)
        keeper.renew()
        ticked = ticks.come.acquire(timeout=30)
        keeper.close()
        os._exit(0 if ticked else 1)
    assert os.waitpid(child, 0)[1] == 0
    keeper.close()
