"""File systems and partitions of disks from elsewhere: what mkfs makes is read, what is hostile ends in a sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.storage.filesystems.ext4 import Ext4
from gasang.storage.filesystems.fat import Fat
from gasang.storage.filesystems.partitions import partitions
from gasang.storage.filesystems.probe import volumes
from gasang.storage.filesystems.tree import Files
from gasang.storage.filesystems.window import Meter, Window
from support.disks import MIB, FatMaker, gpt, mbr, put_records

BIG = os.urandom(700_000)


def window(data: bytes | bytearray, meter: Meter | None = None) -> Window:
    return Window(lambda offset, length: bytes(data[offset : offset + length]), 0, len(data), "disk x", meter)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    (root / "boot/grub").mkdir(parents=True)
    (root / "boot/grub/grub.cfg").write_bytes(b"set x=1\n")
    (root / "boot/big").write_bytes(BIG)
    with open(root / "boot/holes", "wb") as file:
        file.write(b"a")
        file.seek(300_000)
        file.write(b"z")
    (root / "boot/empty").touch()
    (root / "vmlinuz").symlink_to("boot/big")
    (root / "absolute").symlink_to("/boot/../boot/grub")
    (root / "long").symlink_to("/" + "./" * 60 + "boot/big")
    (root / "loop").symlink_to("pool")
    (root / "pool").symlink_to("loop")
    for number in range(400):
        (root / f"boot/file-with-a-long-name-so-that-folders-grow-{number}").touch()
    return root


KINDS = {
    "ext4": ("-t", "ext4"),
    "ext2": ("-t", "ext2", "-b", "1024"),
    "ext3": ("-t", "ext3", "-b", "2048"),
    "64bit": ("-t", "ext4", "-O", "64bit,meta_bg,^resize_inode", "-b", "1024"),
    "old inodes": ("-t", "ext4", "-I", "128"),
}


@pytest.fixture(scope="module")
def made(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    program = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert program, "e2fsprogs is needed"
    folder = tmp_path_factory.mktemp("disks")
    for name, options in KINDS.items():
        words = [program, "-q", "-d", str(tree), "-U", "72f87946-4b4b-473d-a44d-e562160db206", "-L", "root", *options]
        subprocess.run([*words, str(folder / name), "8M"], check=True, capture_output=True)
    return {name: (folder / name).read_bytes() for name in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_ext(made: dict[str, bytes], kind: str) -> None:
    system = Ext4(window(made[kind]))
    files = Files(system)
    assert (system.uuid, system.label) == ("72f87946-4b4b-473d-a44d-e562160db206", "root")
    assert files.read("/boot/grub/grub.cfg", 100) == b"set x=1\n"
    assert files.read("/boot/big", MIB) == files.read("/vmlinuz", MIB) == files.read("long", MIB) == BIG
    assert files.read("/boot/holes", MIB) == b"a" + bytes(299_999) + b"z"
    assert files.read("/absolute/grub.cfg", 100) == b"set x=1\n"
    assert files.read("/boot/empty", 0) == b""
    assert len(files.names("/boot")) == 404
    assert files.names("/absolute") == ["grub.cfg"]
    assert files.find("/loop") is None
    assert files.find("/../../boot/nothing") is None
    assert files.find("/boot/big/x") is None
    with pytest.raises(BadInputError, match="700000 bytes"):
        files.read("/boot/big", 1000)


def read_all(data: bytes | bytearray) -> None:
    """Whatever a disk is, it is read or refused, within what a meter allows."""
    try:
        for volume in volumes(window(data, Meter(64 * MIB, 20_000))):
            if volume.files is not None:
                for path in ("/vmlinuz", "/long", "/boot/holes", "/loop", "/EFI/BOOT/config.txt"):
                    volume.files.read(path, MIB)
                volume.files.names("/boot")
    except BadInputError:
        pass


@pytest.fixture(scope="module")
def tables(made: dict[str, bytes]) -> dict[str, list[int]]:
    """Where the disks hold something but the large file: its tables and folders."""
    return {
        kind: [at for at in range(0, len(made[kind]), 1024) if any(made[kind][at : at + 64]) and made[kind][at : at + 64] not in BIG]
        for kind in ("ext4", "ext2")
    }


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_hostile_ext(made: dict[str, bytes], tables: dict[str, list[int]], data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(tables)))
    disk = bytearray(made[kind])
    for _ in range(data.draw(st.integers(1, 12))):
        block = data.draw(st.sampled_from(tables[kind]))
        at = block + data.draw(st.integers(0, 1016))
        disk[at : at + 4] = data.draw(
            st.binary(min_size=4, max_size=4) | st.sampled_from([b"\xff" * 4, bytes(4), made[kind][block : block + 4]])
        )
    read_all(disk)


def test_extents_that_lead_in_circles(made: dict[str, bytes]) -> None:
    disk = bytearray(made["ext4"])
    system = Ext4(window(disk))
    node = Files(system).find("/boot/big")
    assert node is not None
    place = bytes(system._inode(node.number))
    at = bytes(disk).index(place) + 0x28
    block = 100
    index = b"\x0a\xf3\x04\x00\x04\x00\x05\x00\0\0\0\0" + (b"\0\0\0\0" + block.to_bytes(4, "little") + bytes(4)) * 4
    disk[at : at + 60] = index
    disk[block * 4096 : block * 4096 + 4096] = (b"\x0a\xf3\x54\x01\x54\x01\x04\x00\0\0\0\0" + index[12:24] * 340).ljust(4096, b"\0")
    with pytest.raises(BadInputError, match="make no sense"):
        Files(Ext4(window(disk))).read("/boot/big", MIB)


@pytest.mark.parametrize("clusters", [5000, 70_000])
def test_fat(clusters: int) -> None:
    maker = FatMaker(clusters)
    folder = maker.add(maker.add(maker.root, "EFI", None), "BOOT", None)
    maker.add(folder, "config.txt", BIG[:5000])
    system = Fat(window(maker.done()))
    files = Files(system)
    assert (system.uuid, system.label) == ("ABCD-1234", "EFI")
    assert files.read("/efi/Boot/CONFIG.TXT", MIB) == BIG[:5000]
    assert files.names("/EFI/BOOT") == ["config.txt"]
    assert files.find("/EFI/other") is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40_000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=12))
def test_hostile_fat(changes: list[tuple[int, bytes]]) -> None:
    maker = FatMaker(5000)
    folder = maker.add(maker.add(maker.root, "EFI", None), "BOOT", None)
    maker.add(folder, "config.txt", BIG[:9000])
    disk = bytearray(maker.done())
    for at, piece in changes:
        disk[at : at + len(piece)] = piece
    read_all(disk)


def test_gpt_and_its_copy(made: dict[str, bytes]) -> None:
    disk = bytearray(gpt([FatMaker(5000).done(), made["ext4"]]))
    found = partitions(window(disk))
    assert [(each.number, each.start) for each in found] == [(1, MIB), (2, 4 * MIB)]
    assert found[1].uuid == "00000000-0000-0000-0000-000000000002"
    disk[512 + 40] ^= 1
    assert partitions(window(disk)) == found
    disk[512:520] = bytes(8)
    assert partitions(window(disk)) == found
    assert [volume.what for volume in volumes(window(disk))] == ["vfat", "ext4"]
    disk[-SECTOR:] = bytes(SECTOR)
    with pytest.raises(BadInputError, match="GPT"):
        partitions(window(disk))


SECTOR = 512


def test_boot_record_with_logical_partitions() -> None:
    disk = mbr([(0x83, 8, 8), (0x05, 100, 900)], 1000 * SECTOR)
    put_records(disk, 100, [(0x83, 4, 10), (0x05, 50, 100)])
    put_records(disk, 150, [(0x83, 4, 20), (0x05, 0, 0)])
    found = partitions(window(disk))
    assert [(each.number, each.start // SECTOR, each.size // SECTOR) for each in found] == [(1, 8, 8), (5, 104, 10), (6, 154, 20)]
    assert found[0].uuid == "12345678-01"
    put_records(disk, 150, [(0x83, 4, 20), (0x05, 50, 20)])  # itself again
    assert 3 <= len(partitions(window(disk))) < 10


def test_a_disk_without_a_table(made: dict[str, bytes]) -> None:
    assert [volume.what for volume in volumes(window(made["ext4"]))] == ["ext4"]
    assert [volume.what for volume in volumes(window(FatMaker(5000).done()))] == ["vfat"]
    assert [volume.what for volume in volumes(window(b"XFSB" + bytes(8192)))] == ["XFS"]
    assert [volume.files for volume in volumes(window(bytes(100)))] == [None]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=66), st.binary(max_size=300))
def test_hostile_tables(records: bytes, header: bytes) -> None:
    disk = mbr([], 64 * SECTOR)
    disk[446 : 446 + len(records)] = records
    disk[510:512] = b"\x55\xaa"
    disk[512 : 512 + len(header)] = header
    read_all(disk)
    disk[512:520] = b"EFI PART"
    read_all(disk)


def test_a_window_reads_nothing_else() -> None:
    part = window(bytes(range(100))).part(10, 500, "partition 1").part(5, 10, "file")
    assert part.read(0, 10) == bytes(range(15, 25))
    for offset, length in ((-1, 1), (0, 11), (11, 0), (0, -1)):
        with pytest.raises(BadInputError, match="disk x, partition 1, file"):
            part.read(offset, length)
    limited = window(bytes(100), Meter(100, 2))
    limited.read(0, 1)
    limited.part(1, 5, "p").read(0, 1)
    with pytest.raises(BadInputError, match="more than can be"):
        limited.read(0, 1)
