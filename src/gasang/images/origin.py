"""Where the packages of an image come from. Imports nothing of the rest of this room: a start has no time for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_MIRROR = "http://deb.debian.org/debian"


@dataclass(frozen=True, slots=True)
class Origin:
    """A mirror, the keys one of which must have signed its release file, and how long it may send nothing, in seconds.

    Without `keyring` these are Debian's keys, as the host has them.
    """

    mirror: str = DEFAULT_MIRROR
    keyring: Path | None = None
    timeout: float = 30.0
