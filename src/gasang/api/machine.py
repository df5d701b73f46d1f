"""Machines from Python: the same ones, in the same states, as the command line and docker clients see.

    import gasang

    vm = gasang.run("debian:trixie", kind="vm")
    print(vm.exec(["uname", "-a"]).output.decode())
    child = vm.fork()
    vm.remove(force=True)

Each call asks the daemon, which is started where none runs, and raises a GasangError of core.errors where it refuses.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from gasang.api.answer import Answer, broken
from gasang.api.client import Client, path_of
from gasang.api.execs import exit_code_of
from gasang.api.frames import STDERR, STDOUT, Demultiplexer
from gasang.core.errors import NotFoundError, UnsupportedError, UsageError
from gasang.daemon.containers.streams import CODE, CODE_SIZE
from gasang.daemon.folders import Folders

CONTAINER, VM = "container", "vm"
KINDS: Final = (CONTAINER, VM)
MEMORY: Final = 1 << 30
"""Bytes of a virtual machine where nothing is said."""


class Completed(NamedTuple):
    """A command that has ended: its exit code, what it wrote, and what it wrote to its error stream."""

    code: int
    output: bytes
    errors: bytes


class Machine:
    """A machine behind the daemon, of whatever kind. As a context manager it is removed at the block's end."""

    def __init__(self, client: Client, key: str) -> None:
        self._client = client
        self.id = key
        self._execs_at_once = True

    def __repr__(self) -> str:
        """Its kind is not asked for: that could fail."""
        return f"Machine({self.id[:12]!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.remove(force=True)

    # what it is

    def inspect(self) -> dict[str, Any]:
        """All there is to tell, as `gasang inspect` has it."""
        found: dict[str, Any] = self._client.call("GET", self._path("json"))
        return found

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.inspect()["Name"]).removeprefix("/")

    @property
    def status(self) -> str:
        """created, running, paused, restarting, exited or dead."""
        return str(self.inspect()["State"]["Status"])

    def logs(self) -> tuple[bytes, bytes]:
        """What it has written so far, and what to its error stream; a terminal has the first alone."""
        with self._client.open("GET", self._path("logs"), {"stdout": 1, "stderr": 1}) as answer:
            return _sorted(answer, self.inspect()["Config"]["Tty"])

    # its life

    def start(self) -> None:
        """Start it; one that runs stays as it is."""
        self._client.call("POST", self._path("start"))

    def stop(self, grace: int = 10) -> None:
        """Have it end by itself within `grace` seconds, or end it."""
        self._client.call("POST", self._path("stop"), {"t": grace})

    def restart(self, grace: int = 10) -> None:
        """Stop and start it."""
        self._client.call("POST", self._path("restart"), {"t": grace})

    def kill(self, signal: str = "KILL") -> None:
        """Send a signal, by its name or number."""
        self._client.call("POST", self._path("kill"), {"signal": signal})

    def pause(self) -> None:
        """Have it stand still."""
        self._client.call("POST", self._path("pause"))

    def resume(self) -> None:
        """Have it go on."""
        self._client.call("POST", self._path("unpause"))

    def wait(self) -> int:
        """Its exit code, when it does not run any more."""
        return int(self._client.call("POST", self._path("wait"))["StatusCode"])

    def remove(self, *, force: bool = False) -> None:
        """Forget it and its files, its anonymous volumes too; with `force` also one that runs."""
        self._client.call("DELETE", self._path(), {"force": int(force), "v": 1})

    # what is done in it

    def exec(
        self,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        user: str = "",
        directory: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run a command beside what runs there, and wait for it; it reads `stdin`. 126 and 127 where it cannot be executed."""
        document = {
            "Cmd": list(command), "AttachStdin": bool(stdin), "AttachStdout": True, "AttachStderr": True,
            "User": user, "WorkingDir": directory, "Env": [f"{name}={value}" for name, value in (environment or {}).items()],
        }  # fmt: skip
        if self._execs_at_once:
            try:
                return self._exec_at_once(document, stdin)
            except (NotFoundError, UnsupportedError):  # it is a container, or the daemon an earlier one; if it is gone, that is told below
                self._execs_at_once = False
        key = self._client.call("POST", self._path("exec"), body=document)["Id"]
        with self._client.upgrade(path_of("exec", key, "start"), body={"Detach": False, "Tty": False}) as answer:
            stream, early = answer.take_over()
            with _sending(stream, stdin):
                output, errors, _ = _received(stream, early)
        return Completed(exit_code_of(self._client, key), output, errors)

    def _exec_at_once(self, document: dict[str, Any], stdin: bytes) -> Completed:
        """A virtual machine's command by one request. Raises NotFoundError, UnsupportedError where there is no such request for it."""
        with self._client.upgrade(self._vm("exec"), body=document) as answer:
            stream, early = answer.take_over()
            with _sending(stream, stdin):
                output, errors, code = _received(stream, early, codes=True)
        if code is None:
            raise broken("the connection broke off before the command's end")
        return Completed(code, output, errors)

    # what virtual machines have

    def snapshot(self, name: str) -> dict[str, Any]:
        """Keep its present state; it goes on. Name, Created, Size, Memory and Digest of what was made."""
        made: dict[str, Any] = self._client.call("POST", self._vm("snapshots"), {"name": name})
        return made

    def snapshots(self) -> list[dict[str, Any]]:
        """Those that there are."""
        found: list[dict[str, Any]] = self._client.call("GET", self._vm("snapshots"))
        return found

    def restore(self, name: str, *, discard: bool = False) -> dict[str, str]:
        """Have it go on where it stood when the snapshot was made; what it has done since is gone.

        What its volumes had is kept as snapshots of theirs, unless it is to be discarded: their names, by the volumes'.
        """
        told = self._client.call("POST", self._vm("restore"), {"name": name, "discard": 1 if discard else None})
        return {each["Volume"]: each["Snapshot"] for each in told["Kept"]}

    def fork(self) -> Machine:
        """A running twin, which goes on from this moment as a machine of its own."""
        return self.forks(1)[0]

    def forks(self, count: int) -> list[Machine]:
        """So many twins."""
        return [Machine(self._client, twin["Id"]) for twin in self._client.call("POST", self._vm("fork"), {"count": count})]

    def _path(self, *parts: str) -> str:
        return path_of("containers", self.id, *parts)

    def _vm(self, *parts: str) -> str:
        return path_of("gasang", "vms", self.id, *parts)


def run(
    image: str,
    command: Sequence[str] = (),
    *,
    kind: str = CONTAINER,
    name: str = "",
    cpus: int = 1,
    memory: int = 0,
    environment: Mapping[str, str] | None = None,
    architecture: str | None = None,
    accelerator: str | None = None,
) -> Machine:
    """A machine that runs, in the background; its image is pulled first where it is not here.

    `memory` in bytes; 0 is as much as it likes for a container, 1 GiB for a virtual machine. `architecture` and `accelerator` are a virtual
    machine's. Raises GasangError.
    """
    if kind not in KINDS:
        raise UsageError(f"kind {kind!r}", "there is none of this name", f"use {' or '.join(KINDS)}")
    variables = [f"{key}={value}" for key, value in (environment or {}).items()]
    client = _client()
    if kind == VM:
        key = _make_vm(client, image, command, name, cpus, memory or MEMORY, variables, architecture, accelerator)
    else:
        limits = {"Memory": memory, "NanoCpus": cpus * 10**9 if memory or cpus > 1 else 0}
        key = _make_container(client, {"Image": image, "Cmd": list(command) or None, "Env": variables, "HostConfig": limits}, name)
    made = Machine(client, key)
    made.start()
    return made


def machine(name: str) -> Machine:
    """The machine of a name, an id or the beginning of one. Raises NotFoundError."""
    client = _client()
    return Machine(client, client.call("GET", path_of("containers", name, "json"))["Id"])


def machines(*, stopped: bool = False) -> list[Machine]:
    """Those that run, or with `stopped` all of them; the newest first."""
    client = _client()
    return [Machine(client, entry["Id"]) for entry in client.call("GET", "/containers/json", {"all": int(stopped)})]


def _client() -> Client:
    from gasang.api import manage

    folders = Folders.of(os.environ)
    return Client(os.fspath(folders.socket), lambda: manage.ensure(folders))


def _make_vm(
    client: Client, image: str, command: Sequence[str], name: str, cpus: int, memory: int, variables: list[str],
    architecture: str | None, accelerator: str | None,
) -> str:  # fmt: skip
    from gasang.core.progress import Silent
    from gasang.daemon.registries import container_source
    from gasang.images.origin import Origin
    from gasang.kinds.vm.platforms import choose
    from gasang.kinds.vm.pull import boot_files

    platform = choose(architecture, accelerator)
    files = boot_files(image, Silent(), Origin(containers=container_source), platform.architecture)
    sits = not command and files.process is None
    wish = {
        "image": image, "command": list(command), "environment": variables, "cpus": cpus, "memory": memory, "tty": sits, "stdin": sits,
        "architecture": platform.architecture, "accelerator": accelerator or "",
    }  # fmt: skip
    return str(client.call("POST", "/gasang/vms/create", {"name": name or None}, {"Machine": wish})["Id"])


def _make_container(client: Client, document: dict[str, Any], name: str) -> str:
    query = {"name": name or None}
    try:
        return str(client.call("POST", "/containers/create", query, document)["Id"])
    except NotFoundError:
        for _ in client.lines("POST", "/images/create", {"fromImage": _tagged(document["Image"])}):
            pass  # what goes wrong is raised
        return str(client.call("POST", "/containers/create", query, document)["Id"])


def _tagged(image: str) -> str:
    """A name that means one image: without a tag the API pulls every one."""
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"


@contextmanager
def _sending(stream: socket.socket, data: bytes) -> Iterator[None]:
    """In the block the data is sent; nothing needs no thread."""
    if not data:
        _send(stream, data)
        yield
        return
    sender = threading.Thread(target=_send, args=(stream, data), daemon=True)
    sender.start()
    yield
    sender.join()


def _send(stream: socket.socket, data: bytes) -> None:
    try:
        stream.sendall(data)
        stream.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the command has ended without reading all


def _received(stream: socket.socket, early: bytes, *, codes: bool = False) -> tuple[bytes, bytes, int | None]:
    """Output, errors, and the exit code where that was told."""
    sorter = Demultiplexer(codes=codes)
    found = {STDOUT: bytearray(), STDERR: bytearray(), CODE: bytearray()}
    data = early
    while True:
        for number, piece in sorter.feed(data):
            found[number].extend(piece)
        data = stream.recv(1 << 16)
        if not data:
            code = int.from_bytes(found[CODE], "big") if len(found[CODE]) == CODE_SIZE else None
            return bytes(found[STDOUT]), bytes(found[STDERR]), code


def _sorted(answer: Answer, tty: bool) -> tuple[bytes, bytes]:
    found = (bytearray(), bytearray())
    sorter = Demultiplexer()
    while data := answer.read():
        for number, piece in [(1, data)] if tty else sorter.feed(data):
            found[number == STDERR].extend(piece)
    return bytes(found[0]), bytes(found[1])
