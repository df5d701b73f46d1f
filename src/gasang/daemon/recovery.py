"""What a daemon does before it serves anyone: take over what a former one left, whatever moment it was killed at.

A record says what was begun, supervisors and their records say what became of it; where they differ the supervisor is right. What a
killed daemon had half made or half removed is removed: nobody was told that it is there, or everybody that it goes.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import Final

from gasang.core.errors import GasangError
from gasang.daemon.containers.execs import Execs
from gasang.daemon.containers.lives import Lives
from gasang.daemon.containers.names import stamp
from gasang.daemon.containers.process import Exit, Found
from gasang.daemon.containers.record import CONTAINER, NEVER, VM, Container
from gasang.daemon.containers.restart import wants_start_with_daemon
from gasang.daemon.services import Services

UNKNOWN: Final = 255
"""The exit code of a container whose end nobody saw: the host went down, or its supervisor was killed."""
HALF: Final = frozenset({"creating", "removing"})
"""States of containers that are not whole."""


class Recovery:
    """Done once."""

    def __init__(self, services: Services, lives: Lives, execs: Execs) -> None:
        self._services = services
        self._lives = lives
        self._execs = execs

    async def run(self) -> None:
        """Running containers go on, those that ended meanwhile are told, policies are honoured, what was half done is put away."""
        await asyncio.to_thread(self._forget_work)
        running, ended = await self._look()
        await asyncio.to_thread(self._services.networks.reconcile, running)
        for container, exit_ in ended:
            await self._lives.running.ended(self._lives.life(container), exit_)
        for container in self._lives.all():
            await self._settle(container)
        await self._execs.recover()
        for container in self._lives.all():
            if not container.status.alive and wants_start_with_daemon(container):
                await self._start_again(container)

    def _forget_work(self) -> None:
        """Contexts, uploads and layers of builds that nobody goes on with."""
        self._services.volumes.recover()
        state = self._services.folders.state
        for folder in (*self._services.folders.scratch().iterdir(), *state.glob("build-*")):
            if folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
            else:
                folder.unlink(missing_ok=True)

    async def _look(self) -> tuple[list[tuple[Container, int]], list[tuple[Container, Exit]]]:
        """Which containers run, each with the process that its supervisor has, and which have ended without their record knowing."""
        running: list[tuple[Container, int]] = []
        ended: list[tuple[Container, Exit]] = []
        for container in self._lives.all():
            folder = self._services.folder(container)
            found = await self._services.runtime.find(folder)
            if found is not None:
                await self._goes_on(container, found)
                running.append((container, found.pid if container.kind == VM else container.status.pid))
                self._lives.running.adopt(self._lives.life(container), found.process)
                continue
            exit_ = self._services.runtime.exit_of(folder)
            if exit_ is not None and not container.status.alive and stamp(exit_.time) > container.status.finished:
                container.status.started = stamp(exit_.started) if exit_.started else container.status.started
                ended.append((container, exit_))
            elif container.status.alive:
                ended.append((container, exit_ or Exit(UNKNOWN, time.time_ns())))
        return running, ended

    async def _goes_on(self, container: Container, found: Found) -> None:
        """Correct the record of a container that runs: the last daemon may have been killed between deed and record."""
        status = container.status
        frozen = await self._is_frozen(container)
        if not status.alive:
            status.pid, status.started = found.pid, stamp(found.started) if found.started else NEVER
            status.error, status.exit_code, status.oom_killed = "", 0, False
        status.status = "paused" if frozen else "running"
        self._lives.save(container)

    async def _is_frozen(self, container: Container) -> bool:
        """Whether one that runs stands still; of one that does not say, what its record says."""
        try:
            return await self._services.ways_of(container).is_frozen(container)
        except GasangError:
            return container.status.status == "paused"

    async def _settle(self, container: Container) -> None:
        """Put away what is no container any more, and what a start that was broken off has left."""
        if not container.status.alive and container.kind == CONTAINER:
            await asyncio.to_thread(self._services.control.remove, container)
        if container.status.status in HALF or (container.step and not container.status.alive):
            volumes = container.status.status == "creating" or container.step or container.status.takes_volumes
            await self._lives.put_away(self._lives.life(container), volumes=volumes)
        elif container.step:
            await self._lives.remove(container, force=True, volumes=True)

    async def _start_again(self, container: Container) -> None:
        if self._lives.life(container).restart_timer is not None:  # it has ended just now, and its policy has seen to that
            return
        try:
            await self._lives.start(container)
        except (GasangError, OSError) as error:
            container.status.error = str(error)
            self._lives.save(container)
