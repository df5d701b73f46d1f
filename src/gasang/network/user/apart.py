"""Networks in user space whose processes outlive who starts them: started, and known to have ended.

Each has a file that it keeps locked (flock(2)) as long as it lives, by a descriptor that it was born with: so whoever comes later, another
daemon too, knows when it has let go of its ports.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from gasang.core.errors import GasangError, StateError, TimedOutError
from gasang.network import ports
from gasang.network.spec import LOOPBACK, PortSpec, Published
from gasang.network.user.plan import Plan
from gasang.network.user.served import READY
from gasang.network.user.service import cable

_PATIENCE: Final = 30.0
_STEP: Final = 0.01
_USUAL: Final = Plan()
Process = subprocess.Popen[bytes]


def start(lock: Path, plan: Plan, wanted: Sequence[PortSpec]) -> tuple[int, list[Published], Process]:
    """The guest's end of the cable, as good as a tap's, and as `serve`."""
    ours, guests = cable()
    try:
        return guests, *serve(lock, plan, wanted, ours)
    except BaseException:
        os.close(guests)
        raise
    finally:
        os.close(ours)


def serve(lock: Path, plan: Plan, wanted: Sequence[PortSpec], end: int, takes: int = 0) -> tuple[list[Published], Process]:
    """Carry the frames of a descriptor, whose other end takes that (TUNSETOFFLOAD); which ports are published. `lock` is its file.

    Raises StateError for a port that is taken, GasangError, OSError.
    """
    lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    wait(lock)
    held = ports.hold_all(wanted, LOOPBACK, (plan.guest,))
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(ports.let_go, held)
        locked = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        cleanup.callback(os.close, locked)
        fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process = _spawn(plan, end, takes, locked, held)
        os.pwrite(locked, b"%d" % process.pid, 0)
        return [each.port for each in held], process


def _spawn(plan: Plan, end: int, takes: int, locked: int, held: Sequence[ports.Held]) -> Process:
    hears, told = os.pipe2(os.O_CLOEXEC)
    try:
        published = [(each.socket.fileno(), asdict(each.port)) for each in held]
        said = {name: value for name, value in asdict(plan).items() if value != getattr(_USUAL, name)}
        words = {"cable": end, "takes": takes, "ready": told, "plan": said, "ports": published}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gasang.network.user.served", json.dumps(words)], stdin=subprocess.DEVNULL,
            pass_fds=(end, told, locked, *(each.socket.fileno() for each in held)), start_new_session=True,
        )  # fmt: skip
        os.close(told)
        told = -1
        if not select.select([hears], [], [], _PATIENCE)[0] or os.read(hears, 1) != READY:
            process.kill()
            process.wait()
            raise StateError("network in user space", "its process ended at once", "see the daemon's log")
        return process
    finally:
        os.close(hears)
        if told >= 0:
            os.close(told)


def wait(lock: Path, patience: float = _PATIENCE) -> None:
    """Until the process with that file has ended, whose machine has. Raises TimedOutError."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    end = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimedOutError("network in user space", "its process does not end", "see ps for user.served") from None
                time.sleep(_STEP)  # flock(2) knows no time-out
            else:
                lock.unlink(missing_ok=True)
                return
    finally:
        os.close(descriptor)


def is_alive(lock: Path) -> bool:
    """Whether the process with that file is there."""
    return number(lock) > 0


def number(lock: Path) -> int:
    """The number of the process with that file; 0: it has ended. Only itself keeps the file locked, so it is no other of that number."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(descriptor, 20, 0) or 0)
    finally:
        os.close(descriptor)
    return 0


def end(lock: Path, process: Process | None) -> None:
    """Have it end, whoever has the cable's other end still; `process` where it is our child."""
    found = number(lock)
    if found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(found, signal.SIGTERM)
    ended(lock, process)


def ended(lock: Path, process: Process | None) -> None:
    """It has let go of its ports when this returns: nobody has the cable any more. One that does not end is ended."""
    try:
        wait(lock)
    except GasangError:
        if process is not None:
            process.kill()
    if process is not None:
        process.wait()
