"""What imported disks boot with: their kernel's architecture, what is kept of it, and what is told of disks that cannot."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path
from uuid import UUID

import pytest

from gasang.core.errors import BadInputError, NotFoundError, UnsupportedError
from gasang.core.progress import Silent
from gasang.kinds.vm.imported import boot_imported, known_architecture, look, sweep
from gasang.storage.appliance.ovf import Appliance
from gasang.storage.ext4 import write_ext4
from gasang.storage.shelf import describe, user_shelf
from gasang.storage.tree import Entry, Kind
from support.bzimages import bzimage

RISCV = bytearray(4096)
RISCV[0x38:0x3C] = b"RSC\x05"
ARM = bytearray(4096)
ARM[0x38:0x3C] = b"ARM\x64"
PACKED = gzip.compress(bytes(RISCV))
ZBOOT = b"MZ\0\0zimg" + struct.pack("<II", 64, len(PACKED)) + bytes(48) + PACKED


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GASANG_HOME", str(tmp_path))
    return tmp_path


def put(name: str, kernel: bytes, grub: str = "linux /boot/vmlinuz-6.1 root=/dev/sda quiet") -> Path:
    """Import a disk with a kernel and GRUB's configuration."""
    kept = user_shelf()
    with kept.adding(name) as folder:
        entries = [Entry(path=path, kind=Kind.DIRECTORY) for path in ("boot", "boot/grub", "etc")]
        files = {"boot/vmlinuz-6.1": kernel, "boot/grub/grub.cfg": grub.encode(), "etc/fstab": b""}
        entries += [Entry(path=path, kind=Kind.FILE, data=bytes(data)) for path, data in files.items()]
        write_ext4(folder / "disk0.raw", entries, 2 << 20, uuid=UUID(int=5))
        describe(folder, Appliance(name, 1, 1 << 30, ()), 1)
    return kept.root / name / "disk0.raw"


@pytest.mark.parametrize(
    ("kernel", "architecture"), [(bzimage(), "amd64"), (bytes(RISCV), "riscv64"), (PACKED, "riscv64"), (ZBOOT, "riscv64")]
)
def test_the_kernel_says_what_machine_it_is_for(kernel: bytes, architecture: str) -> None:
    with pytest.raises(NotFoundError):
        known_architecture("web")
    put("web", kernel)
    assert known_architecture("web") == architecture
    files = boot_imported("web", architecture, Silent(), None, inside=False)
    assert (files.own, files.root, files.append) == (True, "/dev/vda", "quiet root=/dev/vda console=ttyS0")
    assert files.kernel.read_bytes() == (bytes(RISCV) if architecture == "riscv64" else kernel)
    with pytest.raises(UnsupportedError, match=f"its kernel is for {architecture}, and the machine is to be other"):
        boot_imported("web", "other", Silent(), None, inside=False)


def test_what_was_found_is_kept_until_the_disk_changes(home: Path) -> None:
    disk = put("web", bytes(RISCV))
    first = look("web")
    assert look("web") == first
    sweep()
    assert first.folder.exists()
    os.utime(disk, (1, 1))
    again = look("web")
    assert again.folder != first.folder
    sweep()
    assert (first.folder.exists(), again.folder.exists()) == (False, True)
    (again.folder / "boot.json").write_text("{")
    with pytest.raises(BadInputError, match="damaged"):
        look("web")


@pytest.mark.parametrize(
    ("kernel", "grub", "words"),
    [
        (bytes(ARM), "linux /boot/vmlinuz-6.1", "no machine that there is here .it is an arm64 one"),
        (b"no kernel", "linux /boot/vmlinuz-6.1", "no machine that there is here"),
        (bytes(RISCV), "linux /boot/vmlinuz-6.1 " + "x" * 2000, "command line that cannot be"),
        (b"\x1f\x8b" + bytes(20), "linux /boot/vmlinuz-6.1", "vmlinuz-6.1"),
    ],
)
def test_what_cannot_be_booted(kernel: bytes, grub: str, words: str) -> None:
    put("web", kernel, grub)
    with pytest.raises((UnsupportedError, BadInputError), match=words):
        look("web")


def test_a_command_needs_the_root() -> None:
    put("web", bytes(RISCV), "linux /boot/vmlinuz-6.1 root=/dev/mapper/vg-root")
    with pytest.raises(UnsupportedError, match="a command needs its root"):
        boot_imported("web", "riscv64", Silent(), None, inside=True)


def test_one_of_an_earlier_version() -> None:
    with user_shelf().adding("old") as folder:
        (folder / "disk0.qcow2").touch()
    with pytest.raises(UnsupportedError, match="import it again"):
        look("old")
