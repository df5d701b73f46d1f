"""How virtual machines live on the host (daemon/containers/ways.py): each in a process that is asked over its control socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from gasang.core.errors import GasangError, OutOfSpaceError, StateError, UnsupportedError
from gasang.daemon.containers.names import now
from gasang.daemon.containers.preparation import console_size, log_limits
from gasang.daemon.containers.process import Process
from gasang.daemon.containers.record import NEVER, Container
from gasang.daemon.containers.statistics import host_time
from gasang.daemon.services import Services
from gasang.daemon.vms.consoles import Consoles
from gasang.daemon.vms.exec import GuestProcess
from gasang.daemon.vms.nursery import Nursery
from gasang.daemon.vms.process import Another, BornProcess, MachineProcess, TwinProcess
from gasang.daemon.vms.standing import Standing
from gasang.kinds.vm.agent.client import Agent
from gasang.kinds.vm.agent.dialing import dial
from gasang.kinds.vm.process import bases
from gasang.kinds.vm.process.births import FILES, LAYERS, boots_itself
from gasang.kinds.vm.process.client import ask
from gasang.kinds.vm.process.launch import Door, Log, Streams, launch_born, launch_machine, launch_stand_in
from gasang.kinds.vm.process.settings import MachineSettings
from gasang.kinds.vm.process.stand_in import stand_in_file
from gasang.kinds.vm.sockets import GUEST_SOCKET


class Restored(NamedTuple):
    """A birth from a snapshot, in this folder, of this digest, of a machine that had a network card or had none."""

    snapshot: Path
    digest: str
    has_card: bool


class Forked(NamedTuple):
    """A birth as the twin of the machine in this folder; `volumes` are the folders of its volumes, by the parent's.

    It is forked when `written` is done: its parent's guest writes its disk back (`VmWays.write_back`).
    """

    parent: Path
    volumes: Mapping[str, str] = {}
    written: asyncio.Future[None] | None = None


_log = logging.getLogger(__name__)
PAUSE_TIME: Final = 30.0
WRITING_TIME: Final = 1.0
"""Seconds that twins are kept waiting for their parent's guest to write its disk back."""
BOOT_TIME: Final = 60.0
"""Seconds after its start in which a command waits for a guest's agent."""


class VmWays:
    """`births` says of machines that are about to start how, where they are not simply booted: id → birth."""

    def __init__(self, services: Services, process_of: Callable[[Container], Process | None]) -> None:
        """`process_of` gives who owns a machine's streams, if it runs."""
        self._services = services
        self._consoles = Consoles(process_of)
        self.births: dict[str, Restored | Forked] = {}
        self._program: Path | None = None
        self.nursery = Nursery()
        self.standing = Standing(self.nursery)
        self.on_forget: Callable[[Container], Awaitable[None]] = _nothing
        """What else a machine leaves behind that is removed."""

    def folder(self, container: Container) -> Path:
        """A machine's."""
        return self._services.folder(container)

    async def launch(self, container: Container) -> Process:
        """Boot it, or as `births` says, once."""
        birth = self.births.pop(container.id, None)
        networks = self._services.networks
        if self._has_card(birth):
            await networks.join(container)
        with ExitStack() as cleanup:
            door, card = networks.door(container), await asyncio.to_thread(networks.card, container)
            if door is not None:
                cleanup.callback(os.close, door.namespace)
                cleanup.callback(os.close, door.tap)
            try:
                return await self._launch(container, birth, door, card)
            except OSError as error:
                raise OutOfSpaceError(container.subject, f"it cannot be started ({error.strerror})", "free what is used up") from error

    async def _launch(
        self, container: Container, birth: Restored | Forked | None, door: Door | None, card: dict[str, Any] | None
    ) -> Process:
        folder = self.folder(container)
        if isinstance(birth, Forked):
            made, link = await asyncio.to_thread(self._stand_in, container, door)
            if birth.written is not None:
                await asyncio.wait([birth.written])
            another = Another(birth.parent, folder, container.machine["hostname"], card, volumes=birth.volumes)
            return TwinProcess(made, link, another, _kept(door))
        snapshot = str(birth.snapshot) if birth else ""
        settings = MachineSettings.of_document({**container.machine, "snapshot": snapshot, "network": card})
        log, size = self._log(container), console_size(container.host["ConsoleSize"])
        stands = self.standing.find(folder, birth.digest) if birth else None
        if stands is not None or self.nursery.ready:
            made, link = await asyncio.to_thread(launch_born, folder, settings, self._stand_in_file(), log, size, door)
            if stands is not None:
                return TwinProcess(made, link, Another(stands, folder, "", card, replaces=True), _kept(door))
            return BornProcess(made, link, self.nursery, folder, _kept(door))
        self.nursery.begin()
        return MachineProcess(*await asyncio.to_thread(launch_machine, folder, settings, log, size, door))

    def _has_card(self, birth: Restored | Forked | None) -> bool:
        """Whether one that is born like this can have a network card: those that were once booted without one cannot."""
        if isinstance(birth, Forked):
            return self._services.networks.is_furnished(birth.parent.name)
        return birth is None or birth.has_card

    def prepare(self, container: Container, birth: Restored) -> None:
        """Have the next restore of a machine from this snapshot made ready; but what it has of the host may be another by then."""
        if not container.machine.get("folders") and not container.machine.get("disks") and not container.machine.get("volumes"):
            settings = MachineSettings.of_document({**container.machine, "snapshot": str(birth.snapshot)})
            self.standing.prepare(self.folder(container), settings, birth.digest)

    def _stand_in_file(self) -> Path:
        self._program = self._program or stand_in_file(self._services.folders.state)
        return self._program

    def _stand_in(self, container: Container, door: Door | None) -> Any:
        program = self._stand_in_file()
        streams = Streams(bool(container.config["Tty"]), bool(container.config["OpenStdin"]), console_size(container.host["ConsoleSize"]))
        return launch_stand_in(self.folder(container), program, self._log(container), streams, door)

    def _log(self, container: Container) -> Log:
        size, files = log_limits(container.host["LogConfig"]["Config"])
        log = self._services.log(container)
        return Log(log.name if log else "", size, files)

    def agent(self, container: Container) -> Agent:
        """The agent of its guest. Raises StateError unless it runs, UnsupportedError for a machine that cannot have one."""
        if container.status.status != "running":
            raise StateError(container.subject, f"it is {container.status.status}", "gasang start starts it, gasang resume lets it go on")
        if not container.machine.get("image"):
            cause = "its kernel was given by hand, and only guests of images have an agent"
            raise UnsupportedError(container.subject, cause, f"gasang attach {container.name} sits down at its console")
        if boots_itself(self.folder(container)):
            cause = "what runs in it is its imported disk's own, in which there is no agent"
            hint = f"gasang attach {container.name} sits down at its console; one that is started with a command has an agent"
            raise UnsupportedError(container.subject, cause, hint)
        return Agent(partial(dial, self.folder(container) / GUEST_SOCKET, container.subject), container.subject)

    async def execute(self, container: Container, key: str, config: dict[str, Any], size: tuple[int, int]) -> Process:
        """A command of the guest's, by its agent; user, directory and variables are the machine's own where it names none.

        One without an agent has it typed at its console, if a shell can be there; but not what we ask again and again ourselves.
        """
        own = {name: config[name] or container.config[name] for name in ("User", "WorkingDir")}
        variables = [*(container.config["Env"] or ()), *(config["Env"] or ())]
        console = None if config.get("Alone") else self._consoles.of(container)
        agent: Agent | None = None
        try:
            agent = self.agent(container)
        except UnsupportedError as error:
            if console is None:
                raise
            console = console._replace(why=error.cause)
        wish = {**config, **own, "Env": variables}
        return GuestProcess(agent, wish, size, patience=_left_to_boot(container), console=console)

    def close(self) -> None:
        """Let go of what is there for machines to come; those that run go on."""
        self.standing.close()
        self.nursery.close()

    def started(self, container: Container) -> None:
        """There is nothing to let go of: its namespace is held while it runs."""

    async def give_back(self, container: Container) -> None:
        """Its networks. What cannot be put away now is no reason not to tell that it has ended."""
        self.births.pop(container.id, None)
        self._consoles.forget(container)
        try:
            await self._services.networks.leave(container)
        except GasangError as error:
            _log.warning("%s: %s", container.subject, error)

    async def rewired(self, container: Container) -> None:
        """Its guest is told by its agent, if it has a card. Raises GasangError where there is no agent."""
        if self._services.networks.is_furnished(container.id):
            await self.ask(container, "network", {"network": await asyncio.to_thread(self._services.networks.card, container)})

    async def forget(self, container: Container) -> None:
        """What no machine was booted from any more goes, and the folder of its family with the last of them."""
        self.standing.forget(self.folder(container))
        if container.machine.get("volumes"):
            await self.on_forget(container)
        if container.family:
            with contextlib.suppress(OSError):  # others are in it
                self.folder(container).parent.rmdir()
        await self.sweep()

    async def sweep(self) -> None:
        """Remove what was kept for machines that are gone."""
        machines = self._services.folders.every()
        self.standing.sweep(machines)
        notes = [folder / FILES for folder in machines]
        with contextlib.suppress(OSError):  # the next one's removal comes by again
            await asyncio.to_thread(bases.sweep, self._services.folders.state / bases.FOLDER, notes)

    async def ask(self, container: Container, verb: str, words: Mapping[str, Any] | None = None, patience: float = PAUSE_TIME) -> Any:
        """What its process answers. Raises what `client.ask` raises, about this machine."""
        try:
            return await asyncio.to_thread(ask, self.folder(container), verb, dict(words or {}), patience=patience)
        except GasangError as error:
            subject = container.subject if str(self.folder(container)) in error.subject or error.subject == "machine" else error.subject
            raise type(error)(subject, error.cause, error.hint) from error

    async def write_back(self, container: Container) -> None:
        """Have its guest write its disk back, if it hears: what is not written at a fork, each twin writes for itself some seconds later.

        Returns after WRITING_TIME at the latest; the guest goes on with it.
        """
        done, loop = asyncio.Event(), asyncio.get_running_loop()
        with contextlib.suppress(GasangError, RuntimeError):  # it has no agent; the host has no room for a thread
            agent = self.agent(container)

            def write() -> None:
                with contextlib.suppress(GasangError):  # it has no agent, or has ended
                    agent.run(["sync"], tool=True)
                with contextlib.suppress(RuntimeError):  # the daemon's loop has ended
                    loop.call_soon_threadsafe(done.set)

            threading.Thread(target=write, name="sync", daemon=True).start()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), WRITING_TIME)

    async def freeze(self, container: Container, *, frozen: bool) -> None:
        """Harts, guest time and devices' workers stand still."""
        await self.ask(container, "pause" if frozen else "resume")

    async def let_die(self, container: Container) -> None:
        """Its process hears KILL whether its guest stands still or not."""

    async def is_frozen(self, container: Container) -> bool:
        """What it says itself."""
        return bool((await self.ask(container, "status"))["paused"])

    async def sample(self, container: Container, before: dict[str, Any] | None) -> dict[str, Any]:
        """Memory as its process sees it: `usage` is what is resident, `limit` what the guest has."""
        found = await self.ask(container, "stats")
        networks = await asyncio.to_thread(self._services.networks.figures, container)
        return {
            "read": now(),
            "preread": before["read"] if before else NEVER,
            "id": container.id,
            "name": f"/{container.name}",
            "num_procs": 0,
            "pids_stats": {"current": 1},
            "cpu_stats": {
                "cpu_usage": {"total_usage": found["processor"], "usage_in_kernelmode": 0, "usage_in_usermode": found["processor"]},
                "system_cpu_usage": host_time(),
                "online_cpus": len(os.sched_getaffinity(0)),
            },
            "precpu_stats": before["cpu_stats"] if before else {"cpu_usage": {"total_usage": 0}},
            "memory_stats": {
                "usage": found["resident"],
                "limit": found["guest"],
                "stats": {"shared": found["shared"], "private": found["private"], "swapped": found["swapped"]},
            },
            "blkio_stats": {},
            "storage_stats": {},
            **({"jit_stats": found["jit"]} if found.get("jit") else {}),
            **({"networks": networks} if networks else {}),
        }

    async def sizes(self, container: Container) -> dict[str, int]:
        """What its own layers of its disk take on the host."""
        own = await asyncio.to_thread(_taken, self.folder(container) / LAYERS)
        return {"SizeRw": own, "SizeRootFs": own}


async def _nothing(container: Container) -> None:
    """Nobody wants to know."""


def _kept(door: Door | None) -> int:
    """A tap that a process gets when it starts; -1 for none."""
    return -1 if door is None else os.dup(door.tap)


def _left_to_boot(container: Container) -> float:
    """Seconds of BOOT_TIME that its guest has left; 0 where it has had them."""
    begun = datetime.fromisoformat(f"{container.status.started[:19]}Z")
    return max(0.0, BOOT_TIME - (datetime.now(UTC) - begun).total_seconds())


def _taken(folder: Path) -> int:
    try:
        return sum(path.lstat().st_blocks * 512 for path in folder.iterdir())
    except FileNotFoundError:  # it has never started, or has no disk
        return 0
