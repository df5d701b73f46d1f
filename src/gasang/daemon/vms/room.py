"""Whether there is memory for a twin: what would not have any is refused before its machine is touched."""

from __future__ import annotations

from typing import Final

from gasang.core.errors import OutOfSpaceError
from gasang.core.units import format_size
from gasang.daemon.containers.record import Container
from gasang.kinds.container.cgroups.headroom import headroom

TWIN: Final = 16 << 20
"""Bytes that a twin which idles takes of its own soon after its birth, with its supervisor and stand-in. One that works takes more."""
AT_MOST: Final = 8
"""Twins between two looks: some tenths of a second."""


class Room:
    """For a flock of a machine's twins. There is looked again before every AT_MOSTth, and sooner where there is not room for many."""

    def __init__(self, parent: Container) -> None:
        self._parent = parent
        self._known = 0
        """Twins that there is room for without another look."""

    def take(self) -> bool:
        """Room for a twin; whether it is known to be there, so that nobody needs to `look`."""
        self._known -= 1
        return self._known >= 0

    def look(self) -> None:
        """Raise OutOfSpaceError where a twin could not live: the kernel would end it, or its machine, instead of refusing it.

        The host tells in a millisecond or two, and others may take what it tells of: half of it counts.
        """
        found = headroom(self._parent.status.pid)
        if found is not None and found.bytes < TWIN:
            cause = f"there is no memory for a twin: {format_size(found.bytes)} can be had in {found.where}"
            raise OutOfSpaceError(self._parent.subject, cause, f"end other programs, or give it more; a twin takes {format_size(TWIN)}")
        self._known = AT_MOST - 1 if found is None else min(AT_MOST - 1, found.bytes // TWIN // 2)
