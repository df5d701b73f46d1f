"""What a container is made from, besides its configuration: the order given to the planner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gasang.kinds.container.config.config import Config


@dataclass(frozen=True)
class FolderRoot:
    """A root file system that is a folder."""

    path: str


@dataclass(frozen=True)
class OverlayRoot:
    """A root file system of layers: `lower` from the topmost down, changes in `upper`, put together at `target`.

    `options` are overlayfs's own: "volatile" spares the disk where the changes need not survive a crash of the host.
    """

    lower: Sequence[str]
    upper: str
    work: str
    target: str
    options: Sequence[str] = ()

    @property
    def path(self) -> str:
        """Where it is to be seen."""
        return self.target


@dataclass(frozen=True)
class MadeRoot:
    """A root file system that is mounted already, detached: `descriptor` is the caller's; it is to be seen at the folder `path`."""

    descriptor: int
    path: str


Root = FolderRoot | OverlayRoot | MadeRoot


@dataclass(frozen=True)
class CgroupUse:
    """The control groups a container is in: their files to write "0" to, or a descriptor to be cloned into, and folders to show."""

    join_files: Sequence[str] = ()
    descriptor: int = -1
    folders: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    unified: bool = False


@dataclass(frozen=True)
class Order:
    """All that the plan of a container's first process depends on.

    `stdio` and `preserved` are descriptors of the caller; `console_socket` takes the terminal's other end; `start_fifo`, if any, is what
    the child reads a byte from before it executes the program; `stops` are the points at which it waits for word on the control pipe;
    `dies_with_us` ends the process when who made it is killed.
    """

    config: Config
    root: Root
    identity: str
    cgroup: CgroupUse = CgroupUse()
    stdio: tuple[int, int, int] = (0, 1, 2)
    preserved: Sequence[int] = ()
    console_socket: int = -1
    start_fifo: int = -1
    waits_for_start: bool = False
    waits_for_hooks: bool = False
    may_pivot: bool = True
    new_keyring: bool = True
    privileged_limits: bool = True
    filter: bytes = b""
    filter_flags: int = 0
    dies_with_us: bool = False
    made: Mapping[int, int] = field(default_factory=dict)
    """Mounts made beforehand, because the container's root may not make them: the index of a mount → the caller's descriptor of it."""
    owned: Sequence[int] = ()
    """Standard descriptors that are to belong to the container's root, in a user namespace that is joined."""
    may_set_groups: bool = True
    """Whether the kernel lets us choose groups at all."""


RUNTIME_STOP = 1
"""The namespaces are there and the root is mounted, nothing is pivoted: time for the runtime's hooks. The word is the container's state."""
START_STOP = 2
"""All is done but the program's start."""
