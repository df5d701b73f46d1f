"""Network namespaces and taps that the daemon holds: of containers until they start, of machines, which are in none, all the time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from gasang.core.errors import StateError
from gasang.daemon.containers.record import VM, Container
from gasang.host import netns
from gasang.kinds.vm.process.launch import Door


class Held:
    """Descriptors by the ids of their containers; they are closed here."""

    def __init__(self) -> None:
        self._namespaces: dict[str, int] = {}
        self._taps: dict[str, int] = {}

    def __contains__(self, identity: str) -> bool:
        return identity in self._namespaces

    def has_tap(self, container: Container) -> bool:
        """Whether its tap is held, which who made it alone can."""
        return container.id in self._taps

    def hold(self, namespaces: Mapping[str, int]) -> None:
        """These are held from now on."""
        self._namespaces |= namespaces

    def furnish(self, container: Container, tap: int) -> None:
        """A machine's tap is held from now on."""
        self._taps[container.id] = tap

    def namespace(self, container: Container) -> int | None:
        """A container's, if it is held; to be closed by nobody else."""
        return self._namespaces.get(container.id)

    def let_go(self, container: Container) -> None:
        """Its process holds its namespace now: we need not."""
        namespace = self._namespaces.pop(container.id, None)
        if namespace is not None:
            os.close(namespace)

    def drop(self, container: Container) -> None:
        """Neither its namespace nor its tap any more."""
        self.let_go(container)
        tap = self._taps.pop(container.id, None)
        if tap is not None:
            os.close(tap)

    def door(self, container: Container) -> Door | None:
        """The way to its networks of a machine that has joined them, both descriptors the caller's to close; None where it is in none."""
        tap = self._taps.get(container.id)
        return None if tap is None else Door(os.dup(self._namespaces[container.id]), os.dup(tap))

    @contextlib.contextmanager
    def opened(self, container: Container) -> Iterator[int]:
        """The namespace of one that runs. Raises NotFoundError, and StateError for a machine that has no network card."""
        held = self._namespaces.get(container.id)
        if container.kind == VM and held is None:
            raise StateError(container.subject, "it was started without a network card", "stop it, connect it, and start it again")
        namespace = netns.of_process(container.status.pid) if held is None else os.dup(held)
        try:
            yield namespace
        finally:
            os.close(namespace)

    def close(self) -> None:
        """Hold nothing."""
        for descriptor in (*self._namespaces.values(), *self._taps.values()):
            os.close(descriptor)
