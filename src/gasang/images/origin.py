"""Where the packages of an image come from. Imports nothing of the rest of this room: a start has no time for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gasang.images.registry.settings import Registries

DEFAULT_MIRROR = "http://deb.debian.org/debian"


AUTO, REGISTRY, MIRROR = "auto", "registry", "mirror"


@dataclass(frozen=True, slots=True)
class ContainerSource:
    """The store that has this host's container images, and how registries are asked for others."""

    store: Path
    registries: Registries


@dataclass(frozen=True, slots=True)
class Origin:
    """A mirror, the keys one of which must have signed its release file, and how long it may send nothing, in seconds.

    Without `keyring` these are Debian's keys, as the host has them. `debian` is where container images of Debian's suites come from: their
    registry, packages of the mirror, or AUTO: the registry unless it cannot be reached.
    """

    mirror: str = DEFAULT_MIRROR
    keyring: Path | None = None
    timeout: float = 30.0
    debian: str = AUTO
    containers: Callable[[], ContainerSource] | None = None
    """Where container images come from that are to be booted as machines; None where they are not."""
