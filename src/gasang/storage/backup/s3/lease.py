"""Who writes to a bucket: each writer has an object of its own under locks/, and one that finds another's there gives way.

It is put first and the others are looked for then, so of two that begin together at least one sees the other (a store lists what was
put before, as S3 does since 2020). No conditional writes are needed, which not every store has. The object is put anew, and the others
looked for, as long as its writer works; one that is older than LEASE by the store's own clock (the Date of its answers) is a dead
writer's and is removed. A writer that could not renew in time stops by itself before that, by a clock that goes on while the host sleeps.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from gasang.core.errors import BadInputError, GasangError, StateError
from gasang.storage.backup.store import Entry

LOCKS: Final = "locks"
LEASE: Final = 360.0
RENEW: Final = 30.0
MARGIN: Final = 240.0
"""Seconds: what a lease lasts, how often it is renewed, and how long before its end it is no longer believed: longer than a request
that was begun before may go on, with all its tries (bucket.py, CONFIG)."""
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Seconds, of which none is lost while the host sleeps (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(_CLOCK)


class Objects(Protocol):
    """What a lease needs of its bucket."""

    subject: str

    def put(self, name: str, data: bytes) -> None:
        """Have an object, whether it was there or not."""
        ...

    def listed(self, part: str) -> tuple[list[Entry], float]:
        """The objects of a part, and the store's own time in seconds."""
        ...

    def erase(self, name: str) -> None:
        """Remove an object."""
        ...


class Lease:
    """That this process writes. Raises StateError where another does."""

    def __init__(self, objects: Objects, clock: Callable[[], float] = now) -> None:
        self._objects = objects
        self._clock = clock
        self._name = f"{LOCKS}/{secrets.token_hex(16)}.json"
        self._renewed = clock()
        self._over = threading.Event()
        note = {"host": socket.gethostname(), "process": os.getpid()}
        self._note = json.dumps(note).encode()
        objects.put(self._name, self._note)
        try:
            self._alone()
        except BaseException:
            with contextlib.suppress(GasangError, FileNotFoundError):
                objects.erase(self._name)
            raise
        self._keeper = threading.Thread(target=self._keep, name="backup lease", daemon=True)
        self._keeper.start()

    def _alone(self) -> None:
        entries, there = self._objects.listed(LOCKS)
        if self._name not in {each.name for each in entries}:
            raise BadInputError(self._objects.subject, "it does not list what was just put there", "use a store that does")
        for each in entries:
            left = each.modified + LEASE - there
            if each.name == self._name:
                continue
            if left > 0:
                hint = f"wait for that one; if it died, they are free in {left:.0f} s"
                raise StateError(self._objects.subject, "another writes to them", hint)
            self._objects.erase(each.name)

    def _keep(self) -> None:
        while not self._over.wait(RENEW):
            self.renew()

    def renew(self) -> None:
        """Put it anew while it is believed; it is renewed if no other has begun meanwhile. `check` tells if that did not work."""
        begin = self._clock()
        with contextlib.suppress(GasangError, FileNotFoundError, FileExistsError):
            if self._believed():
                self._objects.put(self._name, self._note)
                self._alone()
                self._renewed = begin

    def _believed(self) -> bool:
        return self._clock() - self._renewed < LEASE - MARGIN

    def check(self) -> None:
        """Raises StateError where this process may no longer be the only one."""
        if not self._believed():
            cause = f"the store was not reached for {self._clock() - self._renewed:.0f} s, and another may write to them now"
            raise StateError(self._objects.subject, cause, "run it again: what was stored is used")

    def end(self) -> None:
        """Let others write. What cannot be removed now ends by itself."""
        self._over.set()
        self._keeper.join()
        with contextlib.suppress(GasangError, FileNotFoundError):
            self._objects.erase(self._name)
