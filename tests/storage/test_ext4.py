"""ext4 images: judged by e2fsck, by a reader that shares nothing with the writer, by debugfs and by the kernel."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, OutOfSpaceError, UsageError
from gasang.storage import ext4_extents
from gasang.storage.ext4 import size_needed, write_ext4
from gasang.storage.ext4_nodes import LINK_MAX, Nodes
from gasang.storage.tree import Entry, Kind, read_tree

UUID_1 = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
MIB = 1 << 20

NO_ID = 0xFFFFFFFF
ACL = [(1, 6, NO_ID), (2, 6, 1000), (4, 4, NO_ID), (16, 6, NO_ID), (32, 4, NO_ID)]
"""Owner, user 1000, group, mask, others: (tag, rights, id)."""

Reader = Callable[[Path], Any]
Check = Callable[[Path], None]


def file(path: str | bytes, data: bytes = b"", **more: Any) -> Entry:
    return Entry(path=path, kind=Kind.FILE, data=data, **more)


def expected(entries: list[Entry]) -> dict[bytes, dict[str, Any]]:
    """What a reader should find at each entry's path."""
    return {
        (e.path.encode() if isinstance(e.path, str) else e.path): {
            "kind": e.kind.value,
            "mode": e.mode,
            "uid": e.uid,
            "gid": e.gid,
            "mtime": e.mtime,
            "device": e.device,
            "content": e.data if e.kind is Kind.FILE else e.target,
            "xattrs": dict(e.xattrs),
        }
        for e in entries
    }


def test_every_kind_of_entry(tmp_path: Path, fsck: Check, read_ext4: Reader) -> None:
    entries = [
        Entry(path="", kind=Kind.DIRECTORY, mode=0o1777, uid=5, mtime=77),
        Entry(path="etc", kind=Kind.DIRECTORY, mode=0o755, gid=70000),
        file("etc/passwd", b"root:x:0\n", mode=0o4755, uid=123456, gid=654321, mtime=1_700_000_000),
        file("empty"),
        file("big", bytes(range(256)) * 40_000),
        file(b"caf\xe9", b"not UTF-8"),
        file("late", b"", mtime=(1 << 34) - (1 << 31) - 1),
        file("early", b"", mtime=-(1 << 31)),
        Entry(path="short", kind=Kind.SYMLINK, mode=0o777, target=b"x" * 59),
        Entry(path="long", kind=Kind.SYMLINK, mode=0o777, target=b"y" * 60),
        Entry(path="longest", kind=Kind.SYMLINK, mode=0o777, target=b"z" * 4095),
        Entry(path="null", kind=Kind.CHARACTER, mode=0o666, device=(1, 3)),
        Entry(path="disk", kind=Kind.BLOCK, mode=0o660, device=(0xFFF, 0xFFFFF)),
        Entry(path="pipe", kind=Kind.FIFO),
        Entry(path="socket", kind=Kind.SOCKET),
    ]
    disk = tmp_path / "disk"
    write_ext4(disk, entries, 32 * MIB, label="root", uuid=UUID_1, time=99)
    fsck(disk)
    tree = read_ext4(disk).tree()
    for path, facts in expected(entries).items():
        assert {key: tree[path][key] for key in facts} == facts
    assert tree[b"lost+found"]["mtime"] == 99
    assert tree.keys() == {*expected(entries), b"lost+found"}
    assert disk.stat().st_size == 32 * MIB
    assert disk.stat().st_blocks * 512 < 16 * MIB  # sparse


def test_parents_appear_and_may_come_late(tmp_path: Path, fsck: Check, read_ext4: Reader) -> None:
    disk = tmp_path / "disk"
    write_ext4(disk, [file("a/b/c", b"1"), Entry(path="a", kind=Kind.DIRECTORY, mode=0o700)], 4 * MIB, uuid=UUID_1, time=5)
    fsck(disk)
    tree = read_ext4(disk).tree()
    assert tree[b"a"]["mode"] == 0o700
    assert (tree[b"a/b"]["mode"], tree[b"a/b"]["mtime"]) == (0o755, 5)


def test_hard_links_share_an_inode_whatever_the_order(tmp_path: Path, fsck: Check, read_ext4: Reader) -> None:
    entries = [
        Entry(path="first", kind=Kind.HARDLINK, target="d/file"),
        file("d/file", b"data"),
        Entry(path="again", kind=Kind.HARDLINK, target="first"),
        Entry(path="tty", kind=Kind.CHARACTER, device=(5, 0)),
        Entry(path="tty2", kind=Kind.HARDLINK, target="tty"),
    ]
    disk = tmp_path / "disk"
    write_ext4(disk, entries, 4 * MIB, uuid=UUID_1)
    fsck(disk)
    tree = read_ext4(disk).tree()
    assert tree[b"first"] == tree[b"again"] == tree[b"d/file"]
    assert tree[b"first"]["links"] == 3
    assert tree[b"tty"] == tree[b"tty2"]


def test_a_directory_of_ten_thousand_names(tmp_path: Path, fsck: Check, read_ext4: Reader) -> None:
    entries = [file(f"d/{'n' * (i % 200)}{i}") for i in range(10_000)]
    disk = tmp_path / "disk"
    write_ext4(disk, entries, 64 * MIB, uuid=UUID_1, inodes=11_000)
    fsck(disk)
    assert len(read_ext4(disk).tree()) == 10_003


def test_more_subdirectories_than_links() -> None:
    nodes = Nodes(0)
    for i in range(LINK_MAX - 2):
        nodes.add(Entry(path=f"d/{i}", kind=Kind.DIRECTORY))
    nodes.link()
    assert nodes.root.children[b"d"].links == LINK_MAX
    nodes.add(Entry(path="d/more", kind=Kind.DIRECTORY))
    nodes.link()
    assert nodes.root.children[b"d"].links == 1


def test_more_names_than_an_inode_may_have() -> None:
    nodes = Nodes(0)
    nodes.add(file("f"))
    for i in range(LINK_MAX):
        nodes.add(Entry(path=f"d/{i}", kind=Kind.HARDLINK, target="f"))
    with pytest.raises(BadInputError, match="65000 hard links"):
        nodes.link()


def test_deep_extent_trees(tmp_path: Path, fsck: Check, read_ext4: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ext4_extents, "MAX_EXTENT", 1)  # as if every second block had been taken
    data = b"".join(i.to_bytes(4, "little") * 1024 for i in range(1500))
    disk = tmp_path / "disk"
    write_ext4(disk, [file("fragmented", data), file("five", data[: 5 * 4096 - 7])], 16 * MIB, uuid=UUID_1)
    fsck(disk)
    tree = read_ext4(disk).tree()
    assert tree[b"fragmented"]["content"] == data
    assert tree[b"five"]["content"] == data[: 5 * 4096 - 7]


class Zeroes(io.RawIOBase):
    """A stream of so many zeroes, given out in odd pieces."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int = -1) -> bytes:
        piece = min(self.left, size, 777_777)
        self.left -= piece
        return bytes(piece)


def test_a_file_across_groups(tmp_path: Path, fsck: Check, read_ext4: Reader) -> None:
    size = 300 * MIB + 5
    disk = tmp_path / "disk"
    entry = Entry(path="zero", kind=Kind.FILE, size=size, data=lambda: Zeroes(size))  # type: ignore[arg-type,return-value]
    write_ext4(disk, [entry], 600 * MIB, uuid=UUID_1)
    fsck(disk)
    reader = read_ext4(disk)
    (number,) = [number for name, number, _ in reader.names(reader.inode(2)) if name == b"zero"]
    extents = list(reader.extents(reader.inode(number)[0x28:0x64]))
    assert sum(length for _, _, length in extents) == -(-size // 4096)
    assert len(extents) >= 3


@pytest.mark.parametrize("size", [MIB, 7 * MIB + 4095, 128 * MIB, 128 * MIB + 65536, 129 * MIB, 513 * MIB, 5 << 30, 1 << 40])
def test_sizes(size: int, tmp_path: Path, fsck: Check) -> None:
    disk = tmp_path / "disk"
    write_ext4(disk, [file("a", b"x" * 5000)], size, uuid=UUID_1)
    assert disk.stat().st_size == size
    if size < 1 << 40:  # e2fsck takes long for the largest
        fsck(disk)
    assert disk.stat().st_blocks * 512 < 32 * MIB


def test_attributes_in_inode_and_in_block(tmp_path: Path, fsck: Check, read_ext4: Reader) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    few = {"security.capability": capability}
    many = {"user.one": b"1" * 1000, "user.a": b"", "trusted.two": b"22", "security.capability": capability, "user.three": b"3" * 333}
    entries = [file("few", b"x", xattrs=few), file("many", b"y", xattrs=many), Entry(path="d", kind=Kind.DIRECTORY, xattrs=many)]
    disk = tmp_path / "disk"
    write_ext4(disk, entries, 4 * MIB, uuid=UUID_1)
    fsck(disk)
    tree = read_ext4(disk).tree()
    assert tree[b"few"]["xattrs"] == few
    assert tree[b"many"]["xattrs"] == tree[b"d"]["xattrs"] == many


@pytest.mark.parametrize(
    "xattrs",
    [
        {"nonsense": b""},
        {"user.": b""},
        {"user." + "n" * 256: b""},
        {"user.big": bytes(4096)},
        {f"user.{i}": bytes(100) for i in range(40)},
        {"system.posix_acl_access": b"\2\0\0\0junk"},
        {"system.posix_acl_access": b"\2\0\0\0" + bytes(8)},
        {"system.posix_acl_access.more": b""},
    ],
)
def test_attributes_that_cannot_be(xattrs: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="f"):
        write_ext4(tmp_path / "disk", [file("f", xattrs=xattrs)], 4 * MIB, uuid=UUID_1)


@pytest.mark.parametrize("path", ["/a", "a/", "a//b", "./a", "..", "a/../b", "a\0b", "n" * 256])
def test_paths_that_cannot_be(path: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="path"):
        write_ext4(tmp_path / "disk", [file(path)], 4 * MIB, uuid=UUID_1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("entries", "cause"),
    [
        ([file("a"), file("a")], "twice"),
        ([file("a"), Entry(path="a", kind=Kind.DIRECTORY)], "twice"),
        ([file("a"), file("a/b")], "parents must be directories"),
        ([file("a"), Entry(path="a", kind=Kind.HARDLINK, target="a")], "twice"),
        ([Entry(path="a", kind=Kind.HARDLINK, target="b")], "no file"),
        ([Entry(path="a", kind=Kind.HARDLINK, target="a")], "no file"),
        ([Entry(path="d/a", kind=Kind.HARDLINK, target="d")], "no file"),
        ([Entry(path="a", kind=Kind.HARDLINK, target="../b")], "normalised"),
        ([file("")], "root"),
        ([Entry(path="a", kind=Kind.SYMLINK, target=b"")], "target"),
        ([Entry(path="a", kind=Kind.SYMLINK, target=b"x" * 4096)], "target"),
        ([file("a", mode=0o10000)], "mode"),
        ([file("a", uid=1 << 32)], "uid"),
        ([file("a", gid=-1)], "gid"),
        ([file("a", mtime=1 << 34)], "mtime"),
        ([Entry(path="a", kind=Kind.BLOCK, device=(4096, 0))], "major"),
        ([Entry(path="a", kind=Kind.FILE, size=1 << 50, data=lambda: io.BytesIO())], "size"),
        ([Entry(path="a", kind=Kind.FILE, size=5, data=lambda: io.BytesIO(b"1234"))], "ends early"),
        ([Entry(path="a", kind=Kind.FILE, size=3, data=lambda: io.BytesIO(b"1234"))], "longer"),
        ([Entry(path="a", kind=Kind.FILE, size=0, data=lambda: io.BytesIO(b"1234"))], "longer"),
    ],
)
def test_entries_that_cannot_be(entries: list[Entry], cause: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=cause):
        write_ext4(tmp_path / "disk", entries, 4 * MIB, uuid=UUID_1)
    assert list(tmp_path.iterdir()) == []


def test_arguments_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="label"):
        write_ext4(tmp_path / "disk", [], 4 * MIB, label="가상의 디스크", uuid=UUID_1)
    with pytest.raises(UsageError, match="16 TiB"):
        write_ext4(tmp_path / "disk", [], 1 << 60, uuid=UUID_1)


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [file(f"f{i}", bytes(100_000)) for i in range(300)],
        [file(f"d{i}/f") for i in range(3000)],
        [file("f", bytes(130 * MIB))],
    ],
)
def test_the_size_an_error_names_is_enough(entries: list[Entry], tmp_path: Path, fsck: Check) -> None:
    disk = tmp_path / "disk"
    needed = size_needed(entries)
    with pytest.raises(OutOfSpaceError, match=f"at least {needed >> 20} MiB"):
        write_ext4(disk, entries, 512 << 10, uuid=UUID_1)
    write_ext4(disk, entries, needed, uuid=UUID_1)
    fsck(disk)
    if entries:
        with pytest.raises(OutOfSpaceError):
            write_ext4(disk, entries, needed * 3 // 4, uuid=UUID_1)
    fsck(disk)  # the failure left the older one alone


def test_a_full_host_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gasang.storage.ext4_output.RunWriter.flush", full)
    with pytest.raises(OutOfSpaceError, match="host's disk is full"):
        write_ext4(tmp_path / "disk", [file("a", bytes(9 * MIB))], 32 * MIB, uuid=UUID_1)
    assert list(tmp_path.iterdir()) == []


def test_a_breaking_source_leaves_nothing(tmp_path: Path) -> None:
    def entries() -> Iterator[Entry]:
        yield file("a", b"1")
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        write_ext4(tmp_path / "disk", entries(), 4 * MIB, uuid=UUID_1)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_content(tmp_path: Path) -> None:
    seen: list[int] = []
    entries = [file("a", bytes(10)), Entry(path="b", kind=Kind.FILE, size=3 * MIB, data=lambda: io.BytesIO(bytes(3 * MIB)))]
    write_ext4(tmp_path / "disk", entries, 8 * MIB, uuid=UUID_1, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 3 * MIB + 10


names = st.binary(min_size=1, max_size=255).filter(lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b"..", b"lost+found"))
short_names = st.sampled_from([b"a", b"b", b"c", b"usr", b"lib", b"x" * 255])
attributes = st.dictionaries(
    st.tuples(st.sampled_from(["user.", "trusted.", "security."]), st.text("abcdef_.1", min_size=1, max_size=30)).map("".join),
    st.binary(max_size=300),
    max_size=4,
)


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    """Entries whose paths do not contradict each other."""
    kinds: dict[bytes, Kind] = {}
    entries = []
    for parts in draw(st.lists(st.lists(names | short_names, min_size=1, max_size=4), max_size=25)):
        above = [b"/".join(parts[:i]) for i in range(1, len(parts))]
        path = b"/".join(parts)
        if path in kinds or any(kinds.get(p, Kind.DIRECTORY) is not Kind.DIRECTORY for p in above):
            continue
        kind = draw(st.sampled_from([k for k in Kind if k is not Kind.HARDLINK]))
        kinds |= dict.fromkeys(above, Kind.DIRECTORY) | {path: kind}
        device = kind in (Kind.CHARACTER, Kind.BLOCK)
        entries.append(
            Entry(
                path=path,
                kind=kind,
                mode=draw(st.integers(0, 0o7777)),
                uid=draw(st.integers(0, (1 << 32) - 1)),
                gid=draw(st.integers(0, (1 << 32) - 1)),
                mtime=draw(st.integers(-(1 << 31), (1 << 34) - (1 << 31) - 1)),
                data=draw(st.binary(max_size=100)) * draw(st.sampled_from([1, 41, 1000])) if kind is Kind.FILE else b"",
                target=draw(st.binary(min_size=1, max_size=100).filter(lambda t: b"\0" not in t)) if kind is Kind.SYMLINK else b"",
                device=draw(st.tuples(st.integers(1, 0xFFF), st.integers(0, 0xFFFFF))) if device else (0, 0),
                xattrs=draw(attributes),
            )
        )
    return entries


@settings(max_examples=40, deadline=None)
@given(trees())
def test_any_tree_comes_back(fsck: Check, read_ext4: Reader, entries: list[Entry]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder) / "disk"
        write_ext4(disk, entries, max(6 * MIB, size_needed(entries)), uuid=UUID_1, time=1)
        fsck(disk)
        tree = read_ext4(disk).tree()
        for path, facts in expected(entries).items():
            assert {key: tree[path][key] for key in facts} == facts


def test_same_input_same_bytes(tmp_path: Path) -> None:
    entries = [file(f"d{i % 7}/f{i}", os.urandom(i * 10)) for i in range(200)]
    digests = set()
    for name in ("one", "two"):
        write_ext4(tmp_path / name, iter(entries), 8 * MIB, uuid=UUID_1, time=7)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).digest())
    assert len(digests) == 1


def make_tree(root: Path) -> None:
    """A small tree on the host."""
    (root / "bin").mkdir(parents=True)
    (root / "bin/tool").write_bytes(os.urandom(100_000))
    (root / "bin/tool").chmod(0o755)
    (root / "bin/link").symlink_to("tool")
    os.link(root / "bin/tool", root / "bin/other")
    (root / "many").mkdir()
    for i in range(500):
        (root / "many" / f"file-number-{i}").write_text(str(i))


def test_debugfs_reads_the_same_tree(tmp_path: Path) -> None:
    program = shutil.which("debugfs", path="/usr/sbin:/sbin:/usr/bin")
    if not program:
        pytest.skip("debugfs (package e2fsprogs) is not installed")
    make_tree(tmp_path / "tree")
    disk = tmp_path / "disk"
    write_ext4(disk, read_tree(tmp_path / "tree"), 16 * MIB, uuid=UUID_1)
    (tmp_path / "out").mkdir()
    subprocess.run([program, "-R", f"rdump / {tmp_path}/out", str(disk)], check=True, capture_output=True)
    shutil.rmtree(tmp_path / "out/lost+found")
    subprocess.run(["diff", "-r", "--no-dereference", str(tmp_path / "tree"), str(tmp_path / "out")], check=True)


@contextlib.contextmanager
def mounted(disk: Path, place: Path) -> Iterator[Path]:
    place.mkdir()
    done = subprocess.run(["mount", "-o", "loop", str(disk), str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this host mounts no loop device here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting takes root")
def test_the_kernel_mounts_and_writes(tmp_path: Path, fsck: Check) -> None:
    make_tree(tmp_path / "tree")
    disk = tmp_path / "disk"
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *record) for record in ACL)
    with_acl = file("acl", b"1", mode=0o664, xattrs={"system.posix_acl_access": acl, "user.note": b"n" * 200})
    write_ext4(disk, [*read_tree(tmp_path / "tree"), with_acl], 200 * MIB, uuid=UUID_1)
    with mounted(disk, tmp_path / "place") as place:
        subprocess.run(["diff", "-r", "--no-dereference", str(tmp_path / "tree/bin"), str(place / "bin")], check=True)
        assert os.getxattr(place / "acl", "system.posix_acl_access") == acl
        assert os.getxattr(place / "acl", "user.note") == b"n" * 200
        assert {p.name for p in (place / "many").iterdir()} == {f"file-number-{i}" for i in range(500)}
        for i in range(2000):
            (place / "many" / f"new-{i}").write_bytes(bytes([i & 255]) * 3000)
        (place / "large").write_bytes(os.urandom(40 * MIB))
        (place / "bin/tool").unlink()
        shutil.rmtree(place / "lost+found")
    fsck(disk)


def open_nothing() -> BinaryIO:
    raise AssertionError("content is not to be read")


def test_measuring_reads_no_content() -> None:
    assert size_needed([Entry(path="f", kind=Kind.FILE, size=10 * MIB, data=open_nothing)]) in range(10 * MIB, 20 * MIB)
