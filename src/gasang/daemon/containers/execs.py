"""Processes that are started inside a running machine."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import GasangError, NotFoundError, StateError, UsageError
from gasang.daemon.containers.fields import Field, read, text, text_or_texts, texts, truth
from gasang.daemon.containers.lives import Lives
from gasang.daemon.containers.names import new_id
from gasang.daemon.containers.process import CANNOT_EXECUTE, NOT_FOUND, Exit, Process, StartError
from gasang.daemon.containers.record import CONTAINER, Container
from gasang.daemon.containers.streams import Ends, code_frame, detach_keys, frame
from gasang.daemon.services import Services

EXEC: Final[dict[str, Field]] = {
    "AttachStdin": truth(),
    "AttachStdout": truth(),
    "AttachStderr": truth(),
    "DetachKeys": text(),
    "Tty": truth(),
    "Env": texts(),
    "Cmd": text_or_texts(),
    "Privileged": truth(),
    "User": text(),
    "WorkingDir": text(),
    "ConsoleSize": Field("two whole numbers", lambda value: isinstance(value, list), None),
}
"""Docker Engine API, ExecConfig."""
NOTE: Final = "exec.json"
KILLED: Final = 137
"""The exit code of one whose end nobody saw."""
KEPT_AFTER_END: Final = 300.0
"""Seconds in which an exec's exit code can still be asked for."""


@dataclass
class Exec:
    """One of them."""

    id: str
    container: Container
    config: dict[str, Any]
    process: Process | None = None
    pid: int = 0
    alone: bool = False
    """It is ours, and nothing that a person sits at is used for it."""
    started: bool = False
    exit: Exit | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def terminal(self) -> bool:
        """Whether it has one."""
        return bool(self.config["Tty"])


class Execs:
    """The execs of a daemon."""

    def __init__(self, services: Services, lives: Lives) -> None:
        self._services = services
        self._lives = lives
        self._execs: dict[str, Exec] = {}
        self._watchers: set[asyncio.Task[None]] = set()

    def find(self, key: str) -> Exec:
        """The exec of an id. Raises NotFoundError."""
        found = self._execs.get(key)
        if found is None:
            raise NotFoundError("No such exec instance", key[:80], "make it again")
        return found

    def of(self, container: Container) -> list[str]:
        """The ids of those that run in a container."""
        return [entry.id for entry in self._execs.values() if entry.container is container and entry.exit is None and entry.started]

    def create(self, container: Container, document: dict[str, Any]) -> str:
        """A new exec's id. Raises StateError where the container does not run, UsageError."""
        config = read(document, EXEC, "exec config")
        if isinstance(config["Cmd"], str):
            config["Cmd"] = [config["Cmd"]]
        if not config["Cmd"]:
            raise UsageError("exec", "No exec command specified", "give a command")
        self._check(container)
        self._execs = {key: entry for key, entry in self._execs.items() if entry.started or entry.container.status.alive}
        made = Exec(new_id(), container, config)
        self._execs[made.id] = made
        self._services.tell(container, f"exec_create: {' '.join(config['Cmd'])}", {"execID": made.id})
        return made.id

    def _check(self, container: Container) -> None:
        if container.status.status == "paused":
            raise StateError(f"Container {container.name} is paused, unpause the container before exec", "it cannot start anything now")
        if not container.status.alive:
            raise StateError(f"container {container.id} is not running", "nothing can be started in it", "start it first")

    def check_startable(self, found: Exec) -> None:
        """Raise StateError where it has been started or its container does not run."""
        if found.started:
            raise StateError(f"exec {found.id[:12]}", "it has been started already", "make another")
        self._check(found.container)

    async def start(self, found: Exec, stream: socket.socket | None, early: bytes, size: object, *, tells_code: bool = False) -> None:
        """Start it, with a client's connection or without. With `tells_code` the client hears of its end there. Raises GasangError."""
        self.check_startable(found)
        found.started = True
        config = found.config
        try:
            if found.container.kind == CONTAINER:
                await asyncio.to_thread(self._note, found)
            rows, columns = size if isinstance(size, list) and len(size) == 2 else config["ConsoleSize"] or (0, 0)
            ways = self._services.ways_of(found.container)
            found.process = await ways.execute(found.container, found.id, {**config, "Alone": found.alone}, (int(rows), int(columns)))
            if stream is not None:
                keys = detach_keys(config["DetachKeys"]) if found.terminal else b""
                wanted = (config["AttachStdin"], config["AttachStdout"], config["AttachStderr"])
                ends = Ends(*wanted, True, False, not found.terminal, keys, True, tells_code)
                await found.process.attach(stream, early, ends)
            found.pid = await found.process.start()
        except (GasangError, OSError) as error:
            not_found = isinstance(error, StartError) and error.guest_code == NOT_FOUND
            code = NOT_FOUND if not_found else CANNOT_EXECUTE
            self._end(found, Exit(code, 0, error=str(error)))
            if stream is None:
                raise
            data = f"OCI runtime exec failed: {error}\r\n".encode()
            told = code_frame(code) if tells_code else b""
            await asyncio.to_thread(_tell_client, stream, (data if found.terminal else frame(2, data)) + told)
            return
        finally:
            if stream is not None:
                stream.close()
        self._services.tell(found.container, f"exec_start: {' '.join(config['Cmd'])}", {"execID": found.id})
        self._follow(found)

    def _note(self, found: Exec) -> None:
        """For the next daemon: what runs in the supervisor's folder."""
        folder = self._services.folders.machine(found.id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o710)
        (folder / NOTE).write_text(json.dumps({"container": found.container.id, "config": found.config}))

    async def recover(self) -> None:
        """Take over what a former daemon started: those that run go on, of the others the exit code is known for a while."""
        machines = self._services.folders.machine("")
        for folder in sorted(machines.iterdir()) if machines.is_dir() else ():
            process = await self._services.runtime.find(folder)
            made = self._noted(folder)
            if made is None:
                if process is not None:
                    with suppress(StateError):
                        await process.process.signal(9)
                    process.process.close()
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
                continue
            self._execs[made.id] = made
            if process is not None:
                made.process, made.pid = process.process, process.pid
                self._follow(made)
            else:
                self._end(made, self._services.runtime.exit_of(folder) or Exit(KILLED, 0))

    def _noted(self, folder: Path) -> Exec | None:
        """The exec of a supervisor's folder; None where its container is gone or the note was not written whole."""
        try:
            note = json.loads((folder / NOTE).read_text())
            return Exec(folder.name, self._services.find(note["container"]), read(note["config"], EXEC, "exec config"), started=True)
        except (OSError, ValueError, KeyError, TypeError, GasangError):
            return None

    def _follow(self, found: Exec) -> None:
        task = asyncio.ensure_future(self._watch(found))
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    async def _watch(self, found: Exec) -> None:
        assert found.process is not None
        self._end(found, await found.process.ended())

    def _end(self, found: Exec, exit_: Exit) -> None:
        found.exit = exit_
        found.ended.set()
        if found.process:
            found.process.close()
            found.process = None
        self._services.tell(found.container, "exec_die", {"execID": found.id, "exitCode": exit_.code})
        asyncio.get_running_loop().call_later(KEPT_AFTER_END, self._forget, found)

    def _forget(self, found: Exec) -> None:
        self._execs.pop(found.id, None)
        shutil.rmtree(self._services.folders.machine(found.id), ignore_errors=True)

    async def run(self, container: Container, config: dict[str, Any]) -> tuple[Exec, socket.socket]:
        """Start an exec for ourselves; our end of its output."""
        ours, theirs = socket.socketpair()
        found = self.find(self.create(container, config))
        found.alone = True
        await self.start(found, theirs, b"", None)
        return found, ours

    async def resize(self, found: Exec, rows: int, columns: int) -> None:
        """Set its terminal's size. Raises StateError where it does not run."""
        if found.process is None:
            raise StateError(f"exec {found.id[:12]}", "it is not running", "start it first")
        await found.process.resize(rows, columns)

    async def settle(self, found: Exec) -> None:
        """Have the exit code of a process that has ended, though nobody has told yet: its client may ask as soon as the stream ends."""
        if found.process is not None and found.exit is None and await found.process.ending():
            await found.ended.wait()

    def close(self) -> None:
        """The daemon ends; what has to end with it is told."""
        for found in self._execs.values():
            if found.process is not None and found.exit is None:
                found.process.forsake()

    def show(self, found: Exec) -> dict[str, Any]:
        """GET /exec/ID/json."""
        config = found.config
        return {
            "ID": found.id,
            "Running": found.started and found.exit is None,
            "ExitCode": None if found.exit is None else found.exit.code,
            "ProcessConfig": {
                "tty": found.terminal,
                "entrypoint": config["Cmd"][0],
                "arguments": config["Cmd"][1:],
                "privileged": config["Privileged"],
                **({"user": config["User"]} if config["User"] else {}),
            },
            "OpenStdin": config["AttachStdin"],
            "OpenStderr": config["AttachStderr"],
            "OpenStdout": config["AttachStdout"],
            "CanRemove": found.exit is not None,
            "ContainerID": found.container.id,
            "DetachKeys": config["DetachKeys"],
            "Pid": found.pid,
        }


def _tell_client(stream: socket.socket, data: bytes) -> None:
    """What went wrong at the start, on the connection that has become the process's streams."""
    stream.settimeout(5.0)
    with suppress(OSError):  # it may have gone
        stream.sendall(data)
