"""Debian's smallest system as a container image, made here from packages: what a registry would have given, where none can be reached.

The same packages of the same release make the same image, whoever makes it: no time but the release's stands in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gasang.core.errors import BadInputError, NotFoundError
from gasang.core.progress import Progress, Step
from gasang.images.bootstrap import System, bootstrap
from gasang.images.configuring import Configurer, Unconfigured, unfolded, workplace
from gasang.images.containers import ContainerImage, Containers
from gasang.images.content.content import Content
from gasang.images.layers import write as tar
from gasang.images.layers.pack import Layer, LayerWriter
from gasang.images.layers.walk_tree import write_tree
from gasang.images.layers.write import TarWriter
from gasang.images.packages import Package
from gasang.images.reference import Reference
from gasang.images.registry.platform import Platform
from gasang.images.spool import Spool, out_of_space
from gasang.images.suite import Suite, system_packages
from gasang.storage.tree import Entry

PACKAGES = "org.gasang.debian.packages"
"""The label with the digest of what an image is made of."""
VERSION = "1"
"""Part of that digest: of the way images are made."""
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WORK = "debian-"


def make_image(
    suite: Suite, reference: Reference, content: Content, cache: Path, progress: Progress, configurer: Configurer
) -> ContainerImage:
    """Have the image of a suite under `reference`; one that is here and made of the same packages stays.

    Raises BadInputError for a damaged or forged index or package and one that does not configure, NotFoundError, OutOfSpaceError, and
    what a mirror raises that does not serve; nothing is left then but downloads.
    """
    containers = Containers(content)
    with suite.alone():
        packages = system_packages(suite.index(progress))
        digest = _digest(suite, packages)
        with suppress(NotFoundError, BadInputError):
            if _is_made_of(found := containers.find(str(reference)), digest):
                return found
        files = suite.download(packages, progress)
        with content.leases.take() as lease, workplace(cache, WORK, configurer.forget) as folder:
            layer = _Maker(suite, packages, files, folder, progress).layer(content, lease.hold, configurer)
            image = containers.load(containers.add(_config(suite, packages, digest, layer), [layer.blob], lease.hold))
            with progress.step("unpacking the image"):
                containers.layers_of(image)
            return containers.tag(image.manifest, reference)


def _digest(suite: Suite, packages: Sequence[Package]) -> str:
    facts = [VERSION, suite.name, suite.architecture, suite.mirror.base, *(f"{package.name} {package.sha256}" for package in packages)]
    return "sha256:" + hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _is_made_of(image: ContainerImage, digest: str) -> bool:
    """Images made from ours have its label too, but more steps."""
    config = image.config.get("config")
    labels = config.get("Labels") if isinstance(config, dict) else None
    return len(image.history) == 1 and isinstance(labels, dict) and labels.get(PACKAGES) == digest


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the one layer, in a folder for the moment."""

    suite: Suite
    packages: Sequence[Package]
    files: dict[str, Path]
    folder: Path
    progress: Progress

    def layer(self, content: Content, hold: Callable[..., None], configurer: Configurer) -> Layer:
        """Unpack, configure, pack."""
        with Spool(self.folder) as spool:
            entries = self._unpack(spool)
            with unfolded(entries, self.folder) as root:
                subject = f"image debian:{self.suite.name}"
                configurer.configure(Unconfigured(root, len(self.packages), subject, self.suite.time, services=False), self.progress)
                with self.progress.step("packing the image", sum(entry.length for entry in entries), "bytes") as step:
                    return self._pack(root, content, hold, step)

    def _unpack(self, spool: Spool) -> list[Entry]:
        sizes = sum(path.stat().st_size for path in self.files.values())
        system = System(self.suite.name, self.suite.architecture, self.suite.mirror.base, has_disk=False)
        with self.progress.step("unpacking packages", sizes, "bytes") as step:
            return bootstrap(system, [self.files[package.name] for package in self.packages], spool, step.advance)

    def _pack(self, root: Path, content: Content, hold: Callable[..., None], step: Step) -> Layer:
        packing = LayerWriter(content, hold)
        try:
            archive = _Dated(packing.write, self.suite.time, step)
            write_tree(root, archive)
            archive.close()
            return packing.finish()
        except OSError as fault:
            raise out_of_space(fault, self.folder) from fault
        finally:
            packing.close()


class _Dated(TarWriter):
    """Says of no file that it is newer than `latest`: when an image was made is no part of it."""

    def __init__(self, sink: Callable[[bytes], object], latest: int, step: Step) -> None:
        super().__init__(sink)
        self._latest = latest
        self._step = step

    def add(self, entry: tar.Entry, content: Iterable[bytes] = ()) -> None:
        """An entry."""
        entry.mtime = min(entry.mtime, self._latest)
        super().add(entry, content)
        self._step.advance(entry.size)


def _config(suite: Suite, packages: Sequence[Package], digest: str, layer: Layer) -> dict[str, Any]:
    name = f"Debian {suite.release.version or suite.release.codename}".strip()
    made = f"{name} of {suite.release.date}, {len(packages)} packages from {suite.mirror.base}"
    labels = {
        "org.opencontainers.image.title": "debian",
        "org.opencontainers.image.version": suite.release.version or suite.release.codename,
        "org.opencontainers.image.url": "https://www.debian.org/",
        PACKAGES: digest,
    }
    return {
        **Platform("linux", suite.architecture).document(),
        "created": suite.moment,
        "config": {"Env": [PATH], "Cmd": ["bash"], "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created": suite.moment, "created_by": f"gasang pull debian:{suite.name}", "comment": made}],
    }
