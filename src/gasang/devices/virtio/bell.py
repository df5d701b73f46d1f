"""The seam between a transport and who can hear a driver's notifications without stopping the guest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Place:
    """Where a driver stores to notify: physical address, bytes, and the value that means this queue (None: any)."""

    address: int
    width: int
    match: int | None = None


class Bells(Protocol):
    """What an accelerator has for that."""

    def hang(self, place: Place, answer: Callable[[], None]) -> Callable[[], None] | None:
        """Have `answer` called by another thread after the guest's stores to `place`, which reach no device then.

        The bus lock is held now, not around `answer`. Call what is returned to end it; None where it cannot be, and stores go on as before.
        """
        ...
