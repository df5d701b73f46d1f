"""How long work tells of itself: steps that are opened, advanced and left. Who shows them, and how, is not known here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Step(Protocol):
    """One step under way."""

    def advance(self, amount: int, detail: str = "") -> None:
        """`amount` more is done; `detail` is what is being worked on."""
        ...


class Progress(Protocol):
    """Opens steps."""

    def step(self, title: str, total: int | None = None, unit: str = "") -> AbstractContextManager[Step]:
        """A step of `total` parts (None: unknown), counted in `unit` ("bytes" shows sizes). It is over when the block is left."""
        ...


class _Quiet:
    def advance(self, amount: int, detail: str = "") -> None:
        """Nothing is shown."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def step(self, title: str, total: int | None = None, unit: str = "") -> Iterator[Step]:
        """A step nobody sees."""
        yield _Quiet()
