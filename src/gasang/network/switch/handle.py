"""A switch that is a process of its own, seen from who uses it: started, found again, told, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import GasangError, StateError, TimedOutError
from gasang.host.short_paths import short_path
from gasang.network.switch import control
from gasang.network.switch.ports import Allowed
from gasang.network.switch.vxlan import Vxlan

_PATIENCE: Final = 30.0
"""Seconds; a switch that begins has its code to load, and to compile where nobody has before."""
_LISTENING, _NAMESPACE = 10, 11
_FIRST_FREE: Final = 20


class Handle:
    """One switch. `namespace` is where the cables of its ports are: a descriptor that is this object's. Calls may come from any thread."""

    def __init__(self, path: Path, connection: socket.socket, process: int = 0) -> None:
        """Raises StateError, TimedOutError."""
        self.path = path
        self.process = process
        self._connection = connection
        self._connection.settimeout(_PATIENCE)
        self._lock = threading.Lock()
        try:
            self.ports, self.namespace = self._ask("hello", {"namespace": True})
        except GasangError:
            self._connection.close()
            raise

    @classmethod
    def start(cls, path: Path, namespace: int) -> Handle:
        """A new one at `path`, instead of what is left there of another. Raises GasangError."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as listening:
            with short_path(path.parent) as folder:
                listening.bind(f"{folder}/{path.name}")
            listening.listen()
            process = _spawn(listening.fileno(), namespace)
        found = cls.find(path, process)
        if found is None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
            raise StateError(f"switch {path.name}", "it ended at once", "see the daemon's log")
        return found

    @classmethod
    def find(cls, path: Path, process: int = 0) -> Handle | None:
        """The one that is told what to do at `path`, if it lives."""
        connection = _connected(path)
        if connection is None:
            return None
        try:
            return cls(path, connection, process)
        except (GasangError, OSError):
            return None

    def close(self) -> None:
        """Let go of it; it goes on."""
        self._connection.close()
        if self.namespace >= 0:
            os.close(self.namespace)
            self.namespace = -1

    def end(self) -> None:
        """No more of it. That it has ended already is no failure."""
        with contextlib.suppress(GasangError):
            self._ask("end")
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.close()

    def add(self, name: str, descriptor: int, allowed: Allowed, vxlan: Vxlan | None = None) -> None:
        """A port; the descriptor stays the caller's to close. Raises OutOfSpaceError, GasangError."""
        words = {"name": name, "allowed": control.allowed_document(allowed), "vxlan": control.vxlan_document(vxlan) if vxlan else None}
        self._ask("add", words, descriptor)

    def remove(self, name: str) -> None:
        """A port less; none of that name is no failure. Raises GasangError."""
        self._ask("remove", {"name": name})

    def counts(self) -> dict[str, dict[str, int]]:
        """What has passed each port (switch.Counts). Raises GasangError."""
        found, _ = self._ask("counts")
        return dict(found)

    def mirror(self) -> tuple[socket.socket, int]:
        """A socket with every frame that is let in, and its number. Raises GasangError."""
        number, descriptor = self._ask("mirror")
        return socket.socket(fileno=descriptor), int(number)

    def missed(self, number: int) -> int:
        """How many frames that was too slow for. Raises GasangError."""
        return int(self._ask("missed", {"mirror": number})[0])

    def watch(self) -> socket.socket | None:
        """A connection that ends with it; None: it has ended."""
        return _connected(self.path)

    def is_alive(self) -> bool:
        """Whether it answers."""
        try:
            self._ask("hello")
        except (StateError, TimedOutError):
            return False
        return True

    def _ask(self, verb: str, words: Mapping[str, Any] | None = None, descriptor: int = -1) -> tuple[Any, int]:
        try:
            with self._lock:
                control.send(self._connection, {"do": verb, **(words or {})}, descriptor)
                answer, given = control.receive(self._connection)
        except TimeoutError as error:
            raise TimedOutError(f"switch {self.path.name}", "it does not answer", "restart the daemon") from error
        except OSError as error:
            raise StateError(f"switch {self.path.name}", f"it has ended ({error.strerror})", "try again") from error
        if not answer:
            raise StateError(f"switch {self.path.name}", "it has ended", "try again")
        return control.done(answer), given


def there(folder: Path) -> Iterator[Path]:
    """The sockets of switches in a folder, of those that have ended too."""
    with contextlib.suppress(FileNotFoundError):
        yield from (path for path in sorted(folder.iterdir()) if stat.S_ISSOCK(path.lstat().st_mode))


def _connected(path: Path) -> socket.socket | None:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        with short_path(path.parent) as folder:
            made.connect(f"{folder}/{path.name}")
    except OSError:
        made.close()
        return None
    return made


def _spawn(listening: int, namespace: int) -> int:
    import fcntl

    words = [sys.executable, "-P", "-m", "gasang.network.switch.served", str(_LISTENING), str(_NAMESPACE)]
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE) for descriptor in (listening, namespace)]
    try:
        actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, source, target) for source, target in zip(moved, (_LISTENING, _NAMESPACE), strict=True)]
        return os.posix_spawn(sys.executable, words, os.environ, file_actions=actions, setsid=True)
    finally:
        for descriptor in moved:
            os.close(descriptor)
