"""The lease, with a clock and a store of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gasang.core.errors import StateError, TimedOutError
from gasang.storage.backup.s3.lease import LEASE, LOCKS, MARGIN, RENEW, Lease
from gasang.storage.backup.store import Entry


class World:
    """A store and the time."""

    subject = "backups"

    def __init__(self) -> None:
        self.time = 1000.0
        self.objects: dict[str, float] = {}
        self.reached = True
        self.late = 0.0

    def put(self, name: str, data: bytes) -> None:
        self._reach()
        self.time += self.late
        self.objects[name] = self.time

    def listed(self, part: str) -> tuple[list[Entry], float]:
        self._reach()
        assert part == LOCKS
        return [Entry(name, 1, when) for name, when in self.objects.items()], self.time

    def erase(self, name: str) -> None:
        self._reach()
        self.objects.pop(name, None)

    def _reach(self) -> None:
        if not self.reached:
            raise TimedOutError("backups", "the store does not answer")

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        made = Lease(self, lambda: self.time)
        try:
            yield made
        finally:
            made.end()


def test_a_dead_writers_lease_ends() -> None:
    world = World()
    world.objects[f"{LOCKS}/dead.json"] = world.time
    world.time += LEASE - 1
    with pytest.raises(StateError, match="free in 1 s"):
        Lease(world, lambda: world.time)
    assert list(world.objects) == [f"{LOCKS}/dead.json"], "who gave way left nothing"
    world.time += 2
    with world.lease() as lease:
        lease.check()
        assert f"{LOCKS}/dead.json" not in world.objects
    assert not world.objects


def test_it_is_renewed_as_long_as_the_store_is_reached() -> None:
    world = World()
    with world.lease() as lease:
        for _ in range(30):
            world.time += RENEW
            lease.renew()
            lease.check()
        world.reached = False
        world.time += LEASE - MARGIN - 1
        lease.renew()
        lease.check()
        world.time += 1
        with pytest.raises(StateError, match="was not reached for"):
            lease.check()
        world.reached = True
        lease.renew()
        with pytest.raises(StateError):
            lease.check()


def test_one_that_came_too_late_does_not_write_beside_its_successor() -> None:
    """Its renewal was on its way while another took over: it sees that one."""
    world = World()
    with world.lease() as late:
        world.time += LEASE - MARGIN - 1
        world.objects.clear()
        world.objects[f"{LOCKS}/next.json"] = world.time + 1
        late.renew()
        world.time += 2
        with pytest.raises(StateError):
            late.check()


def test_a_renewal_counts_from_when_it_was_begun() -> None:
    world = World()
    with world.lease() as lease:
        world.late = LEASE
        lease.renew()
        with pytest.raises(StateError):
            lease.check()
