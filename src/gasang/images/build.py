"""A Debian root disk, kernel and initramfs from a mirror's packages: everything but the configuration, which needs a running machine."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gasang.core.errors import NotFoundError
from gasang.core.progress import Progress
from gasang.images import kernel as kernels
from gasang.images.bootstrap import System, bootstrap
from gasang.images.compression import expand_bytes
from gasang.images.deb import read_data
from gasang.images.initramfs import OPTIONAL_MODULES, WANTED_MODULES, initramfs
from gasang.images.mirror import DEFAULT_MIRROR, Mirror, Wanted
from gasang.images.packages import Index, Package
from gasang.images.release import fetch_release
from gasang.images.resolve import resolve
from gasang.images.signature import debian_keyring
from gasang.images.spool import Spool, out_of_space
from gasang.storage.ext4 import write_ext4
from gasang.storage.tree import encode

DISK_SIZE = 4 << 30
"""Bytes of the root disk; it holds only what is written."""
BASE = frozenset({"required"})
MORE = ("apt", "debian-archive-keyring")
"""Beside the essential and required packages: what makes a system of them that can grow."""
KERNEL = {"riscv64": "linux-image-riscv64", "amd64": "linux-image-amd64"}
BUSYBOX = "busybox-static"
COMPONENT = "main"
INDEX_MAX = 1 << 30
CONNECTIONS = 4
MIRROR_VARIABLE = "GASANG_MIRROR"


@dataclass(frozen=True)
class Built:
    """What was made: files in the work folder, and name and version of every package on the disk."""

    kernel: Path
    initrd: Path
    disk: Path
    packages: tuple[tuple[str, str], ...]


def build_debian(suite: str, architecture: str, cache: Path, work: Path, progress: Progress) -> Built:
    """Download, verify and unpack a suite. Packages are kept in `cache`, everything made goes to `work`.

    Raises NotFoundError for an unknown suite, BadInputError for what is damaged or forged, OutOfSpaceError, TimedOutError.
    """
    mirror = Mirror(os.environ.get(MIRROR_VARIABLE) or DEFAULT_MIRROR)
    downloads = cache / "debian"
    try:
        downloads.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise out_of_space(error, downloads) from error
    with progress.step(f"reading the package index of Debian {suite}"):
        release = fetch_release(mirror, suite, debian_keyring())
    index = _index(mirror, release.index(COMPONENT, architecture), downloads / f"{release.codename}-{architecture}.xz", progress)
    chosen = resolve(index, [*index.selected(BASE), *MORE])
    kernel_package = _kernel_package(index, KERNEL[architecture])
    busybox_package = _package(index, BUSYBOX)
    files = _fetch_all(mirror, [*chosen, kernel_package, busybox_package], downloads, progress)
    system = System(release.codename, architecture, mirror.base)
    with Spool(work) as spool:
        kernel, initrd = _boot_parts(files[kernel_package.name], files[busybox_package.name], architecture, work, spool, progress)
    with Spool(work) as spool:
        disk = _disk(system, [files[package.name] for package in chosen], spool, work, progress)
    return Built(kernel, initrd, disk, tuple((package.name, package.version) for package in chosen))


def _package(index: Index, name: str) -> Package:
    found = index.get(name)
    if found is None:
        raise NotFoundError(f"package {name}", "this suite does not have it", "try another suite, such as debian:trixie")
    return found


def _kernel_package(index: Index, name: str) -> Package:
    """The package that holds the kernel, which the one of this name only depends on."""
    for clause in _package(index, name).depends:
        for relation in clause:
            if relation.name.startswith("linux-image-"):
                return _package(index, relation.name)
    raise NotFoundError(f"package {name}", "it names no kernel", "try another suite, such as debian:trixie")


def _index(mirror: Mirror, wanted: Wanted, target: Path, progress: Progress) -> Index:
    with progress.step("downloading the package index", wanted.size, "bytes") as step:
        mirror.fetch(wanted, target, step)
    subject = f"package index {wanted.path}"
    return Index(expand_bytes(target.read_bytes(), subject, INDEX_MAX, "xz").decode("utf-8", "replace"), subject)


def _fetch_all(mirror: Mirror, packages: list[Package], folder: Path, progress: Progress) -> dict[str, Path]:
    """Every package's file, a few downloaded at a time."""
    total = sum(package.size for package in packages)
    with progress.step("downloading packages", total, "bytes") as step, ThreadPoolExecutor(CONNECTIONS) as pool:

        def fetch(package: Package) -> tuple[str, Path]:
            target = folder / Path(package.filename).name
            mirror.fetch(Wanted(package.filename, package.size, package.sha256), target, step)
            return package.name, target

        tasks = [pool.submit(fetch, package) for package in packages]
        try:
            return dict(task.result() for task in tasks)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _boot_parts(kernel_file: Path, busybox_file: Path, architecture: str, work: Path, spool: Spool, progress: Progress) -> tuple[Path, Path]:
    with progress.step("unpacking the kernel"):
        subject = f"package {kernel_file.name}"
        kernel = kernels.from_package(read_data(kernel_file, spool), architecture, subject, WANTED_MODULES, OPTIONAL_MODULES)
        busybox = _busybox(busybox_file, spool)
        return _write(work / "kernel", kernel.image), _write(work / "initrd", initramfs(kernel, busybox))


def _busybox(file: Path, spool: Spool) -> bytes:
    for entry in read_data(file, spool):
        if encode(entry.path) in (b"bin/busybox", b"usr/bin/busybox"):
            return kernels.read(entry)
    raise NotFoundError(f"package {file.name}", "it holds no busybox", "pull again")


def _write(path: Path, data: bytes) -> Path:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise out_of_space(error, path.parent) from error
    return path


def _disk(system: System, files: list[Path], spool: Spool, work: Path, progress: Progress) -> Path:
    total = sum(path.stat().st_size for path in files)
    with progress.step("unpacking packages", total, "bytes") as step:
        entries = bootstrap(system, files, spool, step.advance)
    disk = work / "disk.raw"
    size = sum(entry.length for entry in entries)
    with progress.step("writing the root disk", size, "bytes") as step:
        write_ext4(disk, entries, DISK_SIZE, label="root", uuid=uuid.uuid4(), progress=_absolute(step.advance))
    return disk


def _absolute(advance: Callable[[int], None]) -> Callable[[int], None]:
    """Turns "so much is done" into steps forward."""
    done = 0

    def reached(position: int) -> None:
        nonlocal done
        advance(position - done)
        done = position

    return reached
