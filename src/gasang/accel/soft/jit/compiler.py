"""What a machine's regions ask of whoever compiles them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from gasang.accel.soft.jit.messages import Request


class Service(Protocol):
    """Compiles some time, or never: see CompileService (service.py)."""

    def start(self) -> None:
        """Begin to serve."""
        ...

    def ask(self, heat: int, request: Request) -> list[int]:
        """Have something compiled; the numbers of requests that are forgotten for it."""
        ...

    def takes(self, heat: int) -> bool:
        """Whether a request for code as hot as that would not be forgotten at once."""
        ...

    def may_be_worth(self, heat: int) -> bool:
        """Whether code as hot as that may soon be compiled. What is cooler needs no page but its own: `hotter` brings the others."""
        ...

    def forget(self, numbers: Collection[int]) -> list[int]:
        """Have these not compiled any more; those for which it was not too late."""
        ...

    def hotter(self, heat: int, number: int, request: Callable[[], Request]) -> None:
        """What a request is about has become hotter; what it says by then is asked for if that matters."""
        ...

    def close(self) -> None:
        """End."""
        ...

    def forget_parent(self) -> None:
        """In a forked process: serve no more."""
        ...
