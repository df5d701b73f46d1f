"""Building a Debian machine's image: from a suite's name to a kernel, an initramfs and a root disk.

The packages on the disk are configured in a container before it is written, where this host runs programs of their architecture; else
they are unpacked only, to be configured at the image's first boot. What is downloaded stays in the cache (suite.py); everything else is
made in the folder the caller gives.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from gasang.core.errors import BadInputError, UnsupportedError
from gasang.core.progress import Progress
from gasang.images.bootstrap import System, bootstrap
from gasang.images.configuring import Configurer, Unconfigured, unfolded
from gasang.images.deb import read_data
from gasang.images.initramfs import OPTIONAL_MODULES, initramfs, modules_for
from gasang.images.kernel import from_package, read
from gasang.images.mirror import Mirror
from gasang.images.origin import Origin
from gasang.images.packages import Index, Package
from gasang.images.resolve import resolve
from gasang.images.spool import Spool, out_of_space
from gasang.images.suite import Suite, fetch_suite, system_packages
from gasang.storage.ext4 import write_ext4
from gasang.storage.tree import Entry, read_tree

DISK_SIZE = 4 << 30
"""Bytes of a root disk; it takes on the host what it holds."""

KERNELS = {"riscv64": "linux-image-riscv64", "amd64": "linux-image-amd64"}
"""The package that depends on each architecture's current kernel."""

BUSYBOX = "busybox-static"


@dataclass(frozen=True, slots=True)
class Built:
    """The parts of an image, as files, and the packages on its disk as (name, version)."""

    kernel: Path
    initrd: Path
    disk: Path
    packages: tuple[tuple[str, str], ...]


def build_debian(
    suite: str,
    architecture: str,
    cache: Path,
    folder: Path,
    progress: Progress,
    origin: Origin | None = None,
    *,
    mirror: Mirror | None = None,
    configurer: Configurer | None = None,
) -> Built:
    """Build the image of a suite in `folder`; without `configurer` its packages are unpacked only.

    `mirror` is asked instead of the origin's where it is given.

    Raise UsageError for a name no suite has, NotFoundError for one the mirror lacks, BadInputError for a damaged or forged index or
    package and one that does not configure, OutOfSpaceError for a full disk, TimedOutError and GasangError for a mirror that does not
    serve.
    """
    if architecture not in KERNELS:
        raise UnsupportedError(f"architecture {architecture}", "no image can be made for it", f"choose {' or '.join(KERNELS)}")
    source = fetch_suite(suite, architecture, cache, progress, origin, mirror=mirror)
    with source.alone():
        index = source.index(progress)
        plan = _plan(index, architecture, system_packages(index))
        files = source.download(plan.everything, progress)
        return _assemble(source, plan, files, folder, progress, configurer)


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


def build_boot(
    suite: str,
    architecture: str,
    cache: Path,
    folder: Path,
    progress: Progress,
    origin: Origin | None = None,
    *,
    mirror: Mirror | None = None,
) -> tuple[Path, Path]:
    """A suite's kernel and the initramfs that goes with it, made in `folder`. Raises what `build_debian` raises."""
    source = fetch_suite(suite, architecture, cache, progress, origin, mirror=mirror)
    with source.alone():
        plan = _plan(source.index(progress), architecture, [])
        files = source.download(plan.everything, progress)
        built = Built(folder / "kernel", folder / "initrd", folder / "disk.raw", ())
        sizes = sum(path.stat().st_size for path in files.values())
        with progress.step("unpacking the kernel", sizes, "bytes") as step, Spool(folder) as spool:
            _boot_files(System(source.name, architecture, source.mirror.base), plan, files, spool, built)
            step.advance(sizes)
    return built.kernel, built.initrd


def busybox_of(suite: str, architecture: str, cache: Path, folder: Path, progress: Progress, origin: Origin | None = None) -> bytes:
    """A suite's static busybox. Raises what `build_debian` raises."""
    source = fetch_suite(suite, architecture, cache, progress, origin)
    with source.alone():
        package = next(package for package in resolve(source.index(progress), [BUSYBOX]) if package.name == BUSYBOX)
        files = source.download([package], progress)
        with Spool(folder) as spool:
            return _busybox(files, spool)


def _plan(index: Index, architecture: str, system: Sequence[Package]) -> _Plan:
    kernels = [package for package in resolve(index, [KERNELS[architecture]]) if re.match(r"linux-image-\d", package.name)]
    if len(kernels) != 1:
        raise BadInputError(f"package {KERNELS[architecture]}", f"it leads to {len(kernels)} kernels, not one", "use another mirror")
    busybox = next(package for package in resolve(index, [BUSYBOX]) if package.name == BUSYBOX)
    return _Plan(system, kernels[0], busybox)


def _assemble(suite: Suite, plan: _Plan, files: dict[str, Path], folder: Path, progress: Progress, configurer: Configurer | None) -> Built:
    built = Built(
        kernel=folder / "kernel",
        initrd=folder / "initrd",
        disk=folder / "disk.raw",
        packages=tuple((package.name, package.version) for package in plan.system),
    )
    system = System(suite.name, suite.architecture, suite.mirror.base)
    sizes = sum(files[package.name].stat().st_size for package in plan.everything)
    with Spool(folder) as spool, Spool(folder) as boot_spool:
        with progress.step("unpacking packages", sizes, "bytes") as step, ThreadPoolExecutor(1) as pool:
            # A kernel's package is as large as all others together: its expansion runs beside theirs, without the interpreter's lock.
            boot = pool.submit(_boot_files, system, plan, files, boot_spool, built)
            entries = bootstrap(system, [files[package.name] for package in plan.system], spool, step.advance)
            boot.result()
            step.advance(sum(files[package.name].stat().st_size for package in (plan.kernel, plan.busybox)))
        with _settled(entries, suite, len(plan.system), folder, progress, configurer) as final:
            write_disk(built.disk, final, suite.name, progress)
    return built


@contextmanager
def _settled(
    entries: list[Entry], suite: Suite, packages: int, folder: Path, progress: Progress, configurer: Configurer | None
) -> Iterator[list[Entry]]:
    """The entries of the disk: configured ones where that can be done here."""
    if configurer is None:
        yield entries
        return
    with unfolded(entries, folder) as root:
        configurer.configure(Unconfigured(root, packages, f"image debian:{suite.name}"), progress)
        yield list(read_tree(root))


def write_disk(disk: Path, entries: list[Entry], label: str, progress: Progress, size: int = DISK_SIZE) -> None:
    """Write an ext4 disk of `size` bytes. Raises OutOfSpaceError where the host is full, GasangError where the entries do not fit."""
    with progress.step("writing the root disk", sum(entry.length for entry in entries), "bytes") as step:
        written = 0

        def advance(done: int) -> None:
            nonlocal written
            step.advance(done - written)
            written = done

        write_ext4(disk, entries, size, label=label[:16], uuid=uuid4(), time=int(time.time()), progress=advance)


def _busybox(files: dict[str, Path], spool: Spool) -> bytes:
    found = next((entry for entry in read_data(files[BUSYBOX], spool) if entry.path in ("usr/bin/busybox", "bin/busybox")), None)
    if found is None:
        raise BadInputError(f"package {BUSYBOX}", "it holds no busybox", "use another mirror")
    return read(found)


def _boot_files(system: System, plan: _Plan, files: dict[str, Path], spool: Spool, built: Built) -> None:
    subject = f"package {plan.kernel.name}"
    entries = read_data(files[plan.kernel.name], spool)
    kernel = from_package(entries, system.architecture, subject, modules_for(system.architecture), OPTIONAL_MODULES)
    busybox = _busybox(files, spool)
    try:
        built.kernel.write_bytes(kernel.image)
        built.initrd.write_bytes(initramfs(kernel, busybox))
    except OSError as fault:
        raise out_of_space(fault, built.kernel.parent) from fault
