"""The user namespaces of containers: each has its own, made before its network and its process, which then belong to it.

A container that shares a namespace of another joins that one's users too. Which users a running container has is asked of the kernel, not
of the settings, which the daemon that started it may have had otherwise.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from gasang.core.errors import NotFoundError, StateError, UnsupportedError, UsageError
from gasang.daemon.containers.record import Container
from gasang.daemon.remap import Remap
from gasang.host import netns
from gasang.host.idmapped import shifted_overlay
from gasang.kinds.container.config.linux import IdMapping
from gasang.kinds.container.idmap import number_inside, number_outside, user_and_network, user_namespace

_HOST_MODE = "--userns=host leaves this container's users as they are"


class Mapped(NamedTuple):
    """How a container's users are mapped, and the path of their namespace."""

    path: str
    uids: Sequence[IdMapping]
    gids: Sequence[IdMapping]

    def outside(self, uid: int, gid: int) -> tuple[int, int]:
        """The host's numbers of a user and a group."""
        return number_outside(uid, self.uids), number_outside(gid, self.gids)

    def inside(self, uid: int, gid: int) -> tuple[int, int]:
        """The container's numbers."""
        return number_inside(uid, self.uids), number_inside(gid, self.gids)


class Users:
    """Whose users containers have. `remap` is None where they are the host's."""

    def __init__(self, remap: Remap | None, find: Callable[[str], Container], *, is_rootless: bool = False) -> None:
        """`is_rootless`: the daemon is a user's who is not root."""
        self.remap = remap
        self.is_rootless = is_rootless
        self._find = find
        self._held: dict[str, tuple[int, int]] = {}

    def wanted(self, container: Container) -> bool:
        """Whether a container is to have users of its own."""
        return self.remap is not None and container.host["UsernsMode"] != "host"

    def check(self, container: Container) -> None:
        """Raise UsageError for what users of its own forbid."""
        if not self.wanted(container):
            return
        host = container.host
        if host["Privileged"]:
            sentence = "privileged mode is incompatible with user namespaces"
            raise UsageError(sentence, "You must run the container in the host namespace when running privileged mode", _HOST_MODE)
        shared = {"NetworkMode": "host's network namespace", "PidMode": "host PID namespace", "IpcMode": "host IPC namespace"}
        for name, words in shared.items():
            if host[name] == "host":
                raise UsageError(f"cannot share the {words} when user namespaces are enabled", "it is not the container's", _HOST_MODE)

    def intended(self, container: Container) -> Mapped | None:
        """Those of a container that does not run: what it will have when it does."""
        return Mapped("", self.remap.uids, self.remap.gids) if self.remap is not None and self.wanted(container) else None

    def begin(self, container: Container) -> Mapped | None:
        """Make the users of a container that starts, or find those of the one whose namespaces it shares. Raises GasangError."""
        if self.remap is None or not self.wanted(container):
            return None
        self.check(container)
        others = self._shared(container)
        if others:
            found = self.of(others[0])
            if found is None:
                cause = f"container {others[0].name}, whose namespace it shares, has the host's users"
                raise StateError(container.subject, cause, "start it with --userns=host too")
            return found
        self.end(container)
        self._held[container.id] = held = user_and_network(self.remap.uids, self.remap.gids)
        return Mapped(f"/proc/{os.getpid()}/fd/{held[0]}", self.remap.uids, self.remap.gids)

    def _shared(self, container: Container) -> list[Container]:
        modes = [container.host[name] for name in ("PidMode", "IpcMode", "NetworkMode")]
        others = [self._find(mode.removeprefix("container:")) for mode in modes if mode.startswith("container:")]
        return [other for other in others if other.status.alive]  # one that does not run is missed, with a sentence, where it is joined

    def network(self, container: Container) -> int:
        """A new network namespace, which belongs to the container's users. The caller closes it."""
        held = self._held.get(container.id)
        return netns.create() if held is None else os.dup(held[1])

    def end(self, container: Container) -> None:
        """The process holds its namespaces now, or there will be none: we need not."""
        for descriptor in self._held.pop(container.id, ()):
            os.close(descriptor)

    def of(self, container: Container) -> Mapped | None:
        """Those of a container that runs; None where they are the host's. Raises NotFoundError where it does not run any more."""
        place = Path(f"/proc/{container.status.pid}")
        try:
            if os.path.samefile(place / "ns/user", "/proc/self/ns/user"):
                return None
            uids, gids = (_mappings((place / name).read_text()) for name in ("uid_map", "gid_map"))
        except OSError as error:
            raise NotFoundError(container.subject, "its process has ended", "start it again") from error
        return Mapped(f"{place}/ns/user", uids, gids)

    def probe(self, scratch: Path) -> None:
        """Raise UnsupportedError where this host cannot give layers below `scratch` other owners."""
        if self.remap is None:
            return
        if os.geteuid() or self.is_rootless:
            raise UnsupportedError("userns-remap", "only root may map users of containers", "leave it out of daemon.json, or run as root")
        users = user_namespace(self.remap.uids, self.remap.gids)
        place = scratch / "userns-probe"
        try:
            for name in ("lower", "upper", "work"):
                (place / name).mkdir(parents=True, exist_ok=True)
            outside = self.remap.uids[0].outside, self.remap.gids[0].outside
            os.close(shifted_overlay((place / "lower",), place / "upper", place / "work", users, outside, ()))
        except OSError as error:
            cause = f"this host cannot give images' files other owners ({error.strerror})"
            hint = "it takes Linux 6.15 or newer, and ext4, xfs, btrfs or tmpfs; or leave userns-remap out of daemon.json"
            raise UnsupportedError("userns-remap", cause, hint) from error
        finally:
            os.close(users)
            shutil.rmtree(place, ignore_errors=True)


def _mappings(text: str) -> tuple[IdMapping, ...]:
    return tuple(IdMapping(*(int(word) for word in line.split())) for line in text.splitlines())
