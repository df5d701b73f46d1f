"""From a suite's name to the files of a machine, over a small archive on the loopback; and each thing that can go wrong on the way."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, GasangError, NotFoundError, OutOfSpaceError, UnsupportedError, UsageError
from gasang.core.progress import Progress, Silent
from gasang.images import build as module
from gasang.images.build import Built, build_debian
from gasang.images.configuring import Unconfigured
from gasang.images.mirror import Mirror, Patience
from gasang.images.origin import Origin
from support.cpio_reader import unpack
from support.debian_archive import RELEASE, Archive, Server, Signer, bzimage, serving, small_debian
from support.kernel_parts import riscv_image
from support.privileges import needs_root

DEBUGFS = shutil.which("debugfs", path="/usr/sbin:/sbin:/usr/bin:/bin") or ""


@pytest.fixture
def archive(mirror_folder: Path, signer: Signer) -> Archive:
    made = small_debian(mirror_folder)
    made.publish(signer.sign)
    return made


@pytest.fixture
def build(tmp_path: Path, server: Server, archive: Archive, signer: Signer) -> Callable[[str], Built]:
    """Build a suite from the small archive, in the folders "cache" and "work"."""
    (tmp_path / "work").mkdir(exist_ok=True)
    mirror = Mirror(server.address, Patience(5.0, 2, lambda seconds: None))
    return lambda suite: build_debian(
        suite, "riscv64", tmp_path / "cache", tmp_path / "work", Silent(), Origin(keyring=signer.keyring), mirror=mirror
    )


def test_the_parts(build: Callable[[str], Built], tmp_path: Path) -> None:
    built = build("trixie")
    assert built.kernel.read_bytes() == riscv_image()
    assert unpack(built.initrd.read_bytes())[b"bin/busybox"].data == b"busybox"
    assert built.disk.stat().st_size == module.DISK_SIZE
    assert built.disk.stat().st_blocks * 512 < 100 << 20
    assert dict(built.packages) == {"libc6": "1.0-1", "base-files": "1.0-1", "apt": "1.0-1"}
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["disk.raw", "initrd", "kernel"]


def test_the_second_build_downloads_no_package(build: Callable[[str], Built], server: Server) -> None:
    build("trixie")
    server.requests.clear()
    build("trixie")
    assert [path for path, _ in server.requests] == ["dists/trixie/InRelease"]


def test_what_is_no_longer_needed_leaves_the_cache(build: Callable[[str], Built], tmp_path: Path) -> None:
    downloads = tmp_path / "cache" / "packages" / "riscv64"
    downloads.mkdir(parents=True)
    (downloads / "old_1_riscv64.deb").write_bytes(b"")
    (downloads / "older_1_riscv64.deb.partial").write_bytes(b"")
    build("trixie")
    assert not [path.name for path in downloads.iterdir() if path.name.startswith("old")]
    assert len(list(downloads.glob("*.deb"))) == 5


def test_an_interrupted_download_goes_on(build: Callable[[str], Built], server: Server) -> None:
    path = "pool/main/libc6_1.0-1_riscv64.deb"
    server.faults[path] = ["break"]
    build("trixie")
    assert [asked for asked_path, asked in server.requests if asked_path == path][1].startswith("bytes=")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("pool/main/apt_1.0-1_riscv64.deb", "apt_1.0-1_riscv64.deb: its hash is not the one that the index promises"),
        ("dists/trixie/main/binary-riscv64/Packages.xz", "Packages.xz: its hash is not the one"),
    ],
)
def test_a_forged_file_is_told(build: Callable[[str], Built], server: Server, tmp_path: Path, path: str, message: str) -> None:
    server.faults[path] = ["damage", "damage"]
    with pytest.raises(BadInputError, match=message):
        build("trixie")
    assert list((tmp_path / "work").iterdir()) == []


def test_an_index_cut_short_is_told(build: Callable[[str], Built], mirror_folder: Path) -> None:
    index = mirror_folder / "dists/trixie/main/binary-riscv64/Packages.xz"
    index.write_bytes(index.read_bytes()[:-10])
    with pytest.raises(BadInputError, match=r"Packages.xz: it has \d+ bytes, the index promises"):
        build("trixie")


def test_a_mirror_that_breaks_off_is_told(build: Callable[[str], Built], server: Server) -> None:
    server.ranges = False
    server.faults["pool/main/apt_1.0-1_riscv64.deb"] = ["break"] * 5
    with pytest.raises(GasangError, match=r"apt_1.0-1_riscv64.deb: the connection broke off again and again"):
        build("trixie")


def test_the_first_failure_ends_the_other_downloads(server: Server, archive: Archive, signer: Signer, tmp_path: Path) -> None:
    server.faults["pool/main/libc6_1.0-1_riscv64.deb"] = ["silent"]
    server.faults["pool/main/apt_1.0-1_riscv64.deb"] = ["404"]
    start = time.monotonic()
    with pytest.raises(NotFoundError, match=r"apt_1.0-1_riscv64.deb: the mirror has no such file"):
        build_debian("trixie", "riscv64", tmp_path, tmp_path, Silent(), Origin(server.address, signer.keyring, 600.0))
    assert time.monotonic() - start < 60


def test_a_suite_nobody_has(build: Callable[[str], Built]) -> None:
    with pytest.raises(NotFoundError, match="Debian potato"):
        build("potato")


@pytest.mark.parametrize("suite", ["", "../x", "Trixie", "a b"])
def test_a_name_no_suite_has(build: Callable[[str], Built], suite: str) -> None:
    with pytest.raises(UsageError, match="that is no suite's name"):
        build(suite)


def test_an_architecture_we_cannot_boot(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="architecture s390x: no image can be made for it; choose riscv64 or amd64"):
        build_debian("trixie", "s390x", tmp_path, tmp_path, Silent())


def test_a_package_that_is_missing(build: Callable[[str], Built], archive: Archive, signer: Signer) -> None:
    archive.entries = [entry for entry in archive.entries if not entry.startswith("Package: libc6")]
    archive.publish(signer.sign)
    with pytest.raises(NotFoundError, match="package libc6: package base-files needs it"):
        build("trixie")


def test_two_kernels_are_one_too_many(build: Callable[[str], Built], archive: Archive, signer: Signer) -> None:
    archive.add("linux-image-7-riscv64")
    archive.entries = [
        entry.replace(f"Depends: linux-image-{RELEASE}", f"Depends: linux-image-{RELEASE}, linux-image-7-riscv64")
        for entry in archive.entries
    ]
    archive.publish(signer.sign)
    with pytest.raises(BadInputError, match="package linux-image-riscv64: it leads to 2 kernels"):
        build("trixie")


def test_a_busybox_without_busybox(build: Callable[[str], Built], archive: Archive, signer: Signer) -> None:
    archive.entries = [entry for entry in archive.entries if not entry.startswith("Package: busybox")]
    archive.add("busybox-static", files={"usr/bin/other": b""})
    archive.publish(signer.sign)
    with pytest.raises(BadInputError, match="package busybox-static: it holds no busybox"):
        build("trixie")


@pytest.mark.parametrize("name", ["text", "kernel", "initrd"])
def test_a_full_disk_is_told(build: Callable[[str], Built], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    real = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == name:
            raise OSError(28, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutOfSpaceError, match="no space is left"):
        build("trixie")


class Scripts:
    """Stands in for what runs packages' scripts."""

    def __init__(self) -> None:
        self.orders: list[Unconfigured] = []

    def configure(self, order: Unconfigured, progress: Progress) -> None:
        self.orders.append(order)
        (order.root / "etc/configured").write_text("yes\n")
        (order.root / "usr/lib/libc.so").unlink()

    def forget(self, folder: Path) -> None:
        raise AssertionError


@needs_root
@pytest.mark.skipif(not DEBUGFS, reason="debugfs (package e2fsprogs) looks into the disk")
def test_a_disk_of_the_hosts_own_architecture_is_configured_before_it_is_written(
    tmp_path: Path, mirror_folder: Path, signer: Signer
) -> None:
    small_debian(mirror_folder, bzimage(), "amd64").publish(signer.sign)
    scripts = Scripts()
    (tmp_path / "work").mkdir()
    with serving(mirror_folder) as server:
        origin = Origin(server.address, signer.keyring)
        built = build_debian("trixie", "amd64", tmp_path / "cache", tmp_path / "work", Silent(), origin, configurer=scripts)
    assert built.kernel.read_bytes() == bzimage()
    (order,) = scripts.orders
    assert (order.packages, order.services, order.subject) == (3, True, "image debian:trixie")
    listed = subprocess.run([DEBUGFS, "-R", "cat /etc/configured", str(built.disk)], capture_output=True, check=True).stdout
    assert listed == b"yes\n"
    gone = subprocess.run([DEBUGFS, "-R", "stat /usr/lib/libc.so", str(built.disk)], capture_output=True, check=True).stderr
    assert b"File not found" in gone
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["disk.raw", "initrd", "kernel"]


def test_a_keyring_that_is_not_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"keyring .*none.gpg: there is no such file"):
        build_debian("trixie", "riscv64", tmp_path, tmp_path, Silent(), Origin(server.address, tmp_path / "none.gpg"))
    assert server.requests == []
