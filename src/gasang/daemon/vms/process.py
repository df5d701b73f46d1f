"""Machines' processes as the daemon starts them: what `Process` is for a machine and for a twin."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from gasang.core.errors import GasangError
from gasang.daemon.containers.process import StartError
from gasang.daemon.containers.supervised import SupervisedProcess
from gasang.daemon.vms.nursery import Nursery
from gasang.kinds.container.supervising import Supervised
from gasang.kinds.vm.process.client import ask_fork
from gasang.kinds.vm.process.told import FAILED, READY

FORK_TIME: Final = 60.0
_SENTENCE: Final = 4096


class MachineProcess(SupervisedProcess):
    """It runs when it says so: an image is looked up, a kernel loaded before. `ready` is the descriptor that tells."""

    def __init__(self, made: Supervised, ready: int) -> None:
        super().__init__(made.supervisor, made)
        self._ready = ready

    async def start(self) -> int:
        """Its pid, once the guest executes. Raises StartError with what it said."""
        try:
            await super().start()
            word = await _read(self._ready)
        finally:
            self._forget()
        return _check(word)

    def close(self) -> None:
        """Let go of its supervisor."""
        self._forget()
        super().close()

    def _forget(self) -> None:
        ready, self._ready = self._ready, -1
        if ready >= 0:
            os.close(ready)


class BornProcess(SupervisedProcess):
    """Its supervisor has a stand-in; the machine in `folder` is born in the nursery when it starts, and gets `tap` if that is not -1."""

    def __init__(self, made: Supervised, link: socket.socket, nursery: Nursery, folder: Path, tap: int = -1) -> None:
        super().__init__(made.supervisor, made)
        self._tap = tap
        self._link = link
        self._nursery = nursery
        self._folder = folder

    async def start(self) -> int:
        """Its pid, once the guest executes. Raises StartError with what it said."""
        ours, theirs = socket.socketpair()
        with ours:
            with self._link, theirs:
                streams = await super().start()
                try:
                    self._nursery.bear(self._folder, streams, self._link, theirs, self._tap)
                except GasangError as error:
                    raise StartError("the machine cannot start", str(error)) from error
                finally:
                    self._tap = _closed(self._tap)
            return _check(await _read(ours.fileno()))

    def close(self) -> None:
        """Let go of its supervisor."""
        self._tap = _closed(self._tap)
        self._link.close()
        super().close()


class Another(NamedTuple):
    """A twin: it is forked by the machine in the folder `parent`, its own files are in `folder`, and its guest is to be this.

    With `replaces` it goes on in the place of the machine that had the folder. `volumes` are the folders of its volumes, by the parent's.
    """

    parent: Path
    folder: Path
    hostname: str
    card: dict[str, Any] | None
    replaces: bool = False
    volumes: Mapping[str, str] = {}


class TwinProcess(SupervisedProcess):
    """Its supervisor has a stand-in; the twin is forked when it starts, and gets `tap` if that is not -1."""

    def __init__(self, made: Supervised, link: socket.socket, another: Another, tap: int = -1) -> None:
        super().__init__(made.supervisor, made)
        self._link = link
        self._another = another
        self._tap = tap

    async def start(self) -> int:
        """The twin's pid. Raises StartError where it cannot be forked."""
        with self._link:
            streams = await super().start()
            try:
                found = await asyncio.to_thread(self._fork, streams)
            except GasangError as error:
                raise StartError("the machine cannot be forked", str(error)) from error
            finally:
                self._tap = _closed(self._tap)
        return int(found["pid"])

    def _fork(self, streams: int) -> dict[str, Any]:
        parent, folder, hostname, card, replaces, volumes = self._another
        more: dict[str, Any] = {"network": card, "tap": self._tap, "replaces": replaces, "volumes": volumes}
        return ask_fork(parent, folder, streams, self._link, hostname, FORK_TIME, **more)

    def close(self) -> None:
        """Let go of its supervisor."""
        self._tap = _closed(self._tap)
        self._link.close()
        super().close()


def _closed(tap: int) -> int:
    """What it is then."""
    if tap >= 0:
        os.close(tap)
    return -1


def _check(word: bytes) -> int:
    """The process's id that a machine tells with READY. Raises StartError for anything else, with what it says."""
    if not word.startswith(READY) or not word[1:].isdigit():
        sentence = word.removeprefix(FAILED).decode("utf-8", "replace") or "its process ended before it was ready"
        raise StartError("the machine cannot start", sentence)
    return int(word[1:])


async def heard(descriptor: int) -> bool:
    """Whether a machine's process says there that it is ready."""
    return (await _read(descriptor)).startswith(READY)


async def _read(descriptor: int) -> bytes:
    """What a pipe says first; b"" where it ends."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(descriptor, tell)
    try:
        await readable
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, _SENTENCE)
