"""Debian's stock riscv64 kernel: that of an image which is here, else the suite's newest, from the mirror, verified as a pull does it.

What is downloaded lies where a pull looks for it; nothing is fetched twice.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gasang.core.config import Config, from_environment
from gasang.core.errors import NotFoundError
from gasang.core.paths import cache_folder, data_folder
from gasang.core.progress import Progress
from gasang.images import store as parts
from gasang.images.build import KERNELS
from gasang.images.compression import expand_bytes
from gasang.images.deb import read_data
from gasang.images.kernel import from_package
from gasang.images.mirror import Mirror, Wanted
from gasang.images.packages import Index, Package
from gasang.images.release import fetch_release
from gasang.images.resolve import resolve
from gasang.images.signature import debian_keyring
from gasang.images.spool import Spool
from gasang.images.store import Store
from gasang.images.suite import INDEX_MAX

SUITE = "trixie"
ARCHITECTURE = "riscv64"


def stock_kernel(environment: Mapping[str, str], progress: Progress) -> Path:
    """The boot image's path; raises GasangError where it is not here and cannot be fetched."""
    store = Store(data_folder(environment) / "images")
    with suppress(NotFoundError):
        return store.path(store.resolve(f"debian:{SUITE}").layer(parts.KERNEL))
    cache = cache_folder(environment)
    have = sorted((cache / "kernels").glob("linux-image-*.Image"))
    return have[-1] if have else fetch(Mirror(Config([from_environment(environment)]).value("mirror")), debian_keyring(), cache, progress)


def fetch(mirror: Mirror, keyring: Path, cache: Path, progress: Progress) -> Path:
    """Download the newest kernel's package and take the boot image out of it."""
    downloads, kept = cache / "packages" / ARCHITECTURE, cache / "kernels"
    for folder in (downloads, kept):
        folder.mkdir(parents=True, exist_ok=True)
    package = _package(mirror, keyring, downloads, progress)
    path = downloads / package.filename.rsplit("/", 1)[-1]
    with progress.step(f"downloading {package.name}", package.size, "bytes") as step:
        mirror.fetch(Wanted(package.filename, package.size, package.sha256), path, step)
    target = kept / f"{package.name}.Image"
    with progress.step("unpacking the kernel"), Spool(kept) as spool, tempfile.TemporaryDirectory(dir=kept) as scratch:
        made = Path(scratch) / target.name
        made.write_bytes(from_package(read_data(path, spool), ARCHITECTURE, f"package {package.name}", ()).image)
        made.replace(target)
    return target


def _package(mirror: Mirror, keyring: Path, downloads: Path, progress: Progress) -> Package:
    with progress.step(f"asking {mirror.base} for Debian {SUITE}"):
        release = fetch_release(mirror, SUITE, keyring, ARCHITECTURE)
    wanted = release.index("main", ARCHITECTURE)
    packed = downloads / f"Packages-{release.codename}.xz"
    subject = f"package index of Debian {SUITE}"
    with progress.step(f"reading the {subject}", wanted.size, "bytes") as step:
        mirror.fetch(wanted, packed, step)
        index = Index(expand_bytes(packed.read_bytes(), subject, INDEX_MAX, "xz").decode("utf-8", "surrogateescape"), subject)
    return next(package for package in resolve(index, [KERNELS[ARCHITECTURE]]) if re.match(r"linux-image-\d", package.name))
