"""Whether a daemon runs, and starting and stopping it from outside."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from gasang.core.errors import GasangError, NoDaemonError, PermissionDeniedError, TimedOutError
from gasang.daemon.folders import Folders

START_TIME: Final = 60.0
"""Seconds in which a daemon answers: the first one of a host compiles its supervisor."""
STOP_TIME: Final = 20.0
UNIT: Final = Path("/etc/systemd/system/gasang.service")


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
    """The daemon's process id; it is started if none runs. Raises GasangError with what it said where it cannot start."""
    found = peer(folders)
    if found is not None:
        return found
    folders.run.mkdir(parents=True, exist_ok=True, mode=0o711)
    log = folders.run / "daemon.log"
    ready, told = os.pipe()
    with log.open("ab") as output:
        words = [sys.executable, "-m", "gasang", "daemon", "run"]
        environment = {**os.environ, "GASANG_READY": str(told)}
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=[told], start_new_session=True, env=environment
        )
    os.close(told)
    try:
        if not select.select([ready], [], [], START_TIME)[0]:
            raise TimedOutError("daemon", f"it did not answer within {START_TIME:g} s", f"look at {log}")
        if not os.read(ready, 16):
            process.wait()
            lines = log.read_text(errors="replace").strip().splitlines()
            raise GasangError("daemon", f"it did not start: {lines[-1] if lines else 'it said nothing'}", f"look at {log}")
    finally:
        os.close(ready)
    return process.pid


def stop(folders: Folders) -> None:
    """End the daemon; what runs goes on. Raises NoDaemonError where none runs."""
    pid = peer(folders)
    if pid is None:
        raise NoDaemonError("daemon", "none runs", "gasang daemon start starts one")
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not select.select([descriptor], [], [], STOP_TIME)[0]:
            raise TimedOutError("daemon", f"it did not end within {STOP_TIME:g} s", "end it by force: containers live on")
    finally:
        os.close(descriptor)


def describe(folders: Folders) -> str:
    """Whether it runs, and what docker clients are to be told. Raises NoDaemonError where none runs."""
    begun = time.monotonic()
    pid = peer(folders)
    if pid is None:
        raise NoDaemonError("daemon", "none runs", "gasang daemon start starts one")
    answered = (time.monotonic() - begun) * 1000
    return f"running as process {pid} (answered in {answered:.0f} ms), state in {folders.state}\nexport DOCKER_HOST=unix://{folders.socket}"


def install(folders: Folders) -> Path:
    """Write a systemd unit. Raises PermissionDeniedError unless root."""
    text = f"""[Unit]
Description=gasang, the engine behind containers
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={sys.executable} -m gasang daemon run
KillMode=process
Restart=always
Delegate=yes
LimitNOFILE=1048576

[Install]
WantedBy=multi-user.target
"""
    try:
        UNIT.parent.mkdir(parents=True, exist_ok=True)
        UNIT.write_text(text)
    except PermissionError as error:
        raise PermissionDeniedError(f"unit {UNIT}", "it cannot be written", "run as root") from error
    return UNIT
