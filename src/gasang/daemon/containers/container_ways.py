"""How containers live on the host (ways.py): processes in namespaces and control groups of its kernel."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from gasang.core.errors import GasangError
from gasang.daemon.containers import oci, statistics
from gasang.daemon.containers.preparation import Preparation, seccomp_of
from gasang.daemon.containers.process import Process
from gasang.daemon.containers.record import Container
from gasang.daemon.services import Services
from gasang.kinds.container.supervising import Wish

_log = logging.getLogger(__name__)


class ContainerWays:
    """What containers answer."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._preparation = Preparation(services)

    async def launch(self, container: Container) -> Process:
        """With users, network, control groups and layers made ready."""
        users = await asyncio.to_thread(self._services.users.begin, container)
        namespaces = await self._services.networks.join(container)
        wish = await asyncio.to_thread(self._preparation.launch, container, namespaces, users)
        return await self._services.runtime.launch(wish)

    async def execute(self, container: Container, key: str, config: dict[str, Any], size: tuple[int, int]) -> Process:
        """One more in the container's namespaces, with a supervisor of its own."""
        return await self._services.runtime.launch(await asyncio.to_thread(self._one_more, container, key, config, size))

    def _one_more(self, container: Container, key: str, config: dict[str, Any], size: tuple[int, int]) -> Wish:
        shared = self._services.networks.modes.of_exec(container)
        around = self._preparation.surroundings(container, shared, self._services.users.of(container), config["User"] or None)
        process = oci.process(
            container,
            around,
            config["Cmd"],
            bool(config["Tty"]),
            env=config["Env"] or [],
            cwd=config["WorkingDir"],
            privileged=config["Privileged"],
        )
        return Wish(
            folder=self._services.folders.machine(key),
            identity=key,
            configuration=oci.exec_specification(container, around, process),
            inside=container.status.pid,
            stdin=config["AttachStdin"],
            size=size,
            seccomp="unconfined" if config["Privileged"] else seccomp_of(container.host),
        )

    def started(self, container: Container) -> None:
        """Its namespaces are the process's now."""
        self._services.users.end(container)

    async def give_back(self, container: Container) -> None:
        """Its network and its groups. What cannot be put away now is no reason not to tell that it has ended."""
        self._services.users.end(container)
        try:
            await self._services.networks.leave(container)
        except GasangError as error:
            _log.warning("%s: %s", container.subject, error)
        try:
            await asyncio.to_thread(self._services.control.remove, container)
        except GasangError as error:
            _log.warning("%s: %s", container.subject, error)

    async def forget(self, container: Container) -> None:
        """Its folder was all."""

    async def freeze(self, container: Container, *, frozen: bool) -> None:
        """By its control group."""
        await asyncio.to_thread(self._services.control.freeze, container, frozen)

    async def let_die(self, container: Container) -> None:
        """A frozen group's processes do not hear even KILL with control groups of version 1."""
        await asyncio.to_thread(self._services.control.freeze, container, False)

    async def is_frozen(self, container: Container) -> bool:
        """What its control group says."""
        return self._services.control.is_frozen(container)

    async def rewired(self, container: Container) -> None:
        """Its network is the kernel's, and its files are written with it."""

    async def sample(self, container: Container, before: dict[str, Any] | None) -> dict[str, Any]:
        """What its control group has counted."""
        figures = await asyncio.to_thread(self._services.control.stats, container)
        return statistics.sample(container, figures, self._services.control.version == "2", before)

    async def sizes(self, container: Container) -> dict[str, int]:
        """Of its own layer, and of its image."""
        return await self._services.layers.sizes(container)
