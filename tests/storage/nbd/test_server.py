"""A server on a socket: qemu's tools and our own client as peers, and clients and servers that misbehave."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from gasang.core.errors import GasangError
from gasang.storage.images.table import create_image, open_image
from gasang.storage.nbd import protocol as wire
from gasang.storage.nbd.address import Address
from gasang.storage.nbd.client import NbdStore, Patience
from gasang.storage.nbd.server_core import Session
from storage.images.judge import needs_qemu_img, qemu_img
from storage.nbd.served import SIZE, served

SOON = Patience(connect=20, answer=20, lost=20)


@needs_qemu_img
@pytest.mark.parametrize("form", ["qcow2", "vmdk"])
def test_qemu_reads_writes_and_maps(form: str, tmp_path: Path) -> None:
    model = bytearray(SIZE)
    model[1 << 20 : 2 << 20] = b"\7" * (1 << 20)
    model[100 << 10 : 104 << 10] = b"\x08" * 4096
    with served(tmp_path, form=form, name="web") as address:
        script = ("write -P 7 1M 3M", "write -f -P 8 100k 4k", "discard 2M 1M", "write -z 3M 1M", "read -P 0 3M 1M", "flush")
        words = [word for command in script for word in ("-c", command)]
        done = subprocess.run(["qemu-io", "-f", "raw", *words, str(address)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "failed" not in done.stdout
        (tmp_path / "model.raw").write_bytes(model)
        qemu_img("compare", "-f", "raw", "-F", "raw", address, tmp_path / "model.raw")
        assert '"zero": true' in qemu_img("map", "--output=json", address)
    qemu_img("compare", "-f", "raw", "-F", form, tmp_path / "model.raw", tmp_path / f"disk.{form}")
    qemu_img("check", "-f", form, tmp_path / f"disk.{form}")


@pytest.mark.skipif(shutil.which("qemu-nbd") is None, reason="qemu-nbd is not installed (Debian: qemu-utils)")
def test_we_read_and_write_what_qemu_serves(tmp_path: Path) -> None:
    create_image(tmp_path / "disk.qcow2", "qcow2", SIZE).close()
    place = tmp_path / "their.sock"
    words = ["qemu-nbd", "-f", "qcow2", "-x", "web", "-k", str(place), "-t", "--fork", "--pid-file", str(tmp_path / "pid"), "-e", "2"]
    subprocess.run([*words, str(tmp_path / "disk.qcow2")], check=True, timeout=30)
    try:
        with contextlib.closing(NbdStore(Address("web", path=str(place)), read_only=False, patience=SOON)) as store:
            data = random.Random(1).randbytes(3 << 20)
            store.write(1 << 20, data)
            store.flush()
            assert store.punch(2 << 20, 1 << 20)
            assert store.read((1 << 20) - 10, (3 << 20) + 20) == bytes(10) + data[: 1 << 20] + bytes(1 << 20) + data[2 << 20 :] + bytes(10)
            assert list(store.data()) == [(1 << 20, 1 << 20), (3 << 20, 1 << 20)]
        with pytest.raises(GasangError, match="no disk of that name"):
            NbdStore(Address("other", path=str(place)), read_only=True, patience=SOON)
    finally:
        subprocess.run(["kill", (tmp_path / "pid").read_text().strip()], check=True)


def test_several_clients_see_one_disk(tmp_path: Path) -> None:
    with served(tmp_path) as address, contextlib.ExitStack() as open_ones:
        stores = [open_ones.enter_context(contextlib.closing(NbdStore(address, read_only=False, patience=SOON))) for _ in range(3)]

        def write(number: int) -> None:
            for at in range(20):
                stores[number].write((number * 20 + at) * 4096, bytes((number + 1,)) * 4096)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert stores[0].read(0, 60 * 4096) == b"".join(bytes((number + 1,)) * 20 * 4096 for number in range(3))
        assert list(stores[1].data()) == [(0, 4 * 65536)]


def test_a_read_only_disk_stays_as_it_is(tmp_path: Path) -> None:
    create_image(tmp_path / "disk.qcow2", "qcow2", SIZE).close()
    with served(tmp_path, read_only=True) as address:
        with pytest.raises(GasangError, match="for reading only"):
            NbdStore(address, read_only=False, patience=SOON)
        with contextlib.closing(NbdStore(address, read_only=True, patience=SOON)) as store, pytest.raises(OSError, match="server says"):
            store.write(0, b"x" * 512)


def test_what_was_not_flushed_survives_a_server_that_dies(tmp_path: Path) -> None:
    """The first server forgets what it was told when it dies; the client tells the second one again."""
    with served(tmp_path, form="raw") as address:
        store = NbdStore(address, read_only=False, patience=SOON)
        store.write(0, b"flushed!" * 64)
        store.flush()
        store.write(512, b"not yet " * 64)
        assert store.punch(1024, 512)
    (tmp_path / "disk.raw").write_bytes((b"flushed!" * 64).ljust(SIZE, b"?"))
    with served(tmp_path, form="raw"):
        assert store.read(0, 512) == b"flushed!" * 64
        assert store.read(512, 1536) == b"not yet " * 64 + bytes(512) + b"?" * 512
        store.close()


def test_a_server_that_stays_away_is_an_error_of_the_host(tmp_path: Path) -> None:
    with served(tmp_path) as address:
        store = NbdStore(address, read_only=True, patience=Patience(connect=1, answer=1, lost=0.2))
    with pytest.raises(OSError, match="does not come back"):
        store.read(0, 512)
    store._patience = SOON
    begin = time.monotonic()
    with pytest.raises(OSError, match="does not come back"):
        store.read(0, 512)
    assert time.monotonic() - begin < SOON.lost / 2  # it was waited for once
    with pytest.raises(GasangError, match="cannot be reached"):
        NbdStore(address, read_only=True, patience=SOON)
    with served(tmp_path):
        assert store.read(0, 512) == bytes(512)
        store.close()


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "cannot be understood"),
        (Session.greeting()[:10], "does not answer"),
        (Session.greeting() + bytes(60), "cannot be understood"),
    ],
)
def test_a_server_that_is_none(says: bytes, why: str, tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "odd.sock"))
    listener.listen()
    kept = []

    def answer() -> None:
        peer, _ = listener.accept()
        peer.sendall(says)
        kept.append(peer)

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(GasangError, match=why):
        NbdStore(Address("", path=str(tmp_path / "odd.sock")), read_only=True, patience=Patience(0.5, 0.5, 0.5))
    thread.join()
    for each in (*kept, listener):
        each.close()


def test_clients_that_misbehave_do_not_hurt_the_others(tmp_path: Path) -> None:
    with served(tmp_path, connections=3) as address, contextlib.ExitStack() as cleanup:
        good = cleanup.enter_context(contextlib.closing(NbdStore(address, read_only=False, patience=SOON)))
        for says in (b"\xff" * 4, struct.pack(">IQII", 3, wire.IHAVEOPT, wire.EXPORT_NAME, 0) + b"?" * 28):
            bad = cleanup.enter_context(socket.socket(socket.AF_UNIX))
            bad.settimeout(30)
            bad.connect(address.path)
            bad.sendall(says)
            while bad.recv(4096):
                pass
        lazy = [cleanup.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
        for each in lazy:
            each.settimeout(30)
            each.connect(address.path)
        assert lazy[0].recv(18, socket.MSG_WAITALL) == Session.greeting()
        assert lazy[1].recv(18, socket.MSG_WAITALL) == Session.greeting()
        assert lazy[2].recv(18) == b""  # no room for a fourth
        good.write(0, b"still here" * 100)
        assert good.read(0, 1000) == b"still here" * 100


def test_who_stands_still_in_the_middle_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gasang.storage.nbd.server.PATIENCE", 0.3)
    with served(tmp_path) as address, socket.socket(socket.AF_UNIX) as slow, contextlib.closing(NbdStore(address, read_only=False)) as idle:
        slow.settimeout(30)
        slow.connect(address.path)
        assert slow.recv(18, socket.MSG_WAITALL) == Session.greeting()
        slow.sendall(struct.pack(">IQII", 3, wire.IHAVEOPT, wire.EXPORT_NAME, 0))
        assert len(slow.recv(10, socket.MSG_WAITALL)) == 10
        slow.sendall(wire.request_head.pack(wire.REQUEST, 0, wire.WRITE, 1, 0, 4096) + b"half")
        assert slow.recv(1) == b""
        idle.write(0, b"has waited longer" * 10)  # between requests anybody may take their time
        assert idle.read(0, 17) == b"has waited longer"


@pytest.mark.parametrize("form", ["qcow2", "raw", "vhdx"])
def test_random_use(form: str, tmp_path: Path) -> None:
    rng = random.Random(form)
    model = bytearray(SIZE)
    with served(tmp_path, form=form) as address, contextlib.closing(NbdStore(address, read_only=False, patience=SOON)) as store:
        for _ in range(120):
            at = rng.randrange(SIZE)
            length = min(SIZE - at, rng.choice((1, 512, 5000, 70_000, 400_000)))
            what = rng.random()
            if what < 0.6:
                data = rng.randbytes(length)
                store.write(at, data)
                model[at : at + length] = data
            elif what < 0.8:
                assert store.punch(at, length)
                model[at : at + length] = bytes(length)
            elif what < 0.9:
                store.flush()
            at = rng.randrange(SIZE)
            assert store.read(at, min(SIZE - at, 9999)) == model[at : at + 9999]
        told = bytearray(SIZE)
        for offset, length in store.data():
            told[offset : offset + length] = store.read(offset, length)
        assert told == model
    with contextlib.closing(open_image(tmp_path / f"disk.{form}", read_only=True, form=form)) as image:
        assert image.read(0, SIZE) == model
