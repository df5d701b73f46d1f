"""A capture: frames that a filter wants become blocks of a file, until there are enough. No I/O."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from gasang.core.errors import UsageError
from gasang.network.capture import pcapng
from gasang.network.capture.facts import facts
from gasang.network.capture.filters import compiled

MOST_KEPT: Final = 262_144
"""tcpdump's own limit of bytes of a frame."""


class Seen(Protocol):
    """A frame, and when it was."""

    @property
    def data(self) -> bytes: ...
    @property
    def moment(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """`filter` as filters.py has it; at most `count` frames (0: any number), `kept` bytes of each."""

    filter: str = ""
    count: int = 0
    kept: int = MOST_KEPT


class Recording:
    """Of one interface. Raises UsageError for what cannot be wanted."""

    def __init__(self, name: str, wanted: Wanted) -> None:
        if wanted.count < 0 or not 0 < wanted.kept <= MOST_KEPT:
            raise UsageError(
                "capture", f"it keeps 1 to {MOST_KEPT} bytes of each frame, and as many frames as you say", "correct the number"
            )
        self._fits = compiled(wanted.filter)
        self._wanted = wanted
        self._name = name
        self.taken = 0

    @property
    def is_complete(self) -> bool:
        """Whether there are as many frames as were asked for."""
        return 0 < self._wanted.count <= self.taken

    def begin(self) -> bytes:
        """The file's beginning."""
        system = f"{platform.system()} {platform.release()}"
        return pcapng.section("gasang", system) + pcapng.interface(self._name, self._wanted.kept, self._wanted.filter)

    def add(self, frames: Iterable[Seen]) -> bytes:
        """The blocks of those that are wanted."""
        blocks: list[bytes] = []
        for frame in frames:
            if self.is_complete:
                break
            if self._fits(facts(frame.data)):
                blocks.append(pcapng.packet(0, frame.moment, frame.data[: self._wanted.kept], len(frame.data)))
                self.taken += 1
        return b"".join(blocks)

    def end(self, moment: int, received: int, dropped: int) -> bytes:
        """The file's end."""
        return pcapng.statistics(0, moment, received, dropped)
