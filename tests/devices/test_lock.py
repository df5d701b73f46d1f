"""The device lock that favours a thread: nobody is in a device with it, whichever way each goes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gasang.devices.lock import FavouringLock

PATIENCE = 20.0


@contextmanager
def inside(lock: FavouringLock) -> Iterator[bool]:
    """As the favoured thread passes it: whether it may."""
    lock.inside = True
    try:
        yield not lock.wanted
    finally:
        lock.inside = False
        if lock.wanted:
            lock.left()


def taken_elsewhere(lock: FavouringLock, blocking: bool = False) -> bool:
    """Whether another thread gets it."""
    got: list[bool] = []

    def take() -> None:
        got.append(lock.acquire(blocking))
        if got[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join(PATIENCE)
    return got[0]


def test_its_holder_may_take_it_again_and_nobody_else() -> None:
    lock = FavouringLock()
    with lock, lock:
        assert not taken_elsewhere(lock)
    assert taken_elsewhere(lock)
    with pytest.raises(RuntimeError, match="does not hold"):
        lock.release()


def test_another_threads_lock_cannot_be_given_back() -> None:
    lock = FavouringLock()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(PATIENCE)
    with pytest.raises(RuntimeError):
        lock.release()
    assert not taken_elsewhere(lock)
    done.set()
    thread.join(PATIENCE)
    assert taken_elsewhere(lock)


def test_nobody_gets_it_while_the_favoured_one_is_inside() -> None:
    lock = FavouringLock()
    assert lock.favour()
    with inside(lock) as may:
        assert may
        assert not taken_elsewhere(lock)
        with lock, lock:  # a device that takes it once more
            assert not taken_elsewhere(lock)
        assert not taken_elsewhere(lock)
    assert taken_elsewhere(lock)


def test_the_favoured_one_steps_back_for_who_holds_it() -> None:
    lock = FavouringLock()
    assert lock.favour()
    with lock, inside(lock) as may:
        assert not may
    with inside(lock) as may:
        assert may


def test_who_waits_gets_it_when_the_favoured_one_is_out() -> None:
    lock = FavouringLock()
    assert lock.favour()
    got = threading.Event()

    def take() -> None:
        with lock:
            got.set()

    thread = threading.Thread(target=take)
    with inside(lock):
        thread.start()
        assert not got.wait(0.05)
    assert got.wait(PATIENCE)
    thread.join(PATIENCE)


def test_no_two_are_in_a_device_at_once() -> None:
    lock, among = FavouringLock(), 3
    rounds, counted, passed = 3000, [0], [0]
    begin = threading.Barrier(among + 1)

    def count() -> None:
        seen = counted[0]
        counted[0] = seen + 1  # lost where somebody else was here between the two

    def other() -> None:
        begin.wait()
        for _ in range(rounds):
            with lock:
                count()

    def favoured() -> None:
        assert lock.favour()
        begin.wait()
        for _ in range(rounds):
            with inside(lock) as may:
                if may:
                    count()
                    passed[0] += 1
                    continue
            with lock:
                count()

    threads = [threading.Thread(target=work) for work in (favoured, *[other] * among)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert counted[0] == rounds * (among + 1)
    assert passed[0]
