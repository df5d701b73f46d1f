"""The files and directories a guest has open, by number: as many as MOST_HANDLES, and no more than half of what the host lets us have."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gasang.storage.share.nodes import Node
from gasang.storage.share.wire import Refusal

MOST_HANDLES: Final = 4096


@dataclass(slots=True)
class Handle:
    """An open file or directory. `descriptor` is -1 where it could not be opened again after a restore: its use is EBADF."""

    node: Node
    descriptor: int
    flags: int
    is_directory: bool


class Handles:
    """The table."""

    def __init__(self) -> None:
        self._open: dict[int, Handle] = {}
        self._next = 1
        self._most = min(MOST_HANDLES, _descriptors() // 2)

    def __iter__(self) -> Iterator[tuple[int, Handle]]:
        return iter(self._open.items())

    def check_room(self) -> None:
        """ENFILE is refused where there can be no more."""
        if len(self._open) >= self._most:
            raise Refusal(errno.ENFILE)

    def add(self, handle: Handle, number: int = 0) -> int:
        """Its number, a new one unless given."""
        number = number or self._next
        self._next = max(self._next, number) + 1
        self._open[number] = handle
        handle.node.handles.append(number)
        return number

    def get(self, number: int, *, directory: bool = False) -> Handle:
        """The handle; EBADF is refused where there is none, or none of that kind."""
        handle = self._open.get(number)
        if handle is None or handle.descriptor < 0 or handle.is_directory != directory:
            raise Refusal(errno.EBADF)
        return handle

    def of(self, node: Node) -> Handle | None:
        """One that a node has."""
        usable = (self._open[number] for number in node.handles if self._open[number].descriptor >= 0)
        return next(usable, None)

    def close(self, number: int) -> None:
        """Let go of one; EBADF is refused where there is none."""
        handle = self._open.pop(number, None)
        if handle is None:
            raise Refusal(errno.EBADF)
        handle.node.handles.remove(number)
        if handle.descriptor >= 0:
            os.close(handle.descriptor)

    def clear(self) -> None:
        """Let go of all."""
        for number in list(self._open):
            self.close(number)


def _descriptors() -> int:
    """How many a process may have."""
    if sys.platform == "win32":
        return 2 * MOST_HANDLES
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2 * MOST_HANDLES if soft == resource.RLIM_INFINITY else soft
