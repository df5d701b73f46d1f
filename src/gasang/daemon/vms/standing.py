"""Machines restored ahead: of a snapshot that was restored once there is a process that stands where the next restore begins.

A restore is a fork of it then (kinds/vm/process/machine.py, `stood`), with memory, devices, decoded code and jail as they are to be.
There is one a machine at most, for its last snapshot restored; it goes with the machine, with the snapshot, with the daemon, after KEPT
seconds in which nobody wanted it, and is not made where the host is short of memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from gasang.core.errors import GasangError
from gasang.daemon.vms.nursery import Nursery
from gasang.daemon.vms.process import heard
from gasang.host.pressure import host_memory
from gasang.kinds.vm.process.births import FILES
from gasang.kinds.vm.process.settings import MachineSettings

KEPT: Final = 600.0
PAUSE: Final = 2.0
"""Seconds after a restore until the next is made ready: the machine has the host to itself, and tells what it needs first."""
ENDING: Final = ".standing"
"""The folder of one is the machine's with this behind it."""
_SHARE: Final = 4
"""A quarter of the host's memory must be to be had."""


class Stood(NamedTuple):
    """One that stands: its folder, our end of its link, whose snapshot it is, and what forgets it when nobody wants it."""

    folder: Path
    link: socket.socket
    digest: str
    forgetting: asyncio.TimerHandle


class Standing:
    """Those of a daemon, by their machines' folders."""

    def __init__(self, nursery: Nursery, kept: float = KEPT, pause: float = PAUSE) -> None:
        self._nursery = nursery
        self._kept = kept
        self._pause = pause
        self._all: dict[Path, Stood] = {}
        self._making: dict[Path, asyncio.Task[None]] = {}

    def find(self, folder: Path, digest: str) -> Path | None:
        """The folder of one that stands where the snapshot of this digest was made, for the machine in `folder`."""
        found = self._all.get(folder)
        if found is None or found.digest != digest or _has_ended(found.link):
            return None
        found.forgetting.cancel()
        self._all[folder] = found._replace(forgetting=self._later(folder))
        return found.folder

    def prepare(self, folder: Path, settings: MachineSettings, digest: str) -> None:
        """Have one made, some moments later, if there is none: of the snapshot that `settings` name, which has that digest."""
        if self.find(folder, digest) is not None:
            return
        self.forget(folder)
        self._making[folder] = asyncio.ensure_future(self._make(folder, settings, digest))

    def forget(self, folder: Path) -> bool:
        """End the one of a machine; whether there was one."""
        making, found = self._making.pop(folder, None), self._all.pop(folder, None)
        if making is not None:
            making.cancel()
        if found is not None:
            found.forgetting.cancel()
            found.link.close()
            shutil.rmtree(found.folder, ignore_errors=True)
        return found is not None

    def sweep(self, folders: Iterable[Path]) -> None:
        """Remove what a daemon that was killed has left among those folders."""
        for left in folders:
            if not left.name.endswith(ENDING):
                continue
            owner = left.with_name(left.name.removesuffix(ENDING))
            if owner not in self._all and owner not in self._making:
                shutil.rmtree(left, ignore_errors=True)

    def close(self) -> None:
        """End them all."""
        for folder in {*self._all, *self._making}:
            self.forget(folder)

    async def _make(self, folder: Path, settings: MachineSettings, digest: str) -> None:
        await asyncio.sleep(self._pause)
        place = folder.with_name(f"{folder.name}{ENDING}")
        link, theirs = socket.socketpair()
        stands = False
        try:
            with theirs, contextlib.suppress(GasangError, OSError):  # the next restore does without
                if self._nursery.ready and _has_room():
                    await asyncio.to_thread(_furnish, place, folder, settings)
                    stands = await self._begin(place, theirs, folder)
        finally:
            self._making.pop(folder, None)
            if not stands:
                link.close()
                shutil.rmtree(place, ignore_errors=True)
        if stands:
            self._all[folder] = Stood(place, link, digest, self._later(folder))

    async def _begin(self, place: Path, link: socket.socket, heir: Path) -> bool:
        """Whether it stands."""
        ours, told = socket.socketpair()
        with ours:
            with told:
                self._nursery.stand(place, link, told, heir)
            return await heard(ours.fileno())

    def _later(self, folder: Path) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._kept, self.forget, folder)


def _furnish(place: Path, folder: Path, settings: MachineSettings) -> None:
    """The folder of one that is to stand."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o710)
    settings.write(place)
    if (folder / FILES).exists():
        shutil.copyfile(folder / FILES, place / FILES)


def _has_room() -> bool:
    memory = host_memory()
    return memory is None or memory.available * _SHARE > memory.total


def _has_ended(link: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError, ConnectionError):
        return not link.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
    return False
