"""What the machine with a real KVM is made of: Debian's stock cloud kernel, and a root of Debian's packages with it.

Everything comes from the mirror, verified as a pull does it, is made once for each wish, and is kept in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from uuid import UUID

from gasang.core.config import Config, from_environment
from gasang.core.paths import cache_folder
from gasang.core.progress import Progress
from gasang.images.bootstrap import System, bootstrap
from gasang.images.cpio import archive
from gasang.images.deb import read_data
from gasang.images.initramfs import BASE_APPEND, OPTIONAL_MODULES, initramfs, modules_for
from gasang.images.kernel import Kernel, KernelModule, from_package, read
from gasang.images.mirror import Mirror
from gasang.images.packages import Index, Package
from gasang.images.resolve import resolve
from gasang.images.spool import Spool
from gasang.images.suite import Suite, fetch_suite, system_packages
from gasang.storage.ext4 import write_ext4
from gasang.storage.tree import Entry, Kind, encode

SUITE: Final = "bookworm"
ARCHITECTURE: Final = "amd64"
KERNEL: Final = "linux-image-cloud-amd64"
KERNELS: Final = {"cloud": KERNEL, "generic": "linux-image-amd64"}
"""What images boot with, and the packages that lead there."""
HOST_MODULES: Final = ("kvm_amd", "nbd")
GUEST_MODULES: Final = ("virtio_mmio", "virtio_pci", "virtio_blk", "virtio_console", "virtio_rng")
VERSION: Final = "3"
"""Part of a wish's name: of the way its parts are made."""
LEFT_OUT: Final = re.compile(
    rb"(usr/share/(doc|man|locale|info|lintian|bash-completion|icons|iso-codes|pixmaps|applications|bug|gtk-doc)"
    rb"|usr/lib/ipxe|var/lib/dpkg|etc/apt|usr/lib/python3/dist-packages/.*/tests)(/|$)"
)


@dataclass(frozen=True, slots=True)
class Wish:
    """The packages of the root, all they depend on included; whether an image is wanted that machines boot (`IMAGE`)."""

    packages: tuple[str, ...]
    image: bool = False

    @property
    def name(self) -> str:
        """A name for what it leads to."""
        modules = (*modules_for(ARCHITECTURE), *OPTIONAL_MODULES) if self.image else ()
        facts = (VERSION, SUITE, ARCHITECTURE, KERNEL, *HOST_MODULES, *GUEST_MODULES, *modules, *self.packages, str(self.image))
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


PYTEST: Final = Wish(("busybox-static", "python3-pytest", "python3-zstandard"), image=True)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Files: the kernel, and a root for its initramfs, which holds what guests boot too (`GUEST`)."""

    kernel: Path
    root: Path


IMAGE: Final = "image"
"""The folder in `GUEST` with an image: `KERNEL/kernel` and `KERNEL/initrd` for each of KERNELS, `append` and `disk.raw`."""
IMAGE_DISK: Final = 448 << 20
GUEST: Final = "lane"
"""The root's folder with `vmlinuz` and `guest.cpio`: a busybox at /bin/busybox and modules to load, in the order of /modules/order."""


def inputs(wish: Wish, environment: Mapping[str, str], progress: Progress) -> Inputs:
    """The files, made if they are not here; raises GasangError where they cannot be fetched."""
    cache = cache_folder(environment) / "nested"
    folder = cache / wish.name
    if not folder.exists():
        _make(wish, environment, cache, folder, progress)
    return Inputs(folder / "vmlinuz", folder / "root.cpio")


def _make(wish: Wish, environment: Mapping[str, str], cache: Path, folder: Path, progress: Progress) -> None:
    mirror = Mirror(Config([from_environment(environment)]).value("mirror"))
    suite = fetch_suite(SUITE, ARCHITECTURE, cache, progress, mirror=mirror)
    with suite.alone(), tempfile.TemporaryDirectory(dir=cache) as scratch, Spool(Path(scratch)) as spool:
        if folder.exists():  # another one has made it meanwhile
            return
        index = suite.index(progress)
        packages, kernel = resolve(index, wish.packages), _kernel(index, KERNEL)
        image = [*system_packages(index), *(_kernel(index, name) for name in KERNELS.values())] if wish.image else []
        files = suite.download(list({package.name: package for package in (*packages, kernel, *image)}.values()), progress)
        made = Path(scratch) / "made"
        made.mkdir()
        with progress.step("unpacking packages"):
            taken = list(read_data(files[kernel.name], spool))
            guest, host = (from_package(taken, ARCHITECTURE, kernel.name, names) for names in (GUEST_MODULES, HOST_MODULES))
            system = System(SUITE, ARCHITECTURE, suite.mirror.base, has_disk=False)
            entries = list(_whole(bootstrap(system, [files[package.name] for package in packages], spool)))
            extra = list(_image(suite, index, files, spool, Path(scratch) / "disk.raw", _busybox(entries))) if wish.image else []
            (made / "vmlinuz").write_bytes(host.image)
            (made / "root.cpio").write_bytes(archive([*entries, *_lane(entries, host, guest), *extra]))
        shutil.rmtree(suite.downloads, ignore_errors=True)
        made.replace(folder)


def _kernel(index: Index, name: str) -> Package:
    (package,) = (package for package in resolve(index, [name]) if re.match(r"linux-image-\d", package.name))
    return package


def _image(suite: Suite, index: Index, files: Mapping[str, Path], spool: Spool, disk: Path, busybox: bytes) -> Iterator[Entry]:
    """What an image boots with, and its disk, made as `disk`, as images/build.py makes them: packages unpacked and not configured."""
    system = System(SUITE, ARCHITECTURE, suite.mirror.base)
    entries = bootstrap(system, [files[package.name] for package in system_packages(index)], spool)
    write_ext4(disk, entries, IMAGE_DISK, label=SUITE, uuid=UUID(int=1))
    folders = (f"{GUEST}/{IMAGE}", *(f"{GUEST}/{IMAGE}/{name}" for name in KERNELS))
    yield from (Entry(path=name, kind=Kind.DIRECTORY, mode=0o755) for name in folders)
    yield Entry(path=f"{GUEST}/{IMAGE}/disk.raw", kind=Kind.FILE, data=disk.read_bytes())
    for name, package in KERNELS.items():
        subject = _kernel(index, package).name
        taken = list(read_data(files[subject], spool))
        kernel = from_package(taken, ARCHITECTURE, subject, modules_for(ARCHITECTURE), OPTIONAL_MODULES)
        yield Entry(path=f"{GUEST}/{IMAGE}/{name}/kernel", kind=Kind.FILE, data=kernel.image)
        yield Entry(path=f"{GUEST}/{IMAGE}/{name}/initrd", kind=Kind.FILE, data=initramfs(kernel, busybox))
    yield Entry(path=f"{GUEST}/{IMAGE}/append", kind=Kind.FILE, data=BASE_APPEND.encode())


def _whole(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries that are wanted; a hard link, which an initramfs cannot have, becomes a copy."""
    files: dict[bytes, Entry] = {}
    for entry in entries:
        path = encode(entry.path)
        if entry.kind is Kind.HARDLINK:
            entry = replace(files[encode(entry.target)], path=path)
        files[path] = entry
        if not LEFT_OUT.match(path):
            yield entry


def _busybox(entries: Iterable[Entry]) -> bytes:
    return next(read(entry) for entry in entries if encode(entry.path) in (b"usr/bin/busybox", b"bin/busybox"))


def _lane(entries: Iterable[Entry], host: Kernel, guest: Kernel) -> Iterator[Entry]:
    """What the lane adds: modules for the host and, in a folder, what guests boot."""
    busybox = _busybox(entries)
    yield from _modules(host.modules)
    yield from (Entry(path=name, kind=Kind.DIRECTORY, mode=0o755) for name in ("dev", "proc", "sys", "tmp", GUEST))
    yield Entry(path=f"{GUEST}/vmlinuz", kind=Kind.FILE, data=guest.image)
    parts = [Entry(path=name, kind=Kind.DIRECTORY, mode=0o755) for name in ("bin", "dev", "proc", "sys", "tmp", "mnt")]
    parts.append(Entry(path="dev/console", kind=Kind.CHARACTER, mode=0o600, device=(5, 1)))
    parts.append(Entry(path="bin/busybox", kind=Kind.FILE, mode=0o755, data=busybox))
    yield Entry(path=f"{GUEST}/guest.cpio", kind=Kind.FILE, data=archive([*parts, *_modules(guest.modules)]))


def _modules(modules: Iterable[KernelModule]) -> Iterator[Entry]:
    modules = list(modules)
    yield Entry(path="modules", kind=Kind.DIRECTORY, mode=0o755)
    yield from (Entry(path=f"modules/{module.name}.ko", kind=Kind.FILE, data=module.data) for module in modules)
    order = "".join(f"{module.name}\n" for module in modules)
    yield Entry(path="modules/order", kind=Kind.FILE, data=order.encode())
