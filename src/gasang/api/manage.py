"""Whether a daemon runs, and starting and stopping it from outside."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from gasang.core.errors import GasangError, NoDaemonError, PermissionDeniedError, StateError, TimedOutError
from gasang.daemon.folders import Folders
from gasang.images.content.locks import is_free, locked

START_TIME: Final = 60.0
"""Seconds in which a daemon answers: the first one of a host compiles its supervisor."""
STOP_TIME: Final = 20.0
_PAUSE: Final = 0.05
_LOG_MOST: Final = 1 << 16
UNIT: Final = Path("/etc/systemd/system/gasang.service")
USERS_UNIT: Final = Path("systemd/user/gasang.service")
"""Below a user's folder of configurations (systemd.unit(5))."""


def peer(folders: Folders) -> int | None:
    """The process id of the daemon that listens, None where none does."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(os.fspath(folders.socket))
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except PermissionError as error:
        raise PermissionDeniedError(f"socket {folders.socket}", "it belongs to another user", "run as that user") from error
    finally:
        connection.close()
    return int.from_bytes(raw[:4], sys.byteorder)


def ensure(folders: Folders) -> int:
    """The daemon's process id; it is started if none runs, by one of those who ask at once. Raises GasangError where it cannot start."""
    found = peer(folders)
    if found is not None:
        return found
    folders.run.mkdir(parents=True, exist_ok=True, mode=0o711)
    with locked(folders.run / "start.lock"):
        found = peer(folders)  # it may have been started while this process waited for the lock
        return _start(folders) if found is None else found


def _start(folders: Folders) -> int:
    """Start one and wait until it listens. Raises GasangError with what it said where it does not."""
    log = folders.run / "daemon.log"
    ready, told = os.pipe()
    with log.open("ab") as output:
        begun = output.tell()
        pid = _spawn(output.fileno(), told)
    os.close(told)
    try:
        if not select.select([ready], [], [], START_TIME)[0]:
            raise TimedOutError("daemon", f"it did not answer within {START_TIME:g} s", f"look at {log}")
        if os.read(ready, 16):
            return pid
    finally:
        os.close(ready)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == StateError.exit_code and (other := _another(folders)):
        return other
    with log.open("rb") as said:
        said.seek(begun)
        lines = said.read(_LOG_MOST).decode(errors="replace").strip().splitlines()
    raise GasangError("daemon", f"it did not start: {lines[-1] if lines else 'it said nothing'}", f"look at {log}")


def _spawn(output: int, told: int) -> int:
    """The process id of a new daemon in a session of its own, which is nobody's to wait for. `told`: where it says that it is ready."""
    os.set_inheritable(told, True)
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "gasang", "daemon", "run"],
        {**os.environ, "GASANG_READY": str(told)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
        setsid=True,
    )


def _another(folders: Folders) -> int | None:
    """The one that has the state and that somebody else has just begun to start, once it listens; None where it does not come to that."""
    end = time.monotonic() + START_TIME
    while time.monotonic() < end and not is_free(folders.state / "lock"):
        found = peer(folders)
        if found is not None:
            return found
        time.sleep(_PAUSE)  # a lock and a socket of another process give no common event to wait for
    return peer(folders)


def stop(folders: Folders) -> None:
    """End the daemon; what runs goes on. Raises NoDaemonError where none runs."""
    pid = peer(folders)
    if pid is None:
        raise NoDaemonError("daemon", "none runs", "gasang daemon start starts one")
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return  # it has ended between the two steps
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not select.select([descriptor], [], [], STOP_TIME)[0]:
            raise TimedOutError("daemon", f"it did not end within {STOP_TIME:g} s", "end it by force: containers live on")
    except PermissionError as error:
        raise PermissionDeniedError(f"daemon {pid}", "it belongs to another user", "run as that user") from error
    finally:
        os.close(descriptor)


class Facts(NamedTuple):
    """What there is to say of a daemon that runs: `answered` in milliseconds, `docker_host` for clients."""

    process: int
    answered: float
    state: str
    docker_host: str

    def __str__(self) -> str:
        told = f"running as process {self.process} (answered in {self.answered:.0f} ms), state in {self.state}"
        return f"{told}\nexport DOCKER_HOST={self.docker_host}"


def describe(folders: Folders) -> Facts:
    """The daemon that runs. Raises NoDaemonError where none does."""
    begun = time.monotonic()
    pid = peer(folders)
    if pid is None:
        raise NoDaemonError("daemon", "none runs", "gasang daemon start starts one")
    answered = round((time.monotonic() - begun) * 1000, 2)
    return Facts(pid, answered, str(folders.state), f"unix://{folders.socket}")


def unit(environment: Mapping[str, str]) -> str:
    """The text of a systemd unit that runs this gasang (systemd.service(5)); GASANG_HOME goes along where it is set.

    KillMode=process: supervisors, and with them containers, outlive the daemon. Delegate: control groups below are ours. A user who is
    not root gets one for the user's own systemd, which knows no network to wait for and may raise no limits.
    """
    home = environment.get("GASANG_HOME", "")
    own = f"Environment={_quoted(f'GASANG_HOME={home}')}\n" if os.path.isabs(home) else ""
    is_root = os.geteuid() == 0
    # Where dockerd is as well, its rules are there before our networks, which say in them what passes (network/docker_user.py).
    network = "After=network-online.target docker.service\nWants=network-online.target\n" if is_root else ""
    limits = "Delegate=yes\nLimitNOFILE=1048576\nTasksMax=infinity\n" if is_root else ""
    return f"""[Unit]
Description=gasang, the engine behind containers
{network}
[Service]
{own}ExecStart={_quoted(sys.executable)} -m gasang daemon run
KillMode=process
Restart=always
{limits}
[Install]
WantedBy={"multi-user" if is_root else "default"}.target
"""


def _quoted(text: str) -> str:
    """A word of a unit (systemd.syntax(7), "Quoting"): % begins a specifier there, $ a variable."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"'


def install(environment: Mapping[str, str]) -> Path:
    """Write the unit, root's or a user's own; where. Raises PermissionDeniedError."""
    path = UNIT if os.geteuid() == 0 else _configurations(environment) / USERS_UNIT
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(unit(environment))
    except PermissionError as error:
        raise PermissionDeniedError(f"unit {path}", "it cannot be written", "run as root") from error
    return path


def _configurations(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CONFIG_HOME", "")
    return Path(base) if os.path.isabs(base) else Path.home() / ".config"
