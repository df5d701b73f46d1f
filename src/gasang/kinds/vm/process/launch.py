"""Launching a machine's process, or a twin's stand-in, under a supervisor that outlives whoever asks."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gasang.host.namespaces import CLONE_NEWNET
from gasang.host.processes import PR_SET_PDEATHSIG, TIOCSCTTY
from gasang.kinds.container import layout
from gasang.kinds.container.plan import Built, Plan
from gasang.kinds.container.supervising import Supervised
from gasang.kinds.container.supervisor import protocol
from gasang.kinds.container.supervisor.launch import Supervisor, forget_records
from gasang.kinds.container.supervisor.settings import Settings
from gasang.kinds.vm.process.packets import NAME
from gasang.kinds.vm.process.settings import MachineSettings

_EXTRA = protocol.FD_EXTRA
_NAMESPACE, _TAP = _EXTRA + 1, _EXTRA + 2


@dataclass(frozen=True)
class Door:
    """Descriptors of what leads a machine to its networks: the namespace that they are in, and the tap that its guest has there.

    The process that a supervisor starts, be it a stand-in, is in that namespace: so whoever comes later finds it.
    """

    namespace: int
    tap: int


@dataclass(frozen=True)
class Log:
    """The log of a machine in its folder: "" for none; bytes of one file (0: no bound) and how many files."""

    name: str = ""
    size: int = 0
    files: int = 1


@dataclass(frozen=True)
class Streams:
    """What a machine's streams are: a terminal of `size` (rows, columns) or pipes, and whether there is input."""

    tty: bool = False
    stdin: bool = False
    size: tuple[int, int] = (0, 0)


def launch_machine(
    folder: Path, settings: MachineSettings, log: Log, size: tuple[int, int] = (0, 0), door: Door | None = None
) -> tuple[Supervised, int]:
    """The supervisor of a machine, which waits for START, and a descriptor that tells when it is ready (machine.py). Raises GasangError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o710)
    settings.write(folder)
    (folder / NAME).unlink(missing_ok=True)
    words = [sys.executable, "-P", "-m", "gasang.kinds.vm.process", str(folder), str(_EXTRA)]
    # It goes into its namespace by itself, when it has made ready what it may need the host's network for.
    words += [] if door is None else [str(_TAP), str(_NAMESPACE)]
    others = () if door is None else (door.namespace, door.tap)
    ready, told = os.pipe2(os.O_CLOEXEC)
    try:
        built = _plan(words, dict(os.environ), controls_terminal=settings.tty, kept=1 + len(others))
        return _launch(folder, built, log, Streams(settings.tty, settings.stdin, size), (told, *others)), ready
    except BaseException:
        os.close(ready)
        raise
    finally:
        os.close(told)


def launch_born(
    folder: Path, settings: MachineSettings, program: Path, log: Log, size: tuple[int, int] = (0, 0), door: Door | None = None
) -> tuple[Supervised, socket.socket]:
    """The supervisor of a stand-in for a machine that the nursery is to bear, and the machine's end of the link. Raises GasangError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o710)
    settings.write(folder)
    (folder / NAME).unlink(missing_ok=True)
    return launch_stand_in(folder, program, log, Streams(settings.tty, settings.stdin, size), door)


def launch_stand_in(folder: Path, program: Path, log: Log, streams: Streams, door: Door | None = None) -> tuple[Supervised, socket.socket]:
    """The supervisor of a stand-in that waits for START, and the twin's end of the link. Raises GasangError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o710)
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            built = _plan([str(program)], {}, controls_terminal=False, joins=door is not None)  # the twin's session has the terminal
            others = () if door is None else (door.namespace,)
            return _launch(folder, built, log, streams, (theirs.fileno(), *others)), ours
        except BaseException:
            ours.close()
            raise


def _launch(folder: Path, built: Built, log: Log, streams: Streams, extras: Sequence[int]) -> Supervised:
    settings = Settings(
        log=log.name,
        log_size=log.size,
        log_count=log.files,
        terminal=streams.tty,
        rows=streams.size[0],
        columns=streams.size[1],
        open_stdin=streams.stdin,
    )
    forget_records(folder)
    return Supervised(Supervisor.launch(settings, built.data, folder, descriptors=extras), folder.name[:12], built)


def _plan(words: list[str], environment: dict[str, str], *, controls_terminal: bool, kept: int = 1, joins: bool = False) -> Built:
    """A program with the supervisor's streams and so many descriptors from 8 on, in a session of its own; it dies with its supervisor.

    If it `joins`, it is in the network namespace that is the next descriptor.
    """
    plan = Plan()
    plan.status = plan.hand(layout.STATUS_END, 3)
    plan.hand(layout.CONTROL_END, 4)
    for number in (0, 1, 2, *range(_EXTRA, _EXTRA + kept)):
        plan.hand(number, number, keep=True)
    if joins:
        plan.hand(_NAMESPACE, _NAMESPACE)
        plan.child.call("setns", _NAMESPACE, CLONE_NEWNET, what="join the machine's networks")
    plan.child.do(layout.SIGNALS, plan.blob(bytes(32)), what="reset signals")
    plan.child.call("setsid", what="begin a session")
    if controls_terminal:
        plan.child.call("ioctl", 0, TIOCSCTTY, 0, what="control the terminal")
    plan.child.call("prctl", PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0, what="die with the supervisor")
    path = plan.slot()
    plan.child.do(layout.FIND, plan.candidates(words[:1]), into=path, what=f"find {words[0]}")
    variables = plan.pointers([f"{name}={value}" for name, value in environment.items()])
    plan.child.do(layout.EXECUTE, path, plan.pointers(words), variables, what=f"execute {words[0]}")
    return plan.build(0)
