"""The containers of a daemon and what can be done to them. All of it happens on the daemon's event loop; what blocks runs in threads."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import GasangError, NotFoundError, StateError, UnsupportedError, UsageError
from gasang.daemon.containers import processes, statistics
from gasang.daemon.containers.creation import Creation
from gasang.daemon.containers.details import details
from gasang.daemon.containers.life import Life, Waiting
from gasang.daemon.containers.names import find
from gasang.daemon.containers.process import Exit
from gasang.daemon.containers.record import CONTAINER, NEVER, Container
from gasang.daemon.containers.running import Running
from gasang.daemon.containers.settings import HOST_CONFIG, checked_name, host_config_of
from gasang.daemon.containers.showing import show
from gasang.daemon.containers.signals import number_of
from gasang.daemon.containers.streams import Ends, LogRequest
from gasang.daemon.containers.user import identify
from gasang.daemon.records import Table, damaged
from gasang.daemon.services import Services

STOP_TIMEOUT = 10
SAMPLE_PAUSE = 1.0
_UPDATABLE_TEXT: Final = """
CpuShares Memory CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus CpusetMems MemoryReservation MemorySwap
NanoCpus PidsLimit BlkioWeight RestartPolicy
"""
UPDATABLE: Final = tuple(_UPDATABLE_TEXT.split())


class Lives:
    """The containers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._table = Table(services.database, "container")
        self._lives = {key: Life(_container_of(key, self._table[key])) for key in self._table}
        self.running = Running(services, self.save, self._vanish)
        self._creation = Creation(services, self.all, self._table)

    # finding

    def all(self) -> list[Container]:
        """Every container."""
        return [life.container for life in self._lives.values()]

    def find(self, word: str) -> Container:
        """The container of a name, an id or the beginning of one. Raises NotFoundError, UsageError."""
        names = {life.container.name: key for key, life in self._lives.items()}
        return self._lives[find(word, names, self._lives, "container")].container

    def find_container(self, word: str) -> Container:
        """The same, and no virtual machine: those have nothing of what the host's kernel does for containers. UnsupportedError too."""
        found = self.find(word)
        if found.kind != CONTAINER:
            cause = "it is a virtual machine, whose disk is its own kernel's"
            raise UnsupportedError(found.subject, cause, f"gasang export {found.name} gives all that is on it")
        return found

    def life(self, container: Container) -> Life:
        """Its life. Raises NotFoundError where it has been removed meanwhile."""
        found = self._lives.get(container.id)
        if found is None:
            raise NotFoundError("No such container", container.short, "it has been removed meanwhile")
        return found

    def save(self, container: Container) -> None:
        """Keep what changed."""
        self._table.put(container.id, container.as_record())

    # making and removing

    async def create(self, document: dict[str, Any], name: str, platform: str, *, step: bool = False) -> tuple[Container, list[str]]:
        """A new container and warnings; `step` is one that goes with its build. Raises GasangError."""
        container, warnings = await self._creation.create(document, name, platform, step)
        self.add(container)
        return container, warnings

    def add(self, container: Container) -> None:
        """Keep a new one."""
        self._lives[container.id] = Life(container)
        self.save(container)
        self._services.tell(container, "create")

    def naming(self, name: str) -> AbstractContextManager[str]:
        """A name for a new machine, `name` or one of ours, which nobody else gets meanwhile. Raises UsageError, StateError."""
        return self._creation.naming(name)

    async def remove(self, container: Container, *, force: bool, volumes: bool) -> None:
        """Remove a container and what belongs to it. Raises StateError where it runs and `force` is not said."""
        life = self.life(container)
        if container.status.alive or container.status.status == "restarting":
            if not force:
                state = container.status.status
                raise StateError(
                    f'cannot remove container "/{container.name}"',
                    f"container is {state}: stop the container before removing or force remove",
                )
            await self.running.kill(life, 9, final=True)
        async with life.lock:
            if container.id in self._lives:
                await self.put_away(life, volumes=volumes)

    async def _vanish(self, life: Life) -> None:
        """What --rm asks for when a container has ended."""
        async with life.lock:
            if life.container.id in self._lives:
                await self.put_away(life, volumes=True)

    async def put_away(self, life: Life, *, volumes: bool) -> None:
        """Remove what belongs to a container that does not run, and its record last: who is killed meanwhile goes on where he was."""
        container = life.container
        container.status.status, container.status.takes_volumes = "removing", volumes
        self.save(container)
        folder = self._services.folder(container)
        life.drop_waiting()
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self._lives.pop(container.id, None)
        self._services.images.unpin(container.id)
        if volumes:
            for mount in container.mounts:
                users = self.users_of_volume(mount.name) if mount.name else ["-"]
                if mount.kind == "volume" and self._services.volumes.is_anonymous(mount.name) and not users:
                    await asyncio.to_thread(self._services.volumes.remove, mount.name, [])
        self._table.drop(container.id)
        await self._services.ways_of(container).forget(container)
        self._services.tell(container, "destroy")
        life.tell_removed()

    def users_of_volume(self, name: str) -> list[str]:
        """The ids of containers and machines that mount a volume."""
        place = self._services.volumes.place(name)

        def uses(entry: Container) -> bool:
            own = (source for group in ("folders", "volumes") for source, *_ in entry.machine.get(group, ()))
            mounted = any(mount.kind == "volume" and mount.name == name for mount in entry.mounts)
            return mounted or any(Path(source).is_relative_to(place) for source in own)

        return [entry.id for entry in self.all() if uses(entry)]

    async def prune(self, fits: Callable[[Container], bool], until: list[str]) -> tuple[list[str], int]:
        """Remove every container that has ended and fits, no virtual machine; their ids and the bytes that are free now."""
        from gasang.daemon.containers.moments import before

        resting = [entry for entry in self.all() if not entry.status.alive and entry.status.status != "restarting"]
        chosen = [entry for entry in resting if entry.kind == CONTAINER]  # a machine's disk and snapshots are no rubbish
        chosen = [entry for entry in chosen if fits(entry) and all(before(entry.created, text) for text in until)]
        freed = 0
        for entry in chosen:
            freed += (await self.sizes(entry)).get("SizeRw", 0)
            await self.remove(entry, force=False, volumes=False)
        return [entry.id for entry in chosen], freed

    # life

    async def start(self, container: Container) -> bool:
        """Start it; False where it runs already. Raises GasangError where it cannot start."""
        life = self.life(container)
        async with life.lock:
            if container.status.status == "paused":
                raise StateError(f"cannot start {container.subject}", "it is paused, try unpause instead", "")
            if container.status.alive:
                return False
            container.status.restarts = 0
            container.status.stopped_by_user = False
            life.restart_delay = 0.0
            try:
                await self.running.start(life)
            except GasangError:
                if container.host["AutoRemove"]:
                    await self.put_away(life, volumes=True)
                raise
        return True

    async def stop(self, container: Container, timeout: int | None, signal: str = "") -> bool:
        """End it politely, by force after `timeout` seconds (-1: never); False where it does not run."""
        life = self.life(container)
        own = container.config["StopSignal"] if container.kind == CONTAINER else ""  # a machine's process has its guest's programs get it
        chosen = number_of(signal or own or "TERM")
        limit = next((value for value in (timeout, container.config["StopTimeout"]) if value is not None), STOP_TIMEOUT)
        return await self.running.stop(life, chosen, None if limit < 0 else float(limit))

    async def restart(self, container: Container, timeout: int | None, signal: str = "") -> None:
        """Stop and start."""
        life = self.life(container)
        held, container.host["AutoRemove"] = container.host["AutoRemove"], False
        try:
            await self.stop(container, timeout, signal)
        finally:
            container.host["AutoRemove"] = held
        await self.start(self.life(life.container).container)
        self._services.tell(container, "restart")

    async def kill(self, container: Container, signal: str) -> None:
        """Send a signal. Raises StateError where it does not run."""
        await self.running.kill(self.life(container), number_of(signal))

    async def pause(self, container: Container) -> None:
        """Freeze it. Raises StateError unless it runs."""
        await self.running.freeze(self.life(container), frozen=True)

    async def unpause(self, container: Container) -> None:
        """Let it go on. Raises StateError unless it is paused."""
        await self.running.freeze(self.life(container), frozen=False)

    async def wait(self, container: Container, condition: str) -> tuple[int, str]:
        """Wait for an end, as the condition says; the exit code and what went wrong at the start."""
        life = self.life(container)
        if condition == "not-running" and not container.status.alive and container.status.status != "restarting":
            return container.status.exit_code, ""
        future: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        (life.removed if condition == "removed" else life.next_exit).append(future)
        found = await future
        return found.code, found.error

    async def attach(self, container: Container, stream: socket.socket, early: bytes, ends: Ends) -> None:
        """Join a client's connection to the container: now, or when it starts."""
        life = self.life(container)
        if life.process is not None and container.status.alive:
            await life.process.attach(stream, early, ends, self._services.log(container))
            stream.close()
            self._services.tell(container, "attach")
        elif ends.replay and not ends.live:
            stream.close()
        else:
            life.waiting.append(Waiting(stream, early, ends))
            self._services.tell(container, "attach")

    async def resize(self, container: Container, rows: int, columns: int) -> None:
        """Set the terminal's size. Raises StateError where it does not run."""
        life = self.life(container)
        if life.process is None or not container.status.alive:
            raise StateError(container.subject, "it is not running", "start it first")
        await life.process.resize(rows, columns)

    # changing

    async def rename(self, container: Container, name: str) -> None:
        """Give it another name. Raises UsageError, StateError."""
        if not name:
            raise UsageError(container.subject, "Neither old nor new names may be empty", "give a name")
        wanted = checked_name(name)
        self._creation.check_free(wanted)
        old, container.name = container.name, wanted
        await asyncio.to_thread(self._services.networks.host.rename, container.id, wanted)
        self.save(container)
        self._services.tell(container, "rename", {"oldName": f"/{old}"})

    async def update(self, container: Container, document: dict[str, Any]) -> list[str]:
        """Change limits and the restart policy, also while it runs. Raises UsageError."""
        said = {name: document[name] for name in UPDATABLE if document.get(name) not in (None, 0, "", {"Name": "", "MaximumRetryCount": 0})}
        merged = host_config_of({**{name: container.host[name] for name in HOST_CONFIG}, **said})
        if merged["RestartPolicy"]["Name"] not in ("", "no") and merged["AutoRemove"]:
            raise UsageError(container.subject, "Restart policy cannot be updated because AutoRemove is enabled", "")
        container.host = merged
        if container.status.alive:
            await asyncio.to_thread(self._services.control.update, container)
        self.save(container)
        self._services.tell(container, "update")
        return []

    # looking

    async def sizes(self, container: Container) -> dict[str, int]:
        """SizeRw and SizeRootFs, in bytes."""
        return await self._services.ways_of(container).sizes(container)

    async def show_log(self, container: Container, wanted: LogRequest, output: int) -> None:
        """Write its log to a descriptor, and go on while it runs if that is wanted. Raises StateError where it keeps none."""
        log = self.check_log(container)
        life = self.life(container)
        await show(log, wanted, output, details(container) if wanted.details else b"", life.ended if container.status.alive else None)

    def check_log(self, container: Container) -> Path:
        """Its log. Raises StateError where it keeps none."""
        log = self._services.log(container)
        if log is None:
            raise StateError(container.subject, "configured logging driver does not support reading", "start it with another log driver")
        return log

    def owner(self, container: Container) -> tuple[int, int] | None:
        """The numbers of the user that its command runs as, None where none is set: then Docker keeps owners. Raises UsageError."""
        if not container.config["User"]:
            return None
        passwd, group = (self._services.layers.text(container, f"etc/{name}") for name in ("passwd", "group"))
        found = identify(container.config["User"], passwd, group, [])
        return found.uid, found.gid

    async def top(self, container: Container, options: str) -> tuple[list[str], list[list[str]]]:
        """Its processes as ps shows them. Raises StateError where it does not run."""
        if not container.status.alive:
            raise StateError(f"container {container.id}", "container is not running", "start it first")
        pids = await asyncio.to_thread(self._services.control.processes, container)
        return await asyncio.to_thread(processes.table, pids, options)

    async def changes(self, container: Container) -> list[tuple[str, int]]:
        """What differs from its image."""
        return await asyncio.to_thread(self._services.layers.changes, container)

    async def stats(self, container: Container, *, one_shot: bool, follow: bool) -> AsyncIterator[dict[str, Any]]:
        """Samples of what it uses, one a second while it runs; without `follow` one, which has the one before in it unless `one_shot`."""
        before: dict[str, Any] | None = None
        while True:
            if not container.status.alive:
                yield statistics.nothing(container)
            else:
                present = await self._services.ways_of(container).sample(container, before)
                if follow or before is not None or one_shot:
                    yield present
                before = present
            if not follow and (one_shot or not container.status.alive or present["preread"] != NEVER):
                return
            await asyncio.sleep(SAMPLE_PAUSE)
            if container.id not in self._lives:
                return

    def log_path(self, container: Container) -> str:
        """Where its log is, "" where it has none."""
        return str(self._services.log(container) or "")

    def files(self, container: Container) -> dict[str, str]:
        """The files that the daemon makes for it, as inspect names them."""
        if container.kind != CONTAINER:
            return {}
        folder = self._services.folders.container(container.id)
        return {"ResolvConfPath": str(folder / "resolv.conf"), "HostnamePath": str(folder / "hostname"), "HostsPath": str(folder / "hosts")}

    def graph(self, container: Container) -> dict[str, str]:
        """Where its layers are; a virtual machine has none that the host could read."""
        return self._services.layers.graph(container) if container.kind == CONTAINER else {}


def _container_of(key: str, record: dict[str, Any]) -> Container:
    try:
        return Container.of_record(record)
    except (TypeError, KeyError, AttributeError) as error:
        raise damaged("container", key) from error
