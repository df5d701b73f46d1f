"""A container image made into a machine's: its files on a disk, a Debian kernel beside them, and the process that it says to start.

The image is looked for among this host's container images first, then in its registry, for the machine's architecture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import GasangError, UnsupportedError
from gasang.core.progress import Progress
from gasang.images.build import Built, build_boot
from gasang.images.containers import ContainerImage, Containers
from gasang.images.content.content import Content
from gasang.images.image_process import PROCESS, process_of
from gasang.images.machine_root import write_root
from gasang.images.origin import ContainerSource, Origin
from gasang.images.reference import Reference
from gasang.images.registry.credentials import Keyring
from gasang.images.registry.platform import Platform, suits
from gasang.images.registry.pull import find, pull
from gasang.images.store import Image, Store
from gasang.kinds.vm.pull import CONTAINER

SUITE: Final = "trixie"
"""The Debian suite whose kernel runs container images."""


def is_current(image: Image, source: ContainerSource | None, reference: Reference) -> bool:
    """Whether a machine's image is of what its name means among this host's container images, if it means anything there."""
    made_of = image.config.get(CONTAINER)
    if source is None or not isinstance(made_of, str):
        return True
    found = _here(source, reference, _platform(str(image.config.get("architecture"))))
    return found is None or found.id == made_of


def convert(reference: Reference, source: ContainerSource, store: Store, folder: Path, boot: Boot) -> tuple[Built, dict[str, Any]]:
    """The parts of the machine's image, made in `folder`, and what its configuration says more. The lock of `store` is held.

    Raises NotFoundError, UnsupportedError for an image of other architectures or a user who is not root, and what a pull raises.
    """
    here = _here(source, reference, _platform(store.architecture))
    if here is not None:
        return _made(Containers(Content(source.store)), here, reference, folder, boot)
    with _fetched(store, reference, source, boot.progress) as (containers, image):
        return _made(containers, image, reference, folder, boot)


@dataclass(frozen=True)
class Boot:
    """How the kernel is come by: of an architecture, with packages kept in `cache`, from `origin`."""

    architecture: str
    cache: Path
    progress: Progress
    origin: Origin


def _platform(architecture: str) -> Platform:
    return Platform("linux", architecture)


def _here(source: ContainerSource, reference: Reference, platform: Platform) -> ContainerImage | None:
    with suppress(GasangError):
        found = Containers(Content(source.store)).find(str(reference))
        if suits(found.platform, platform):
            return found
    return None


@contextmanager
def _fetched(
    store: Store, reference: Reference, source: ContainerSource, progress: Progress
) -> Iterator[tuple[Containers, ContainerImage]]:
    """The image from its registry, without a name, and gone after the block unless it was there before."""
    platform = _platform(store.architecture)
    wanted, containers, settings = reference.qualified(), Containers(store), source.registries
    try:
        found = find(wanted, settings, Keyring.of_user(os.environ), platform)
    except GasangError as error:
        cause = f"it is not here for {platform}, and {error.subject}: {error.cause}"
        raise type(error)(f"image {reference}", cause, error.hint) from error
    found.client.close()
    digest = found.manifest.blob.digest
    had = any(image.digest == digest for image in containers.images())
    image = pull(wanted.at(digest=digest), store, platform=platform, registries=settings, progress=progress)
    try:
        yield containers, image
    finally:
        if not had:
            containers.remove(image.id)


def _made(containers: Containers, image: ContainerImage, reference: Reference, folder: Path, boot: Boot) -> tuple[Built, dict[str, Any]]:
    subject = f"image {reference}"
    if not suits(image.platform, _platform(boot.architecture)):
        cause = f"it is for {image.platform}, and the machine is {boot.architecture}"
        raise UnsupportedError(subject, cause, "choose the other with --arch")
    process = process_of(image.config, subject)
    kernel, initrd = build_boot(SUITE, boot.architecture, boot.cache, folder, boot.progress, boot.origin)
    disk = folder / "disk.raw"
    write_root(list(reversed(containers.layers_of(image))), disk, subject, boot.progress)
    return Built(kernel, initrd, disk, ()), {CONTAINER: image.id, PROCESS: process, "suite": SUITE}
