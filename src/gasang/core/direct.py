"""Disks whose content lies in files of the host just as the guest sees it, for those who read and write these without asking the disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable


class Direct(NamedTuple):
    """Descriptors of `files` by number of the layer, each byte at its own offset. `clusters` is the address of the map of 4 KiB clusters.

    A byte of the map is the number of the layer that counts; without a map (0) it is `top` everywhere. With `may_own` whole clusters may be
    written to the top layer and marked as its own; then `own` is called afterwards.
    """

    files: tuple[int, ...]
    top: int = 0
    clusters: int = 0
    writable: bool = True
    may_own: bool = False
    own: Callable[[], None] = lambda: None


@runtime_checkable
class DirectBlock(Protocol):
    """A disk that can tell."""

    def direct(self) -> Direct | None:
        """Where its content is, until the disk itself is asked anything again; None where it is not like that."""
        ...
