"""A shared folder as a guest uses it."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, NotFoundError
from gasang.storage.share import wire
from gasang.storage.share.server import ShareServer
from gasang.storage.share.wire import Opcode
from support.share_client import RefusedError, ShareClient

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this host shares no folders")

MODE, UID, GID, SIZE, ATIME, MTIME, HANDLE, ATIME_NOW, MTIME_NOW = (1 << bit for bit in range(9))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shared = tmp_path / "shared"
    (shared / "inner").mkdir(parents=True)
    (shared / "file").write_bytes(b"content")
    (shared / "inner" / "deep").write_bytes(b"deeper")
    (shared / "link").symlink_to("inner/deep")
    (tmp_path / "outside").write_bytes(b"secret")
    return shared


@pytest.fixture
def server(folder: Path) -> Iterator[ShareServer]:
    made = ShareServer(folder)
    yield made
    made.close()


@pytest.fixture
def client(server: ShareServer) -> ShareClient:
    return ShareClient(server)


@pytest.fixture
def reader(folder: Path) -> Iterator[ShareClient]:
    made = ShareServer(folder, read_only=True)
    yield ShareClient(made)
    made.close()


def test_what_is_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        ShareServer(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="cannot be shared"):
        ShareServer(tmp_path / "file")


def test_the_guest_is_told_what_we_can(client: ShareClient) -> None:
    major, minor, _, flags, *_ = client.init()
    assert (major, minor) == (7, 31)
    assert not flags & ~0xFFFF_FFFF
    with pytest.raises(RefusedError) as refused:
        client.ask(Opcode.INIT, 0, wire.INIT_IN.pack(7, 8, 0, 0))
    assert refused.value.number == errno.EPROTO


def test_names_are_found_and_listed(client: ShareClient) -> None:
    entry = client.lookup("file")
    assert (entry.size, stat.S_ISREG(entry.mode)) == (7, True)
    assert client.lookup("file").node == entry.node
    assert client.walk("inner/deep").size == 6
    assert client.names() == [".", "..", "file", "inner", "link"]
    with pytest.raises(RefusedError) as refused:
        client.lookup("nothing")
    assert refused.value.number == errno.ENOENT


@pytest.mark.parametrize("size", [320, 4096])
def test_a_long_directory_comes_in_pieces(client: ShareClient, folder: Path, size: int) -> None:
    for number in range(100):
        (folder / "inner" / f"{'x' * (number % 60)}{number}").touch()
    listed = client.names(client.lookup("inner").node, size)
    assert listed == sorted([".", "..", *os.listdir(folder / "inner")])


def test_files_are_read_and_written(client: ShareClient, folder: Path) -> None:
    handle = client.open(client.lookup("file").node, os.O_RDWR)
    assert client.read(handle) == b"content"
    assert client.read(handle, 3, 2) == b"te"
    assert client.read(handle, 100) == b""
    assert client.write(handle, b"!!", 5) == 2
    client.ask(Opcode.FSYNC, 1, wire.FSYNC_IN.pack(handle, 1, 0))
    client.ask(Opcode.FLUSH, 1, wire.RELEASE_IN.pack(handle, 0, 0, 0))
    client.release(handle)
    assert (folder / "file").read_bytes() == b"conte!!"
    with pytest.raises(RefusedError) as refused:
        client.read(handle)
    assert refused.value.number == errno.EBADF


def test_files_are_made_and_truncated(client: ShareClient, folder: Path) -> None:
    entry, handle = client.create("new", mode=0o640)
    assert client.write(handle, b"x" * 100_000) == 100_000
    assert client.set(entry.node, SIZE | HANDLE, size=10, handle=handle).size == 10
    assert client.set(entry.node, SIZE, size=3).size == 3
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o640
    client.release(handle)
    handle = client.open(entry.node, os.O_WRONLY | os.O_TRUNC)
    assert client.status(entry.node).size == 0
    client.release(handle)
    again, handle = client.create("new")
    assert again.node == entry.node
    client.release(handle)
    with pytest.raises(RefusedError) as refused:
        client.create("new", flags=os.O_RDWR | os.O_EXCL)
    assert refused.value.number == errno.EEXIST


def test_directories_links_and_nodes_are_made(client: ShareClient, folder: Path) -> None:
    inner = client.mkdir("dir", mode=0o2770)
    assert stat.S_IMODE((folder / "dir").stat().st_mode) == 0o2770
    assert client.symlink("points", "/etc/passwd", inner.node).size == 11
    assert os.readlink(folder / "dir" / "points") == "/etc/passwd"
    assert client.ask(Opcode.READLINK, client.walk("dir/points").node) == b"/etc/passwd"
    client.ask(Opcode.MKNOD, 1, wire.MKNOD_IN.pack(stat.S_IFIFO | 0o600, 0, 0, 0) + b"fifo\0")
    assert stat.S_ISFIFO((folder / "fifo").stat().st_mode)
    client.ask(Opcode.MKNOD, 1, wire.MKNOD_IN.pack(stat.S_IFREG | 0o600, 0, 0, 0) + b"plain\0")
    assert (folder / "plain").read_bytes() == b""
    linked = client.entry(client.ask(Opcode.LINK, 1, wire.LINK_IN.pack(client.lookup("file").node) + b"other\0"))
    assert (linked.node, linked.links) == (client.lookup("file").node, 2)


def test_names_are_moved_and_taken_away(client: ShareClient, folder: Path) -> None:
    node, inner = client.lookup("file").node, client.lookup("inner").node
    client.rename("file", "moved", target=inner)
    assert client.status(node).size == 7
    assert client.lookup("moved", inner).node == node
    client.rename("inner", "outer")
    assert client.status(node).size == 7
    client.rename("moved", "deep", inner, inner, flags=2)
    assert (folder / "outer" / "moved").read_bytes() == b"deeper"
    assert client.status(node).size == 7
    with pytest.raises(RefusedError) as refused:
        client.rename("moved", "deep", inner, inner, flags=1)
    assert refused.value.number == errno.EEXIST
    client.rename("moved", "deep", inner, inner)
    with pytest.raises(RefusedError):
        client.status(node)
    client.unlink("deep", inner)
    client.ask(Opcode.RMDIR, 1, b"outer\0")
    assert sorted(os.listdir(folder)) == ["link"]


def test_an_open_file_outlives_its_name(client: ShareClient) -> None:
    node = client.lookup("file").node
    handle = client.open(node, os.O_RDWR)
    client.unlink("file")
    assert client.read(handle) == b"content"
    assert (client.status(node).size, client.status(node).links) == (7, 0)
    assert client.set(node, SIZE | MODE, size=3, mode=0o600).size == 3
    fresh, other = client.create("file")
    assert fresh.node != node
    client.release(handle)
    client.release(other)


def test_attributes_are_changed(client: ShareClient, folder: Path) -> None:
    node = client.lookup("file").node
    assert stat.S_IMODE(client.set(node, MODE, mode=0o6755).mode) == 0o755, "no guest lends its rights to others on the host"
    client.set(node, ATIME | MTIME, atime=1000, mtime=(1 << 64) - 5)
    status = (folder / "file").stat()
    assert (status.st_atime_ns, status.st_mtime_ns) == (1000 * 10**9, -5 * 10**9)
    client.set(node, MTIME_NOW)
    assert (folder / "file").stat().st_mtime > 10**9
    assert (folder / "file").stat().st_atime_ns == 1000 * 10**9
    client.set(1, MODE | ATIME, mode=0o700, atime=5)
    assert (stat.S_IMODE(folder.stat().st_mode), folder.stat().st_atime_ns) == (0o700, 5 * 10**9)
    link = client.lookup("link").node
    client.set(link, MTIME, mtime=77)
    assert os.lstat(folder / "link").st_mtime_ns == 77 * 10**9
    for wrong, valid, values in (
        (link, MODE, {}),
        (node, UID, {"uid": 0xFFFF_FFFF}),
        (node, ATIME, {"atime": 1 << 62}),
        (node, SIZE, {"size": 1 << 63}),
    ):
        with pytest.raises(RefusedError):
            client.set(wrong, valid, **values)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root gives files away")
def test_what_is_made_belongs_to_who_made_it(server: ShareServer, folder: Path) -> None:
    client = ShareClient(server, uid=1234)
    _, handle = client.create("mine")
    client.release(handle)
    client.mkdir("dir")
    client.symlink("points", "x")
    assert {os.lstat(folder / name).st_uid for name in ("mine", "dir", "points")} == {1234}
    client.set(client.lookup("mine").node, UID, uid=77)
    client.set(client.lookup("link").node, GID, gid=78)
    client.set(1, UID, uid=79)
    assert ((folder / "mine").stat().st_uid, os.lstat(folder / "link").st_gid, folder.stat().st_uid) == (77, 78, 79)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root may change such a file")
def test_a_program_with_rights_loses_them_when_it_is_opened_for_writing(client: ShareClient, folder: Path) -> None:
    (folder / "file").chmod(0o6755)
    client.release(client.open(client.lookup("file").node))
    assert (folder / "file").stat().st_mode & 0o6000
    client.release(client.open(client.lookup("file").node, os.O_WRONLY))
    assert stat.S_IMODE((folder / "file").stat().st_mode) == 0o755


def test_room_holes_and_data(client: ShareClient) -> None:
    _, handle = client.create("sparse")
    client.ask(Opcode.FALLOCATE, 1, wire.FALLOCATE_IN.pack(handle, 0, 1 << 20, 0, 0))
    assert client.lookup("sparse").size == 1 << 20
    client.write(handle, b"x", 1 << 19)
    assert client.ask(Opcode.LSEEK, 1, wire.LSEEK_IN.pack(handle, 0, 3, 0))
    with pytest.raises(RefusedError):
        client.ask(Opcode.LSEEK, 1, wire.LSEEK_IN.pack(handle, 0, 0, 0))
    with pytest.raises(RefusedError):
        client.ask(Opcode.FALLOCATE, 1, wire.FALLOCATE_IN.pack(handle, 0, 1, 0x40, 0))
    assert wire.STATFS.unpack(client.ask(Opcode.STATFS, 1))[0] > 0
    client.release(handle)


def test_a_folder_for_reading_is_not_changed(reader: ShareClient, folder: Path) -> None:
    node = reader.lookup("file").node
    handle = reader.open(node)
    assert reader.read(handle) == b"content"
    attempts = [
        lambda: reader.open(node, os.O_WRONLY),
        lambda: reader.open(node, os.O_RDWR),
        lambda: reader.open(node, os.O_TRUNC),
        lambda: reader.create("new"),
        lambda: reader.create("file"),
        lambda: reader.write(handle, b"x"),
        lambda: reader.mkdir("new"),
        lambda: reader.symlink("new", "x"),
        lambda: reader.rename("file", "new"),
        lambda: reader.unlink("file"),
        lambda: reader.set(node, MODE, mode=0),
        lambda: reader.set(node, SIZE, size=0),
        lambda: reader.ask(Opcode.RENAME, 1, wire.RENAME_IN.pack(1) + b"file\0new\0"),
        lambda: reader.ask(Opcode.RMDIR, 1, b"inner\0"),
        lambda: reader.ask(Opcode.LINK, 1, wire.LINK_IN.pack(node) + b"new\0"),
        lambda: reader.ask(Opcode.MKNOD, 1, wire.MKNOD_IN.pack(0o644, 0, 0, 0) + b"new\0"),
        lambda: reader.ask(Opcode.FALLOCATE, 1, wire.FALLOCATE_IN.pack(handle, 0, 1 << 20, 0, 0)),
    ]
    for attempt in attempts:
        with pytest.raises(RefusedError) as refused:
            attempt()
        assert refused.value.number == errno.EROFS
    assert sorted(os.listdir(folder)) == ["file", "inner", "link"]
    assert (folder / "file").read_bytes() == b"content"


def test_what_is_forgotten_is_not_known(client: ShareClient) -> None:
    node = client.lookup("file").node
    client.lookup("file")
    client.tell(Opcode.FORGET, node, wire.FORGET_IN.pack(1))
    assert client.status(node).size == 7
    client.tell(Opcode.BATCH_FORGET, 0, wire.BATCH_FORGET_IN.pack(2, 0) + wire.FORGET_ONE.pack(node, 1) + wire.FORGET_ONE.pack(1, 9))
    with pytest.raises(RefusedError) as refused:
        client.status(node)
    assert refused.value.number == errno.ESTALE
    assert client.status(1).inode
    assert client.lookup("file").node != node


def test_a_saved_server_goes_on(client: ShareClient, server: ShareServer, folder: Path) -> None:
    node, deep = client.lookup("file").node, client.walk("inner/deep").node
    handle, lost = client.open(node, os.O_RDWR | os.O_TRUNC), client.open(deep)
    client.write(handle, b"kept")
    (directory, _, _) = wire.OPENED.unpack(client.ask(Opcode.OPENDIR, 1, wire.OPEN_IN.pack(0, 0)))
    state = server.save()
    (folder / "inner" / "deep").unlink()
    other = ShareServer(folder)
    other.load(state)
    try:
        client.server = other
        assert client.read(handle) == b"kept"
        assert client.status(node).size == 4
        assert client.ask(Opcode.READDIR, 1, wire.READ_IN.pack(directory, 0, 4096, 0, 0, 0, 0))
        with pytest.raises(RefusedError) as refused:
            client.read(lost)
        assert refused.value.number == errno.EBADF
        with pytest.raises(RefusedError):
            client.status(deep)
        assert client.lookup("link").node > deep
        assert other.save()["nodes"][: len(state["nodes"])] == state["nodes"]
    finally:
        other.close()


def test_nothing_stays_open(folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    made = ShareServer(folder)
    client = ShareClient(made)
    for _ in range(20):
        client.open(client.lookup("file").node)
        client.ask(Opcode.OPENDIR, 1, wire.OPEN_IN.pack(0, 0))
    made.renew()
    assert len(os.listdir("/proc/self/fd")) == before + 41
    client.ask(Opcode.DESTROY, 1)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    made.close()
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root mounts")
def test_what_is_mounted_in_the_folder_has_inodes_of_its_own(tmp_path: Path) -> None:
    """In a process with mounts of its own."""
    program = f"""
import ctypes, os
from pathlib import Path
from gasang.storage.share.server import ShareServer
from support.share_client import ShareClient
libc = ctypes.CDLL(None, use_errno=True)
shared = Path({str(tmp_path)!r})
assert libc.unshare(0x20000) == 0
assert libc.mount(None, b"/", None, 0x44000, None) == 0
for name in ("one", "two"):
    (shared / name).mkdir()
    assert libc.mount(b"tmpfs", bytes(shared / name), b"tmpfs", 0, None) == 0
server = ShareServer(shared)
client = ShareClient(server)
one, two = client.lookup("one"), client.lookup("two")
assert os.stat(shared / "one").st_ino == os.stat(shared / "two").st_ino
assert one.node != two.node and one.inode != two.inode
assert client.status(one.node).inode == one.inode
server.close()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr.decode()
