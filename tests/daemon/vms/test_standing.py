"""Machines that stand: there is one a machine, of one snapshot; it goes when it is not wanted, has ended, or could not be made."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gasang.core.errors import StateError
from gasang.daemon.vms import standing
from gasang.daemon.vms.nursery import Nursery
from gasang.daemon.vms.standing import ENDING, Standing
from gasang.host.pressure import HostMemory
from gasang.kinds.vm.process.births import FILES
from gasang.kinds.vm.process.settings import NAME, MachineSettings
from gasang.kinds.vm.process.told import FAILED, READY

SETTINGS = MachineSettings(kernel="/kernel", snapshot="/snapshots/base")


class Bearing(Nursery):
    """A nursery that notes what is asked of it, and tells what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = True
        self.says = READY + b"1"
        self.is_gone = False
        self.links: list[socket.socket] = []

    def stand(self, folder: Path, link: socket.socket, told: socket.socket, heir: Path) -> None:
        if self.is_gone:
            raise StateError("nursery", "it is gone", "try again")
        assert (folder / NAME).exists()
        assert folder.name == f"{heir.name}{ENDING}"
        self.links.append(link.dup())
        told.sendall(self.says)

    def close(self) -> None:
        for link in self.links:
            link.close()


def living(check: Callable[[Bearing, Path], Awaitable[None]], tmp_path: Path) -> None:
    """Run it with a nursery and a machine's folder."""
    folder = tmp_path / "machine"
    folder.mkdir()

    async def whole() -> None:
        nursery = Bearing()
        try:
            await check(nursery, folder)
        finally:
            nursery.close()

    asyncio.run(whole())


async def made(stood: Standing, folder: Path, digest: str = "digest") -> Path | None:
    stood.prepare(folder, SETTINGS, digest)
    while task := stood._making.get(folder):
        await asyncio.wait([task])
    return stood.find(folder, digest)


def test_one_is_made_and_found_until_it_is_forgotten(tmp_path: Path) -> None:
    async def check(nursery: Bearing, folder: Path) -> None:
        (folder / FILES).write_text("files")
        stood = Standing(nursery, pause=0)
        place = await made(stood, folder)
        assert place == folder.with_name(f"machine{ENDING}")
        assert (place / FILES).read_text() == "files"
        assert MachineSettings.read(place) == SETTINGS
        assert stood.find(folder, "another") is None
        stood.prepare(folder, SETTINGS, "digest")
        assert len(nursery.links) == 1
        stood.forget(folder)
        assert stood.find(folder, "digest") is None
        assert not place.exists()
        assert nursery.links[0].recv(1) == b""

    living(check, tmp_path)


def test_another_snapshot_takes_its_place(tmp_path: Path) -> None:
    async def check(nursery: Bearing, folder: Path) -> None:
        stood = Standing(nursery, pause=0)
        await made(stood, folder)
        assert await made(stood, folder, "other") is not None
        assert nursery.links[0].recv(1) == b""
        stood.close()
        assert nursery.links[1].recv(1) == b""

    living(check, tmp_path)


def test_one_that_has_ended_is_made_anew(tmp_path: Path) -> None:
    async def check(nursery: Bearing, folder: Path) -> None:
        stood = Standing(nursery, pause=0)
        await made(stood, folder)
        nursery.links[0].close()
        assert stood.find(folder, "digest") is None
        assert await made(stood, folder) is not None
        stood.close()

    living(check, tmp_path)


def test_one_that_nobody_wants_goes(tmp_path: Path) -> None:
    async def check(nursery: Bearing, folder: Path) -> None:
        stood = Standing(nursery, kept=0.05, pause=0)
        assert await made(stood, folder) is not None
        await asyncio.get_running_loop().run_in_executor(None, nursery.links[0].recv, 1)
        assert stood.find(folder, "digest") is None
        assert not folder.with_name(f"machine{ENDING}").exists()

    living(check, tmp_path)


@pytest.mark.parametrize("fails", ["told", "gone", "memory"])
def test_where_none_can_be_made_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    async def check(nursery: Bearing, folder: Path) -> None:
        if fails == "told":
            nursery.says = FAILED + b"no"
        elif fails == "gone":
            nursery.is_gone = True
        else:
            monkeypatch.setattr(standing, "host_memory", lambda: HostMemory(100, 24, 0.0))
        stood = Standing(nursery, pause=0)
        assert await made(stood, folder) is None
        assert not folder.with_name(f"machine{ENDING}").exists()

    living(check, tmp_path)


def test_one_that_is_being_made_can_be_forgotten(tmp_path: Path) -> None:
    async def check(nursery: Bearing, folder: Path) -> None:
        stood = Standing(nursery, pause=60)
        stood.prepare(folder, SETTINGS, "digest")
        stood.close()
        await asyncio.sleep(0)
        assert nursery.links == []

    living(check, tmp_path)


def test_what_a_killed_daemon_has_left_is_swept(tmp_path: Path) -> None:
    async def check(nursery: Bearing, folder: Path) -> None:
        left = folder.with_name(f"gone{ENDING}")
        left.mkdir()
        stood = Standing(nursery, pause=0)
        place = await made(stood, folder)
        stood.sweep(folder.parent.iterdir())
        assert not left.exists()
        assert place is not None
        assert place.exists()
        stood.close()

    living(check, tmp_path)
