"""Disks behind addresses, had by a process beside a machine's jail."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from gasang.core.errors import GasangError
from gasang.devices.worker import Worker
from gasang.kinds.vm.disks import Disk, attach, of_document, to_document
from gasang.kinds.vm.process.far_disks import brought_near
from gasang.kinds.vm.process.settings import MachineSettings
from gasang.storage.images.table import create_image, open_image
from gasang.storage.nbd.server import Offer, Server
from gasang.storage.throttle import Limits
from storage.test_http import part, serving

SIZE = 1 << 20


def machine(*disks: Disk) -> MachineSettings:
    """One with these disks, as the daemon is asked for it."""
    return MachineSettings.of_document({"image": "web", "disks": [to_document(disk) for disk in disks]})


@contextmanager
def offered(path: Path) -> Iterator[str]:
    """The address of an image that a server has."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server([Offer(open_image(path, read_only=False), "")], [listener], lambda sentence: None)
    server.start()
    try:
        yield f"nbd://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.close()


def children() -> set[str]:
    """Our processes."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_they_are_at_sockets_of_ours(tmp_path: Path) -> None:
    create_image(tmp_path / "own.vmdk", "vmdk", SIZE).close()
    with closing(create_image(tmp_path / "cloud.qcow2", "qcow2", SIZE)) as image:
        image.write(0, b"cloud")
    (tmp_path / "here.img").write_bytes(bytes(SIZE))
    content = (tmp_path / "cloud.qcow2").read_bytes()

    def answer(handler: BaseHTTPRequestHandler, first: int, last: int) -> None:
        part(handler, content, first, last)

    warned: list[str] = []
    before = children()
    with serving(answer) as url, offered(tmp_path / "own.vmdk") as address, ExitStack() as cleanup:
        settings = machine(
            Disk(tmp_path / "here.img"), Disk(Path(url), True, address=url), Disk(Path(address), address=address, limits=Limits(9999, 0))
        )
        near = [of_document(disk) for disk in brought_near(settings).disks]
        assert [disk.served >= 0 for disk in near] == [False, True, True]
        assert near[2].limits == Limits(9999, 0)
        [made] = children() - before
        devices, workers = attach(near, Worker("disk"), warned.append, cleanup)
        for worker in workers:
            cleanup.callback(worker.close)
        far, own = devices[1].block, devices[2].block
        assert (far.read(0, 5), far.size, own.size) == (b"cloud", SIZE, SIZE)
        own.write(5000, b"from a jail")
        own.flush()
        with pytest.raises(OSError, match="read"):
            far.write(0, b"x")
        own.write(9000, b"unflushed")
    until_gone(int(made))
    with closing(open_image(tmp_path / "own.vmdk", read_only=True)) as image:
        assert (image.read(5000, 11), image.read(9000, 9)) == (b"from a jail", b"unflushed")
    assert not warned


def until_gone(pid: int) -> None:
    """A process of ours ends by itself."""
    assert os.waitpid(pid, 0)[1] == 0


def test_it_ends_with_who_had_the_sockets(tmp_path: Path) -> None:
    create_image(tmp_path / "own.qcow2", "qcow2", SIZE).close()
    before = children()
    with offered(tmp_path / "own.qcow2") as address:
        [disk] = brought_near(machine(Disk(Path(address), address=address))).disks
        [made] = children() - before
        os.close(of_document(disk).served)
        until_gone(int(made))


@pytest.mark.parametrize(
    ("disk", "expected"),
    [
        ({"address": "nbd://127.0.0.1:1/x"}, "its server cannot be reached"),
        ({"address": "http://127.0.0.1:1/x"}, "say ,readonly"),
        ({"address": "ftp://127.0.0.1/x"}, "that is no address"),
        ({"address": "nbd://127.0.0.1:1/x", "key_file": "/nowhere"}, "there is no such file"),
    ],
)
def test_what_cannot_be_opened_is_told(disk: dict[str, Any], expected: str) -> None:
    begun = time.monotonic()
    settings = MachineSettings.of_document({"image": "web", "disks": [["/", False, disk]]})
    with pytest.raises(GasangError, match=expected):
        brought_near(settings)
    assert time.monotonic() - begun < 30


def test_a_machine_without_them_starts_nothing(tmp_path: Path) -> None:
    settings = machine(Disk(tmp_path / "here.img"), Disk(Path("nbd+unix:///?socket=/s"), address="nbd+unix:///?socket=/s"))
    assert brought_near(settings) is settings
