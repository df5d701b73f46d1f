"""A Debian suite as a mirror has it: its release file checked, its packages chosen from the index and downloaded, each verified.

What is downloaded stays in the cache, so that a build that was interrupted goes on where it was; what the next build of the same
architecture does not need is removed from there. One build at a time uses the cache of an architecture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from gasang.core.errors import NotFoundError, UsageError
from gasang.core.progress import Progress
from gasang.images.compression import expand_bytes
from gasang.images.content.locks import only_one
from gasang.images.mirror import Mirror, Patience, Wanted
from gasang.images.origin import Origin
from gasang.images.packages import Index, Package
from gasang.images.release import COMPONENT, Release, fetch_release
from gasang.images.resolve import resolve
from gasang.images.signature import debian_keyring
from gasang.images.spool import out_of_space

ADDED = ("apt",)
"""What a system has besides Debian's essential and required packages."""

DOWNLOADS_AT_ONCE = 4
INDEX_MAX = 1 << 30
_SUITE = re.compile(r"[a-z][a-z0-9-]{0,63}")
_LOCK = ".lock"


def fetch_suite(
    name: str, architecture: str, cache: Path, progress: Progress, origin: Origin | None = None, *, mirror: Mirror | None = None
) -> Suite:
    """A suite whose release file carries a right signature. `mirror` is asked instead of the origin's where it is given.

    Raise UsageError for a name no suite has, NotFoundError for one the mirror lacks, BadInputError for a forged release file,
    TimedOutError and GasangError for a mirror that does not serve.
    """
    if not _SUITE.fullmatch(name):
        raise UsageError(f"image debian:{name}", "that is no suite's name", "write one such as debian:trixie")
    origin = origin or Origin()
    source = mirror or Mirror(origin.mirror, Patience(timeout=origin.timeout))
    keyring = _keys(origin)
    with progress.step(f"asking {source.base} for Debian {name}"):
        release = fetch_release(source, name, keyring, architecture)
    return Suite(name, architecture, release, source, cache / "packages" / architecture)


def _keys(origin: Origin) -> Path:
    """The file of keys; raise NotFoundError where it is not there."""
    if origin.keyring is not None and not origin.keyring.is_file():
        raise NotFoundError(f"keyring {origin.keyring}", "there is no such file", "check the setting keyring (GASANG_KEYRING)")
    return origin.keyring or debian_keyring()


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite for one architecture; `downloads` is where its files are kept. Methods raise as `fetch_suite` does, and OutOfSpaceError."""

    name: str
    architecture: str
    release: Release
    mirror: Mirror
    downloads: Path

    @property
    def time(self) -> int:
        """When the release was made, in seconds since 1970; 0 where it does not say."""
        try:
            moment = parsedate_to_datetime(self.release.date)
        except ValueError:
            return 0
        return max(0, int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()))

    @property
    def moment(self) -> str:
        """The same as RFC 3339 has it."""
        return datetime.fromtimestamp(self.time, UTC).isoformat().replace("+00:00", "Z")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else uses the cache while the block lasts; another build is waited for."""
        try:
            self.downloads.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise out_of_space(fault, self.downloads) from fault
        with only_one(self.downloads / _LOCK):
            yield

    def index(self, progress: Progress) -> Index:
        """The packages it has."""
        wanted = self.release.index(COMPONENT, self.architecture)
        subject = f"package index of Debian {self.release.codename}"
        packed = self.downloads / f"Packages-{self.release.codename}.xz"
        with progress.step(f"reading the {subject}", wanted.size, "bytes") as step:
            self.mirror.fetch(wanted, packed, step)
            return Index(expand_bytes(packed.read_bytes(), subject, INDEX_MAX, "xz").decode("utf-8", "surrogateescape"), subject)

    def download(self, packages: Sequence[Package], progress: Progress) -> dict[str, Path]:
        """The packages' files by package name. The first failure, or an interruption, ends the other downloads."""
        files = {package.name: self.downloads / package.filename.rsplit("/", 1)[-1] for package in packages}
        self._prune({path.name for path in files.values()})
        total = sum(package.size for package in packages)
        title = f"downloading {len(packages)} packages"
        with (
            progress.step(title, total, "bytes") as step,
            ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool,
            self.mirror.given_up_on_failure(),  # before the pool waits for what still runs
        ):
            wanted = ((Wanted(package.filename, package.size, package.sha256), files[package.name]) for package in packages)
            futures = [pool.submit(self.mirror.fetch, want, path, step) for want, path in wanted]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        return files

    def _prune(self, needed: set[str]) -> None:
        for path in self.downloads.glob("*.deb*"):
            if path.name.removesuffix(".partial") not in needed:
                path.unlink()


def system_packages(index: Index) -> list[Package]:
    """What the smallest system that can install more consists of, as debootstrap's variant minbase does: dependencies first."""
    return resolve(index, [*index.selected(frozenset({"required"})), *ADDED])
