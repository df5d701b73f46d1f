"""Building a Debian machine's image: from a suite's name to a kernel, an initramfs and a root disk whose packages are unpacked.

What is downloaded stays in the cache, so that a build that was interrupted goes on where it was; what the next build of the same
architecture does not need is removed from there. Everything else is made in the folder the caller gives.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from gasang.core.errors import BadInputError, NotFoundError, UnsupportedError, UsageError
from gasang.core.progress import Progress
from gasang.images.bootstrap import System, bootstrap
from gasang.images.compression import expand_bytes
from gasang.images.deb import read_data
from gasang.images.initramfs import OPTIONAL_MODULES, WANTED_MODULES, initramfs
from gasang.images.kernel import from_package, read
from gasang.images.mirror import Mirror, Patience, Wanted
from gasang.images.origin import Origin
from gasang.images.packages import Index, Package
from gasang.images.release import Release, fetch_release
from gasang.images.resolve import resolve
from gasang.images.signature import debian_keyring
from gasang.images.spool import Spool, out_of_space
from gasang.storage.ext4 import write_ext4

DISK_SIZE = 4 << 30
"""Bytes of a root disk; it takes on the host what it holds."""

KERNELS = {"riscv64": "linux-image-riscv64", "amd64": "linux-image-amd64"}
"""The package that depends on each architecture's current kernel."""

ADDED = ("apt",)
"""What a system has besides Debian's essential and required packages."""

BUSYBOX = "busybox-static"
DOWNLOADS_AT_ONCE = 4
INDEX_MAX = 1 << 30
_SUITE = re.compile(r"[a-z][a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class Built:
    """The parts of an image, as files, and the packages on its disk as (name, version)."""

    kernel: Path
    initrd: Path
    disk: Path
    packages: tuple[tuple[str, str], ...]


def _keys(origin: Origin) -> Path:
    """The file of keys; raise NotFoundError where it is not there."""
    if origin.keyring is not None and not origin.keyring.is_file():
        raise NotFoundError(f"keyring {origin.keyring}", "there is no such file", "check the setting keyring (GASANG_KEYRING)")
    return origin.keyring or debian_keyring()


def build_debian(
    suite: str,
    architecture: str,
    cache: Path,
    folder: Path,
    progress: Progress,
    origin: Origin | None = None,
    *,
    mirror: Mirror | None = None,
) -> Built:
    """Build the image of a suite in `folder`; its packages are unpacked, to be configured at its first boot.

    `mirror` is asked instead of the origin's where it is given.

    Raise UsageError for a name no suite has, NotFoundError for one the mirror lacks, BadInputError for a damaged or forged index or
    package, OutOfSpaceError for a full disk, TimedOutError and GasangError for a mirror that does not serve.
    """
    if not _SUITE.fullmatch(suite):
        raise UsageError(f"image debian:{suite}", "that is no suite's name", "write one such as debian:trixie")
    if architecture not in KERNELS:
        raise UnsupportedError(f"architecture {architecture}", "no image can be made for it", f"choose {' or '.join(KERNELS)}")
    origin = origin or Origin()
    source = mirror or Mirror(origin.mirror, Patience(timeout=origin.timeout))
    keyring = _keys(origin)
    downloads = cache / "packages" / architecture
    try:
        downloads.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise out_of_space(fault, downloads) from fault
    with progress.step(f"asking {source.base} for Debian {suite}"):
        release = fetch_release(source, suite, keyring)
    plan = _plan(_index(source, release, architecture, downloads, progress), architecture)
    files = _download(source, plan.everything, downloads, progress)
    return _assemble(System(suite, architecture, source.base), plan, files, folder, progress)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Packages of the root disk, and the two that are only taken apart."""

    system: Sequence[Package]
    kernel: Package
    busybox: Package

    @property
    def everything(self) -> list[Package]:
        """All packages to be downloaded, each once."""
        return list({package.name: package for package in (*self.system, self.kernel, self.busybox)}.values())


def _index(mirror: Mirror, release: Release, architecture: str, folder: Path, progress: Progress) -> Index:
    wanted = release.index("main", architecture)
    subject = f"package index of Debian {release.codename}"
    packed = folder / f"Packages-{release.codename}.xz"
    with progress.step(f"reading the {subject}", wanted.size, "bytes") as step:
        mirror.fetch(wanted, packed, step)
        return Index(expand_bytes(packed.read_bytes(), subject, INDEX_MAX, "xz").decode("utf-8", "surrogateescape"), subject)


def _plan(index: Index, architecture: str) -> _Plan:
    system = resolve(index, [*index.selected(frozenset({"required"})), *ADDED])
    kernels = [package for package in resolve(index, [KERNELS[architecture]]) if re.match(r"linux-image-\d", package.name)]
    if len(kernels) != 1:
        raise BadInputError(f"package {KERNELS[architecture]}", f"it leads to {len(kernels)} kernels, not one", "use another mirror")
    busybox = next(package for package in resolve(index, [BUSYBOX]) if package.name == BUSYBOX)
    return _Plan(system, kernels[0], busybox)


def _download(mirror: Mirror, packages: Sequence[Package], folder: Path, progress: Progress) -> dict[str, Path]:
    """The packages' files by package name. The first failure, or an interruption, ends the other downloads."""
    files = {package.name: folder / package.filename.rsplit("/", 1)[-1] for package in packages}
    _prune(folder, {path.name for path in files.values()})
    total = sum(package.size for package in packages)
    title = f"downloading {len(packages)} packages"
    with (
        progress.step(title, total, "bytes") as step,
        ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool,
        mirror.given_up_on_failure(),  # before the pool waits for what still runs
    ):
        wanted = ((Wanted(package.filename, package.size, package.sha256), files[package.name]) for package in packages)
        futures = [pool.submit(mirror.fetch, want, path, step) for want, path in wanted]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    return files


def _prune(folder: Path, needed: set[str]) -> None:
    for path in folder.glob("*.deb*"):
        if path.name.removesuffix(".partial") not in needed:
            path.unlink()


def _assemble(system: System, plan: _Plan, files: dict[str, Path], folder: Path, progress: Progress) -> Built:
    built = Built(
        kernel=folder / "kernel",
        initrd=folder / "initrd",
        disk=folder / "disk.raw",
        packages=tuple((package.name, package.version) for package in plan.system),
    )
    sizes = sum(files[package.name].stat().st_size for package in plan.everything)
    with Spool(folder) as spool, Spool(folder) as boot_spool:
        with progress.step("unpacking packages", sizes, "bytes") as step, ThreadPoolExecutor(1) as pool:
            # A kernel's package is as large as all others together: its expansion runs beside theirs, without the interpreter's lock.
            boot = pool.submit(_boot_files, system, plan, files, boot_spool, built)
            entries = bootstrap(system, [files[package.name] for package in plan.system], spool, step.advance)
            boot.result()
            step.advance(sum(files[package.name].stat().st_size for package in (plan.kernel, plan.busybox)))
        length = sum(entry.length for entry in entries)
        with progress.step("writing the root disk", length, "bytes") as step:
            written = 0

            def advance(done: int) -> None:
                nonlocal written
                step.advance(done - written)
                written = done

            write_ext4(built.disk, entries, DISK_SIZE, label=system.suite[:16], uuid=uuid4(), time=int(time.time()), progress=advance)
    return built


def _boot_files(system: System, plan: _Plan, files: dict[str, Path], spool: Spool, built: Built) -> None:
    subject = f"package {plan.kernel.name}"
    entries = read_data(files[plan.kernel.name], spool)
    kernel = from_package(entries, system.architecture, subject, WANTED_MODULES, OPTIONAL_MODULES)
    busybox = next((entry for entry in read_data(files[BUSYBOX], spool) if entry.path in ("usr/bin/busybox", "bin/busybox")), None)
    if busybox is None:
        raise BadInputError(f"package {BUSYBOX}", "it holds no busybox", "use another mirror")
    try:
        built.kernel.write_bytes(kernel.image)
        built.initrd.write_bytes(initramfs(kernel, read(busybox)))
    except OSError as fault:
        raise out_of_space(fault, built.kernel.parent) from fault
