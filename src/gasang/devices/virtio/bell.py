"""The seam between a transport and who can hear a driver's notifications without stopping the guest, and perhaps serve them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

DISK, CARD = 1, 2
"""Kinds of work."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a driver stores to notify: physical address, bytes, and the value that means this queue (None: any)."""

    address: int
    width: int
    match: int | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What compiled code may do for a queue of a device: `kind` is DISK or CARD; `files` of the host by number of the layer.

    Of a disk: its sectors, where the map of its clusters is (0: `top` has all of it), and whether clusters may become the top layer's; then
    `own` is called afterwards.
    """

    kind: int
    files: tuple[int, ...]
    sectors: int = 0
    clusters: int = 0
    top: int = 0
    writable: bool = False
    may_own: bool = False
    own: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True, slots=True)
class Rings:
    """A queue as it stands: (address, bytes) of its three rings, its entries, and its indices."""

    places: tuple[tuple[int, int], ...]
    size: int
    event_index: bool
    indices: tuple[int, int, int]


class Loan(Protocol):
    """A queue that compiled code serves. What it tells is so once it was taken back."""

    indices: tuple[int, int, int]
    interrupted: bool
    """Whether the driver was interrupted."""
    owned: bool
    """Whether clusters became the top layer's."""
    served: int
    """Buffers."""

    def take_back(self) -> Loan:
        """Return when nothing is served by it any more: this."""
        ...


class Bell(Protocol):
    """What hangs at a place."""

    def take_down(self) -> None:
        """Let stores go to the device again. Twice is once."""
        ...

    def lend(self, rings: Rings, work: Work, interrupt: int) -> Loan | None:
        """Have compiled code serve what is notified here; None where nothing can. It raises the eventfd `interrupt` (below zero: none)."""
        ...


class Bells(Protocol):
    """What an accelerator has for that."""

    def hang(self, place: Place, answer: Callable[[], None]) -> Bell | None:
        """Have `answer` called by another thread after the guest's stores to `place`, which reach no device then.

        The bus lock is held now, not around `answer`. None where it cannot be, and stores go on as before.
        """
        ...
