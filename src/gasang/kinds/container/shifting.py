"""The mounts of a container whose users are others on the host, made beforehand: its root may neither shift owners nor reach our folders.

The image's layers and the container's own stay on the disk as any container has them; the mounts alone show other owners. So an image is
there once, whoever uses it, and what a container has changed is read as that of any other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gasang.core.errors import NotFoundError, UnsupportedError, UsageError
from gasang.host.idmapped import shift, shifted, shifted_overlay
from gasang.kinds.container.config.config import Config, Mount
from gasang.kinds.container.idmap import root_outside
from gasang.kinds.container.planning.mounting import sort_options
from gasang.kinds.container.planning.order import MadeRoot
from gasang.kinds.container.planning.tree import has_mapping

MOST: Final = 45
"""Bound folders and files of one container: each takes a descriptor of its supervisor."""
_HINT: Final = "use Linux 6.15 or newer with the images on ext4, xfs, btrfs or tmpfs, or --userns=host"


def joined_users(config: Config) -> str:
    """The path of the user namespace that a container joins, "" where it joins none."""
    return next((use.path for use in config.linux.namespaces if use.kind == "user"), "")


def has_users(config: Config) -> bool:
    """Whether the container's root is not the host's."""
    return any(use.kind == "user" for use in config.linux.namespaces)


class Shifting:
    """Makes mounts for the user namespace at `path`. `hand` takes a descriptor over and gives its number in the supervisor.

    `clone` makes a detached mount of what is to be bound.
    """

    def __init__(self, config: Config, identity: str, path: str, hand: Callable[[int], int], clone: Callable[[Mount], int]) -> None:
        self._config = config
        self._identity = identity
        self._path = path
        self._hand = hand
        self._clone = clone

    def overlay(self, layers: tuple[Path, ...], upper: Path, work: Path, target: str, options: tuple[str, ...]) -> MadeRoot:
        """The layers put together. Raises UnsupportedError."""
        outside = root_outside(self._config.linux)
        return self._root(target, lambda users: shifted_overlay(layers, upper, work, users, outside, options))

    def folder(self, path: Path, target: str) -> MadeRoot:
        """A root that is one folder. Raises UnsupportedError."""
        return self._root(target, lambda users: shifted(str(path), users))

    def _root(self, target: str, make: Callable[[int], int]) -> MadeRoot:
        users = self._users()
        try:
            return MadeRoot(self._hand(make(users)), target)
        except OSError as error:
            cause = f"this host cannot give its files other owners ({error.strerror})"
            raise UnsupportedError(f"container {self._identity}", cause, _HINT) from error
        finally:
            os.close(users)

    def binds(self) -> dict[int, int]:
        """Whatever is bound, by the index of its mount. Raises NotFoundError, UnsupportedError, UsageError."""
        bound = {index: mount for index, mount in enumerate(self._config.mounts) if mount.kind == "bind" or _is_bind(mount)}
        if len(bound) > MOST:
            raise UsageError(f"container {self._identity}", f"with users of its own it has at most {MOST} bound mounts", "bind fewer")
        users = self._users()
        try:
            return {index: self._hand(self._bind(mount, users)) for index, mount in bound.items()}
        finally:
            os.close(users)

    def _bind(self, mount: Mount, users: int) -> int:
        try:
            made = self._clone(mount)
        except OSError as error:
            subject = f"source {mount.source} of the mount on {mount.destination}"
            raise NotFoundError(subject, (error.strerror or "").lower(), "make it, or leave the mount out") from error
        try:
            if has_mapping(mount):
                shift(made, users)
        except OSError as error:
            os.close(made)
            raise UnsupportedError(f"mount {mount.source}", f"its owners cannot be shifted ({error.strerror})", _HINT) from error
        return made

    def _users(self) -> int:
        return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)


def _is_bind(mount: Mount) -> bool:
    return sort_options(mount.options).is_bind
