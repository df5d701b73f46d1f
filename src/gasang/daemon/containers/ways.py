"""How machines of one kind live on the host: what the daemon does with any machine is written once, and asks this where kinds differ."""

from __future__ import annotations

from typing import Any, Protocol

from gasang.daemon.containers.process import Process
from gasang.daemon.containers.record import Container


class Ways(Protocol):
    """What a kind of machine answers. Nothing blocks the event loop."""

    async def launch(self, container: Container) -> Process:
        """A supervised process that waits for `start`. Raises GasangError; what was made is put away by `give_back`."""
        ...

    async def execute(self, container: Container, key: str, config: dict[str, Any], size: tuple[int, int]) -> Process:
        """A process inside one that runs, which waits for `start`: `key` is the exec's id, `config` the API's. Raises GasangError."""
        ...

    def started(self, container: Container) -> None:
        """It runs now: let go of what only the start needed."""
        ...

    async def give_back(self, container: Container) -> None:
        """Put away what a run had on the host, after its end or a start that failed. Never raises GasangError."""
        ...

    async def forget(self, container: Container) -> None:
        """It has been removed, with its folder: so may be what was kept for it elsewhere."""
        ...

    async def freeze(self, container: Container, *, frozen: bool) -> None:
        """Have it stand still, or go on. Raises GasangError."""
        ...

    async def let_die(self, container: Container) -> None:
        """One that stands still has been sent KILL: see that it can end."""
        ...

    async def is_frozen(self, container: Container) -> bool:
        """Whether one that runs stands still. Raises GasangError."""
        ...

    async def rewired(self, container: Container) -> None:
        """One that runs has joined a network, or left one: see that it knows. Raises GasangError."""
        ...

    async def sample(self, container: Container, before: dict[str, Any] | None) -> dict[str, Any]:
        """What it uses, as the API's statistics have it; `before` is the sample before. Raises GasangError."""
        ...

    async def sizes(self, container: Container) -> dict[str, int]:
        """SizeRw and SizeRootFs, in bytes."""
        ...
