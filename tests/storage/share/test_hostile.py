"""Guests that want out of their folder, or send whatever: nothing outside is reached, and every message has an answer."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import socket
import stat
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gasang.storage.share import handles, nodes, wire
from gasang.storage.share.server import ShareServer
from gasang.storage.share.wire import Opcode
from support.share_client import RefusedError, ShareClient

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this host shares no folders")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shared = tmp_path / "shared"
    (shared / "inner").mkdir(parents=True)
    (shared / "inner" / "file").write_bytes(b"inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"secret")
    return shared


@pytest.fixture
def server(folder: Path) -> Iterator[ShareServer]:
    made = ShareServer(folder)
    yield made
    made.close()


@pytest.fixture
def client(server: ShareServer) -> ShareClient:
    return ShareClient(server)


def refused(client: ShareClient, opcode: int, node: int, body: bytes = b"") -> int:
    with pytest.raises(RefusedError) as error:
        client.ask(opcode, node, body)
    return error.value.number


@pytest.mark.parametrize("name", ["..", ".", "", "inner/file", "../outside", "/etc/passwd", "x" * 256])
def test_names_are_one_step(client: ShareClient, name: str) -> None:
    data = name.encode() + b"\0"
    for opcode, body in (
        (Opcode.LOOKUP, data),
        (Opcode.UNLINK, data),
        (Opcode.RMDIR, data),
        (Opcode.MKDIR, wire.MKDIR_IN.pack(0o755, 0) + data),
        (Opcode.MKNOD, wire.MKNOD_IN.pack(0o100644, 0, 0, 0) + data),
        (Opcode.SYMLINK, data + b"x\0"),
        (Opcode.LINK, wire.LINK_IN.pack(client.walk("inner/file").node) + data),
        (Opcode.CREATE, wire.CREATE_IN.pack(0, 0o100644, 0, 0) + data),
        (Opcode.RENAME, wire.RENAME_IN.pack(1) + data + b"new\0"),
        (Opcode.RENAME, wire.RENAME_IN.pack(1) + b"inner\0" + data),
    ):
        assert refused(client, opcode, 1, body) in (errno.EINVAL, errno.ENAMETOOLONG)


def test_a_link_out_is_a_link_and_nothing_else(client: ShareClient, folder: Path) -> None:
    for target in (str(folder.parent / "outside"), "../outside", "/proc/self/root", "../outside/file"):
        link = client.symlink("way", target)
        assert stat.S_ISLNK(link.mode)
        assert refused(client, Opcode.LOOKUP, link.node, b"file\0") == errno.ELOOP
        assert refused(client, Opcode.OPEN, link.node, wire.OPEN_IN.pack(0, 0)) == errno.EACCES
        assert refused(client, Opcode.OPENDIR, link.node, wire.OPEN_IN.pack(0, 0)) in (errno.ELOOP, errno.ENOTDIR)
        assert refused(client, Opcode.CREATE, 1, wire.CREATE_IN.pack(os.O_RDWR, 0o100644, 0, 0) + b"way\0") == errno.EACCES
        client.unlink("way")
    assert (folder.parent / "outside" / "file").read_bytes() == b"secret"


def test_a_directory_that_becomes_a_link_leads_nowhere(client: ShareClient, folder: Path) -> None:
    inner = client.lookup("inner").node
    node = client.lookup("file", inner).node
    (folder / "inner").rename(folder / "was")
    (folder / "inner").symlink_to(folder.parent / "outside")
    for opcode, number, body in (
        (Opcode.LOOKUP, inner, b"file\0"),
        (Opcode.OPEN, node, wire.OPEN_IN.pack(0, 0)),
        (Opcode.GETATTR, node, wire.GETATTR_IN.pack(0, 0, 0)),
        (Opcode.UNLINK, inner, b"file\0"),
        (Opcode.CREATE, inner, wire.CREATE_IN.pack(os.O_RDWR, 0o100644, 0, 0) + b"new\0"),
        (Opcode.MKDIR, inner, wire.MKDIR_IN.pack(0o755, 0) + b"new\0"),
        (Opcode.RENAME, inner, wire.RENAME_IN.pack(1) + b"file\0taken\0"),
    ):
        assert refused(client, opcode, number, body) in (errno.ELOOP, errno.ESTALE)
    assert os.listdir(folder.parent / "outside") == ["file"]
    assert client.walk("was/file").size == 6


def test_what_is_moved_out_is_out_of_reach(client: ShareClient, folder: Path) -> None:
    inner = client.lookup("inner").node
    client.lookup("file", inner)
    (folder / "inner").rename(folder.parent / "gone")
    assert refused(client, Opcode.LOOKUP, inner, b"file\0") == errno.ENOENT
    assert refused(client, Opcode.CREATE, inner, wire.CREATE_IN.pack(os.O_RDWR, 0o100644, 0, 0) + b"new\0") == errno.ENOENT
    assert os.listdir(folder.parent / "gone") == ["file"]


def test_another_file_in_its_place_is_another_file(client: ShareClient, folder: Path) -> None:
    node = client.walk("inner/file").node
    (folder / "other").write_bytes(b"another")
    (folder / "other").replace(folder / "inner" / "file")
    assert refused(client, Opcode.OPEN, node, wire.OPEN_IN.pack(0, 0)) == errno.ESTALE
    assert client.walk("inner/file").size == 7


def test_who_renames_and_links_all_the_time_opens_no_way_out(client: ShareClient, folder: Path) -> None:
    """A directory is exchanged for a link to the outside again and again, while the guest works in it."""
    (folder / "decoy").symlink_to(folder.parent / "outside")
    ended = threading.Event()

    def exchange() -> None:
        while not ended.wait(0.002):
            (folder / "inner").rename(folder / "spare")
            (folder / "decoy").rename(folder / "inner")
            (folder / "inner").rename(folder / "decoy")
            (folder / "spare").rename(folder / "inner")

    thread = threading.Thread(target=exchange)
    inner = client.lookup("inner").node
    thread.start()
    done, numbers = 0, set()
    try:
        end = time.monotonic() + 20
        for number in itertools.count():
            if (done > 50 and numbers) or time.monotonic() > end:
                break
            try:
                entry = client.lookup("file", inner)
                handle = client.open(entry.node)
                assert client.read(handle) == b"inside"
                client.release(handle)
                _, handle = client.create(f"new{number}", inner)
                client.release(handle)
                done += 1
            except RefusedError as error:
                numbers.add(error.number)
    finally:
        ended.set()
        thread.join()
    assert done
    assert numbers <= {errno.ELOOP, errno.ESTALE, errno.ENOENT, errno.ENOTDIR}
    assert os.listdir(folder.parent / "outside") == ["file"]
    assert (folder.parent / "outside" / "file").read_bytes() == b"secret"


def test_what_is_no_file_is_not_opened(client: ShareClient, folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "socket"))
    for name in ("fifo", "socket", "inner"):
        node = client.lookup(name).node
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_TRUNC):
            assert refused(client, Opcode.OPEN, node, wire.OPEN_IN.pack(flags, 0)) == errno.EACCES
        assert refused(client, Opcode.CREATE, 1, wire.CREATE_IN.pack(1, 0o100644, 0, 0) + name.encode() + b"\0") == errno.EACCES


@pytest.mark.parametrize("kind", [stat.S_IFBLK, stat.S_IFCHR, stat.S_IFDIR, stat.S_IFLNK, 0o150000])
def test_no_device_is_made(client: ShareClient, folder: Path, kind: int) -> None:
    assert refused(client, Opcode.MKNOD, 1, wire.MKNOD_IN.pack(kind | 0o666, 0x103, 0, 0) + b"null\0") == errno.EPERM
    assert os.listdir(folder) == ["inner"]


def test_a_new_program_lends_no_rights(client: ShareClient, folder: Path) -> None:
    _, handle = client.create("tool", mode=0o7755)
    client.release(handle)
    client.ask(Opcode.MKNOD, 1, wire.MKNOD_IN.pack(0o107777, 0, 0, 0) + b"other\0")
    assert not (folder / "tool").stat().st_mode & 0o6000
    assert not (folder / "other").stat().st_mode & 0o6000


def test_open_files_have_a_bound(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "MOST_HANDLES", 3)
    server = ShareServer(folder)
    client = ShareClient(server)
    node = client.walk("inner/file").node
    held = [client.open(node) for _ in range(3)]
    assert refused(client, Opcode.OPEN, node, wire.OPEN_IN.pack(0, 0)) == errno.ENFILE
    assert refused(client, Opcode.OPENDIR, 1, wire.OPEN_IN.pack(0, 0)) == errno.ENFILE
    assert refused(client, Opcode.CREATE, 1, wire.CREATE_IN.pack(2, 0o100644, 0, 0) + b"new\0") == errno.ENFILE
    client.release(held.pop())
    client.open(node)
    server.close()


def test_nodes_have_a_bound(client: ShareClient, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "MOST_NODES", 2)
    client.lookup("inner")
    (folder / "one").touch()
    before = len(os.listdir("/proc/self/fd"))
    assert refused(client, Opcode.LOOKUP, 1, b"one\0") == errno.ENFILE
    assert refused(client, Opcode.CREATE, 1, wire.CREATE_IN.pack(2, 0o100644, 0, 0) + b"new\0") == errno.ENFILE
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_place_deeper_than_any_path_is_refused(client: ShareClient) -> None:
    made, name = [1], "d" * 200
    for _ in range(20):
        made.append(client.mkdir(name, made[-1]).node)
    assert refused(client, Opcode.MKDIR, made[-1], wire.MKDIR_IN.pack(0o755, 0) + name.encode() + b"\0") == errno.ENAMETOOLONG
    for node in reversed(made[:-1]):
        client.ask(Opcode.RMDIR, node, name.encode() + b"\0")  # what removes temporary folders cannot


NUMBERS = st.one_of(
    st.integers(0, 8),
    st.sampled_from([0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]),
    st.integers(0, (1 << 64) - 1),
)
NAMES = st.sampled_from([b"file\0", b"inner\0", b"new\0", b"..\0", b"way\0", b"", b"no end", b"a/b\0", b"\xff\xfe\0", b"\0"])
BODY = st.builds(
    lambda values, width, names: b"".join(struct.pack("<Q", value)[:width] for value in values) + b"".join(names),
    st.lists(NUMBERS, max_size=11),
    st.sampled_from([4, 8]),
    st.lists(NAMES, max_size=2),
) | st.binary(max_size=120)
MODES = st.builds(
    lambda mode, flags, name: wire.CREATE_IN.pack(flags, mode, 0, 0) + name,
    st.integers(0, 0xFFFF_FFFF),
    st.integers(0, 0xFFFF_FFFF) | st.integers(0, 3),
    NAMES,
)
MESSAGE = st.tuples(st.sampled_from(list(Opcode)) | st.integers(0, 60), NUMBERS, BODY | MODES, st.integers(0, 1) | st.integers(0, 1 << 32))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MESSAGE, max_size=25), st.integers(0, 60))
def test_every_message_has_an_answer_and_nothing_gets_out(
    tmp_path_factory: pytest.TempPathFactory, messages: list[tuple[int, int, bytes, int]], cut: int
) -> None:
    around = tmp_path_factory.mktemp("around")
    shared = around / "shared"
    (shared / "inner").mkdir(parents=True)
    (shared / "file").write_bytes(b"content")
    (shared / "way").symlink_to("../outside")
    (around / "outside").write_bytes(b"secret")
    before = os.stat(around / "outside")
    server = ShareServer(shared)
    client = ShareClient(server)
    client.lookup("inner")
    client.open(client.lookup("file").node, os.O_RDWR)
    try:
        for number, (opcode, node, body, room) in enumerate(messages):
            message = wire.IN.pack(wire.IN.size + len(body), opcode, number, node, node & 0xFFFF_FFFF, 0, 1, 0) + body
            answer = server.answer(message, room)
            if answer is not None:
                length, error, unique = wire.OUT.unpack_from(answer)
                assert (length, unique) == (len(answer), number)
                assert error == 0 or (-200 < error < 0 and length == wire.OUT.size)
        assert server.answer(bytes(cut), 100) is not None
    finally:
        server.close()
    after = os.stat(around / "outside")
    assert (after.st_mode, after.st_mtime_ns, after.st_uid, after.st_nlink) == (before.st_mode, before.st_mtime_ns, before.st_uid, 1)
    assert sorted(os.listdir(around)) == ["outside", "shared"]
    shutil.rmtree(around)  # there may be large files
