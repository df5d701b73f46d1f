"""Start, stop, kill, freeze; and what happens when a process ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial

from gasang.core.errors import GasangError, StateError
from gasang.daemon.containers.life import Life
from gasang.daemon.containers.names import now, stamp
from gasang.daemon.containers.process import CANNOT_START, Exit, Process, StartError
from gasang.daemon.containers.record import Container
from gasang.daemon.containers.restart import next_delay, wants_restart
from gasang.daemon.services import Services

KILL = 9
_log = logging.getLogger(__name__)


class Running:
    """The processes of containers. `save` keeps a record, `vanish` removes a container that asked for it (--rm)."""

    def __init__(self, services: Services, save: Callable[[Container], None], vanish: Callable[[Life], Awaitable[None]]) -> None:
        self._services = services
        self._save = save
        self._vanish = vanish
        self.on_start: Callable[[Life], None] = lambda life: None
        """Is told of each process that runs now: who watches its health."""

    async def start(self, life: Life) -> None:
        """Start a process that does not run; the life's lock is held. Raises GasangError, and all is as before."""
        container = life.container
        if life.restart_timer:
            life.restart_timer.cancel()
            life.restart_timer = None
        async with AsyncExitStack() as failing:  # whatever happens: who waits for this start must hear of it
            failing.push_async_exit(partial(self._start_failed, life))
            life.process = process = await self._services.ways_of(container).launch(container)
            await _attach_waiting(life, process)
            pid = await process.start()
            await _attach_waiting(life, process)  # who came meanwhile
            failing.pop_all()
        self._started(life, pid)

    def _started(self, life: Life, pid: int) -> None:
        container = life.container
        self._services.ways_of(container).started(container)
        status = container.status
        status.status, status.pid, status.started = "running", pid, now()
        status.error, status.exit_code, status.oom_killed = "", 0, False
        life.ended = asyncio.get_running_loop().create_future()
        self._note(container)
        self._services.tell(container, "start")
        life.watcher = asyncio.ensure_future(self._watch(life))
        self.on_start(life)

    async def _start_failed(self, life: Life, _kind: object, error: BaseException | None, _trace: object) -> None:
        container = life.container
        life.drop_waiting()
        if life.process:
            life.process.close()
            life.process = None
        await self._services.ways_of(container).give_back(container)
        code = error.guest_code if isinstance(error, StartError) else CANNOT_START
        container.status.status = "created" if container.status.started.startswith("0001") else "exited"
        container.status.exit_code, container.status.error = code, str(error)
        self._note(container)
        life.tell_exit(Exit(code, time.time_ns()))  # the sentence is the answer to the start

    def _note(self, container: Container) -> None:
        """Keep what has happened already; where that fails the supervisor's own record tells the next daemon."""
        try:
            self._save(container)
        except GasangError as error:
            _log.warning("%s: %s", container.subject, error)

    def adopt(self, life: Life, process: Process) -> None:
        """Take over a process that a former daemon started."""
        life.process = process
        life.ended = asyncio.get_running_loop().create_future()
        life.watcher = asyncio.ensure_future(self._watch(life))
        self.on_start(life)

    async def _watch(self, life: Life) -> None:
        assert life.process is not None
        await self.ended(life, await life.process.ended())

    async def ended(self, life: Life, exit_: Exit) -> None:
        """A process has ended: put its network and group away, remember, tell, and start it again or remove it if that is wanted."""
        container = life.container
        if life.process:
            life.process.close()
            life.process = None
        if life.health:
            life.health.cancel()
        ran = max(0.0, exit_.time / 1e9 - _seconds(container.status.started))
        status = container.status
        status.pid, status.exit_code, status.oom_killed, status.finished = 0, exit_.code, exit_.oom_killed, stamp(exit_.time)
        again = wants_restart(container, exit_.code)
        status.status = "restarting" if again else "exited"
        await self._services.ways_of(container).give_back(container)
        self._note(container)
        self._services.tell(container, "die", {"exitCode": exit_.code, "execDuration": int(ran)})
        if exit_.oom_killed:
            self._services.tell(container, "oom")
        life.tell_exit(exit_)
        if again:
            self._start_later(life, ran)
        elif container.host["AutoRemove"]:
            await self._vanish(life)

    def _start_later(self, life: Life, ran: float) -> None:
        life.restart_delay = next_delay(life.restart_delay, ran)
        loop = asyncio.get_running_loop()
        life.restart_timer = loop.call_later(life.restart_delay, lambda: asyncio.ensure_future(self._start_again(life)))

    async def _start_again(self, life: Life) -> None:
        async with life.lock:
            container = life.container
            if container.status.status != "restarting" or container.status.stopped_by_user:
                return
            container.status.restarts += 1
            try:
                await self.start(life)
            except (GasangError, OSError):
                if wants_restart(container, container.status.exit_code):
                    container.status.status = "restarting"
                    self._save(container)
                    self._start_later(life, 0.0)

    # ending

    async def stop(self, life: Life, signal: int, timeout: float | None) -> bool:
        """Send `signal`, then KILL after `timeout` seconds (None: never); False where it does not run."""
        container = life.container
        async with life.lock:  # not in the middle of a start, which would go on
            container.status.stopped_by_user = True
            if self._cancel_restart(life):
                return True
            if not container.status.alive or life.process is None or life.ended is None:
                self._save(container)
                return False
            if container.status.status == "paused":
                await self.freeze(life, frozen=False)
            ended = life.ended
            await self._send(life, signal)
        try:
            await asyncio.wait_for(asyncio.shield(ended), timeout)
        except TimeoutError:
            await self._send(life, KILL)
            await ended
        self._services.tell(container, "stop")
        return True

    async def kill(self, life: Life, signal: int, *, final: bool = False) -> None:
        """Send a signal; KILL ends a paused container as well. `final` waits for the end and lets no policy start it again."""
        container = life.container
        async with life.lock:
            if final or signal == KILL:
                container.status.stopped_by_user = True
                if self._cancel_restart(life) and final:
                    return
            if not container.status.alive or life.process is None or life.ended is None:
                if final:
                    return
                raise StateError(f"cannot kill container: {container.name}", f"container {container.id} is not running", "start it first")
            ended = life.ended
            await self._send(life, signal)
        self._services.tell(container, "kill", {"signal": signal})
        if signal == KILL and container.status.status == "paused":
            await self._services.ways_of(container).let_die(container)
        if final:
            await ended

    async def _send(self, life: Life, signal: int) -> None:
        if life.process is not None:
            with suppress(StateError):  # it may have ended by itself meanwhile; the watcher tells
                await life.process.signal(signal)

    def _cancel_restart(self, life: Life) -> bool:
        if life.restart_timer is None and life.container.status.status != "restarting":
            return False
        if life.restart_timer:
            life.restart_timer.cancel()
            life.restart_timer = None
        life.container.status.status = "exited"
        self._save(life.container)
        return True

    async def freeze(self, life: Life, *, frozen: bool) -> None:
        """Pause or go on. Raises StateError where its state does not allow it."""
        container = life.container
        wanted = "running" if frozen else "paused"
        if container.status.status != wanted:
            state = f"Container {container.id} is {'already paused' if container.status.status == 'paused' else 'not ' + wanted}"
            raise StateError(container.subject, state, "gasang ps -a tells its state")
        await self._services.ways_of(container).freeze(container, frozen=frozen)
        container.status.status = "paused" if frozen else "running"
        self._save(container)
        self._services.tell(container, "pause" if frozen else "unpause")


async def _attach_waiting(life: Life, process: Process) -> None:
    while life.waiting:
        client = life.waiting.pop(0)
        await process.attach(client.stream, client.early, client.ends)
        client.stream.close()


def _seconds(stamp_: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(f"{stamp_[:19]}+00:00").timestamp()
