"""The thread that looks after a machine's RAM."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from gasang.accel.soft import gathering
from gasang.accel.soft.gathering import Gathering


class Memory:
    """Says when it is looked at; has so many places to be gathered."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.is_private = False
        self.looks = threading.Semaphore(0)
        self.gathered = threading.Semaphore(0)

    def gather(self) -> Iterator[bool]:
        self.looks.release()
        for _ in range(self.places):
            self.gathered.release()
            yield True
        self.places = 0


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_LOOK", "SOON", "SELDOM"):
        monkeypatch.setattr(gathering, name, 0.001)


def begun(memory: Memory) -> tuple[Gathering, threading.Event]:
    made, stopping = Gathering(memory), threading.Event()  # type: ignore[arg-type]
    made.begin(stopping)
    return made, stopping


@pytest.mark.usefixtures("hasty")
def test_everything_is_gathered_and_looked_at_again() -> None:
    memory = Memory(3)
    made, stopping = begun(memory)
    assert all(memory.gathered.acquire(timeout=10) for _ in range(3))
    assert all(memory.looks.acquire(timeout=10) for _ in range(3))
    stopping.set()
    made.join()


@pytest.mark.usefixtures("hasty")
def test_it_ends_when_the_memory_is_to_be_shared() -> None:
    memory = Memory(0)
    made, _ = begun(memory)
    assert memory.looks.acquire(timeout=10)
    memory.is_private = True
    made.join()


def test_a_machine_that_ends_at_once_does_not_wait_for_it() -> None:
    memory = Memory(1)
    made, stopping = begun(memory)
    stopping.set()
    made.join()
    assert not memory.looks.acquire(blocking=False)


def test_what_never_began_has_ended() -> None:
    Gathering(Memory(0)).join()  # type: ignore[arg-type]
