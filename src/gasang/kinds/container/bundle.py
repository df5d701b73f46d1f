"""Containers that outlive the command which makes them: an OCI bundle, and a folder of state for each container.

`Bundles` has the operations of the runtime specification (create, start, state, kill, delete) and those every engine asks for besides. Its
folder holds, for each container, `state.json` and, until it is started, `start.fifo`: the first process waits for a byte there.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import re
import select
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import BadInputError, NotFoundError, StateError, TimedOutError, UsageError
from gasang.host.processes import start_of
from gasang.kinds.container.cgroups.group import PATIENCE, Cgroup
from gasang.kinds.container.cgroups.hierarchies import find_hierarchies
from gasang.kinds.container.config.config import VERSION, Config, read_config
from gasang.kinds.container.config.process import Process
from gasang.kinds.container.config.resources import Resources
from gasang.kinds.container.container import Container, Streams, enter
from gasang.kinds.container.hooks import try_hooks
from gasang.kinds.container.launching import Child
from gasang.kinds.container.planning.order import FolderRoot

DEFAULT_FOLDER: Final = Path("/run/gasang/oci")
_NAME: Final = re.compile(r"[A-Za-z0-9_+.@-]{1,1024}")
_STATE: Final = "state.json"
_FIFO: Final = "start.fifo"
_VERSION: Final = 1


@dataclass(frozen=True)
class Record:
    """What is kept of a container. `started_at` is the first process's own start, which tells it from a later one of the same number."""

    identity: str
    bundle: str
    root: str
    pid: int
    started_at: int
    created: str
    owner: int
    config: str
    folders: dict[str, str]

    def save(self) -> str:
        """As JSON."""
        return json.dumps({"version": _VERSION, **vars(self)})

    @classmethod
    def load(cls, text: str, subject: str) -> Record:
        """From JSON. Raises BadInputError if it is damaged."""
        try:
            data = json.loads(text)
            if data.pop("version") != _VERSION:
                raise ValueError("another version")
            return cls(**data)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadInputError(subject, f"its state is damaged ({error})", "remove its folder") from error


@dataclass(frozen=True)
class Creation:
    """How a container is to be made, besides its bundle."""

    streams: Streams = field(default_factory=Streams)
    may_pivot: bool = True
    new_keyring: bool = True


class Bundles:
    """Containers whose state is below a folder."""

    def __init__(self, folder: Path = DEFAULT_FOLDER) -> None:
        self.folder = folder

    def create(self, identity: str, bundle: Path, creation: Creation) -> tuple[Record, list[str]]:
        """Make a container; its program waits. Raises UsageError for a bad or taken name, and what Container.create raises."""
        if not _NAME.fullmatch(identity) or identity in (".", ".."):
            raise UsageError(f"container name {identity!r}", "it may have letters, digits and _ + . @ - only", "choose another")
        text, config = read_bundle(bundle)
        root = _root_of(config, bundle)
        home = self.folder / identity
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        try:
            home.mkdir(mode=0o711)
        except FileExistsError as error:
            raise StateError(f"container {identity}", "it already exists", "delete it, or choose another name") from error
        try:
            return self._create_in(home, identity, bundle, text, config, root, creation)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise

    def _create_in(
        self, home: Path, identity: str, bundle: Path, text: str, config: Config, root: str, creation: Creation
    ) -> tuple[Record, list[str]]:
        os.mkfifo(home / _FIFO, 0o600)
        # Open both ways: neither does opening wait, nor does the reader see an end while nobody has written.
        fifo = os.open(home / _FIFO, os.O_RDWR | os.O_CLOEXEC)
        try:
            container = Container.create(
                config,
                FolderRoot(root),
                identity=identity,
                bundle=str(bundle),
                streams=creation.streams,
                start_fifo=fifo,
                may_pivot=creation.may_pivot,
                new_keyring=creation.new_keyring,
            )
        finally:
            os.close(fifo)
        folders = container.cgroup.folders if container.cgroup is not None else {}
        now = time.time()
        created = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e9):09d}Z"
        pid = container.pid
        record = Record(identity, str(bundle), root, pid, start_of(pid) or 0, created, os.geteuid(), text, folders)
        try:
            write_atomically(home / _STATE, record.save())
        except BaseException:
            container.delete(force=True)
            raise
        assert container.child is not None
        container.child.close()
        return record, container.warnings

    def start(self, identity: str) -> list[str]:
        """Let a created container's program start. Raises StateError if it was started before."""
        record = self.record(identity)
        if (status := self.status(record)) != "created":
            raise StateError(f"container {identity}", f"cannot start a container that is {status}", "only a created one can be started")
        fifo = self.folder / identity / _FIFO
        try:
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise StateError(f"container {identity}", "its first process does not wait any more", "look at its state") from error
        try:
            fifo.unlink(missing_ok=True)
            os.write(descriptor, b"s")
            # The reader closes its end by executing the program, or by ending.
            poll = select.poll()
            poll.register(descriptor, select.POLLERR)
            poll.poll()
        finally:
            os.close(descriptor)
        config = self.config(record)
        return try_hooks("poststart", config.hooks.get("poststart", ()), json.dumps(self.state(identity)).encode())

    def record(self, identity: str) -> Record:
        """What is kept of a container. Raises NotFoundError if there is none of that name."""
        missing = NotFoundError(f"container {identity}", "container does not exist", "gasang oci list shows those there are")
        if not _NAME.fullmatch(identity) or identity in (".", ".."):
            raise missing
        try:
            text = (self.folder / identity / _STATE).read_text()
        except (FileNotFoundError, NotADirectoryError):
            raise missing from None
        return Record.load(text, f"container {identity}")

    def config(self, record: Record) -> Config:
        """A container's configuration, as it was when it was made."""
        return read_config(record.config, f"{record.bundle}/config.json")

    def group(self, record: Record) -> Cgroup | None:
        """A container's control groups."""
        return Cgroup(find_hierarchies(), dict(record.folders)) if record.folders else None

    def status(self, record: Record) -> str:
        """Where a container is in its life, as the specification names it (and "paused")."""
        if start_of(record.pid) != record.started_at:
            return "stopped"
        group = self.group(record)
        if group is not None and group.frozen():
            return "paused"
        return "created" if (self.folder / record.identity / _FIFO).exists() else "running"

    def state(self, identity: str) -> dict[str, Any]:
        """A container's state as the specification has it, and what other runtimes tell besides."""
        record = self.record(identity)
        status = self.status(record)
        with contextlib.suppress(KeyError):
            owner = pwd.getpwuid(record.owner).pw_name
            return self._state(record, status) | {"owner": "" if record.owner == 0 else owner}
        return self._state(record, status) | {"owner": str(record.owner)}

    def _state(self, record: Record, status: str) -> dict[str, Any]:
        return {
            "ociVersion": VERSION,
            "id": record.identity,
            "pid": record.pid if status != "stopped" else 0,
            "status": status,
            "bundle": record.bundle,
            "rootfs": record.root,
            "created": record.created,
            "annotations": dict(self.config(record).annotations),
        }

    def identities(self) -> list[str]:
        """Names of all containers."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if (path / _STATE).exists())

    @contextlib.contextmanager
    def process(self, record: Record) -> Iterator[int]:
        """A descriptor of the first process. Raises StateError if it has ended."""
        gone = StateError(f"container {record.identity}", "container not running", "start another")
        try:
            descriptor = os.pidfd_open(record.pid)
        except OSError as error:
            raise gone from error
        try:
            if start_of(record.pid) != record.started_at:
                raise gone
            yield descriptor
        finally:
            os.close(descriptor)

    def kill(self, identity: str, number: int, *, everyone: bool = False) -> None:
        """Send a signal to the first process, or to all. Raises StateError if there is none."""
        record = self.record(identity)
        group = self.group(record)
        if everyone and group is not None:
            for pid in group.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            return
        with self.process(record) as descriptor:
            signal.pidfd_send_signal(descriptor, number)
        if number == signal.SIGKILL and group is not None and group.frozen():
            group.thaw()

    def delete(self, identity: str, *, force: bool = False) -> list[str]:
        """Forget a stopped container. Raises StateError if it runs; with `force` it is ended first, and need not exist."""
        try:
            record = self.record(identity)
        except NotFoundError:
            if force:
                if _NAME.fullmatch(identity) and identity not in (".", ".."):
                    shutil.rmtree(self.folder / identity, ignore_errors=True)
                return []
            raise
        status = self.status(record)
        if status != "stopped":
            if not force and status != "created":
                raise StateError(f"container {identity}", f"it is not stopped: {status}", "stop it first, or delete it with --force")
            self._end(record)
        group = self.group(record)
        if group is not None:
            group.delete()
        config = self.config(record)
        state = self._state(record, "stopped")
        shutil.rmtree(self.folder / identity, ignore_errors=True)
        return try_hooks("poststop", config.hooks.get("poststop", ()), json.dumps(state).encode())

    def _end(self, record: Record) -> None:
        with contextlib.suppress(StateError), self.process(record) as descriptor:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            group = self.group(record)
            if group is not None:
                group.thaw()
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if not poll.poll(PATIENCE * 1000):
                hint = "a process in it that its parent does not reap would keep it"
                raise TimedOutError(f"container {record.identity}", "its first process does not end", hint)

    def running_group(self, identity: str) -> Cgroup:
        """The control groups of a container that has not ended. Raises StateError or UsageError."""
        record = self.record(identity)
        if self.status(record) == "stopped":
            raise StateError(f"container {identity}", "container not running", "start another")
        group = self.group(record)
        if group is None:
            raise UsageError(f"container {identity}", "it has no control groups", "make it as root")
        return group

    def update(self, identity: str, limits: Resources) -> list[str]:
        """Change a container's limits; what was not kept is told."""
        group = self.running_group(identity)
        group.apply(limits)
        return group.warnings

    def execute(self, identity: str, process: Process, streams: Streams) -> tuple[Child, list[str]]:
        """One more process in a container. Raises StateError if it does not run, LaunchError as Container.execute."""
        record = self.record(identity)
        status = self.status(record)
        if status not in ("running", "created"):
            raise StateError(f"container {identity}", f"cannot exec in a container that is {status}", "start or resume it first")
        container = Container(self.config(record), FolderRoot(record.root), identity, self.group(record), record.bundle)
        with self.process(record) as descriptor:
            child = enter(container, descriptor, process, streams)
        return child, container.warnings


def read_bundle(bundle: Path) -> tuple[str, Config]:
    """The text and the value of a bundle's config.json. Raises NotFoundError or BadInputError."""
    path = bundle / "config.json"
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"bundle {bundle}", "it has no config.json", "gasang oci spec writes one") from error
    except UnicodeDecodeError as error:
        raise BadInputError(str(path), "it is no text", "check that the file is whole") from error
    return text, read_config(text, str(path))


def _root_of(config: Config, bundle: Path) -> str:
    if config.root is None:
        raise BadInputError(f"{bundle}/config.json", "root is missing", "say where the root file system is")
    path = os.path.realpath(bundle / config.root.path)
    if not os.path.isdir(path):
        raise NotFoundError(f"root file system {path}", "there is no such folder", "unpack one there")
    return path


def write_atomically(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno == errno.ENOENT:
            raise StateError(f"container {path.parent.name}", "it was deleted meanwhile") from error
        raise
