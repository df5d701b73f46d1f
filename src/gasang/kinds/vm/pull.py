"""Images of virtual machines: found in the store, or made: built from packages that are configured by programs of their own architecture.

Those run in a container where this host has that architecture, else inside a machine of our own, at the image's first boot.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from gasang.core.console import WindowSize
from gasang.core.errors import BadInputError, GasangError, MachineDiedError, NotFoundError, UnsupportedError
from gasang.core.paths import cache_folder, data_folder
from gasang.core.progress import Progress
from gasang.images import store as parts
from gasang.images.build import Built, build_debian
from gasang.images.configuring import Configurer, host_architecture, workplace
from gasang.images.control import ControlPort, Counter, last_line
from gasang.images.initramfs import BASE_APPEND, GuestSettings
from gasang.images.origin import ContainerSource, Origin
from gasang.images.ready import BootFiles, forward, ready_files, ready_folder
from gasang.images.reference import Reference, parse_reference
from gasang.images.spool import out_of_space
from gasang.images.store import ARCHITECTURE, Image, Store
from gasang.kinds.vm.launch import VmSpec, boot_guest
from gasang.kinds.vm.platforms import choose
from gasang.storage.made import FULL
from gasang.storage.raw import Raw
from gasang.storage.shelf import user_shelf
from gasang.storage.sparse import pack

if TYPE_CHECKING:
    from gasang.kinds.vm.converting import Located

CONFIGURING_MEMORY = 1 << 30
DISTRIBUTION = "debian"
_WORK = "pull-"
CONTAINER = "container"
"""The name under which a machine's image notes the container image that it was made of."""


def open_store(architecture: str = ARCHITECTURE) -> Store:
    """The user's store of images of an architecture."""
    return Store(data_folder(os.environ) / "images", architecture)


def boot_files(
    text: str, progress: Progress, origin: Origin | None = None, architecture: str = ARCHITECTURE, *, inside: bool = False
) -> BootFiles:
    """The files of an image, which is pulled if it is not here, or of disks that were imported under that name.

    The latter boot as they are; where a command is to run `inside`, with what that needs (imported.py).
    """
    if user_shelf().disk(text) is not None:
        from gasang.kinds.vm.imported import boot_imported  # most images are none

        return boot_imported(text, architecture, progress, origin, inside=inside)
    image = ensure(text, progress, origin=origin, architecture=architecture)
    return ready_files(open_store(architecture), cache_folder(os.environ), image, progress)


def ensure(text: str, progress: Progress, *, again: bool = False, origin: Origin | None = None, architecture: str = ARCHITECTURE) -> Image:
    """The image of a reference, pulled from `origin` if it is not here (or anyway, with `again`).

    Raises NotFoundError, and UnsupportedError or PermissionDeniedError where one of that architecture cannot be made here.
    """
    reference = parse_reference(text)
    store = open_store(architecture)
    if not again:
        with suppress(NotFoundError):
            found = store.resolve(str(reference))
            if not _is_made_of_another(found, origin, reference):
                return found
    if reference.registry or reference.name != DISTRIBUTION or reference.tag == "latest" or reference.digest:
        source = _source(origin)
        if source is None:
            raise NotFoundError(f"image {reference}", "it is not here, and only Debian suites are made", "try gasang pull debian:trixie")
        from gasang.kinds.vm.converting import locate

        located = locate(reference, source, architecture)
        with store.changing():
            return _convert(store, reference, located, progress, origin or Origin())
    configurer = _configurer(str(reference), architecture)
    with store.changing():
        return _pull(store, reference, progress, origin or Origin(), configurer)


def _configurer(reference: str, architecture: str) -> Configurer | None:
    """What configures packages outside a machine; None where a machine does it."""
    if architecture != host_architecture() or os.geteuid() != 0:
        try:
            choose(architecture, None)
            return None
        except GasangError as error:
            if architecture != host_architecture():
                cause = f"its packages are configured by programs of {architecture}, and this host runs none ({error.cause})"
                raise UnsupportedError(f"image {reference} for {architecture}", cause, "pull it on a host of that architecture") from error
    from gasang.kinds.container.configuring import ContainerConfigurer

    configurer = ContainerConfigurer()
    configurer.check(f"image {reference} for {architecture}")
    return configurer


def _forget(folder: Path) -> None:
    from gasang.kinds.container.configuring import ContainerConfigurer

    ContainerConfigurer().forget(folder)


def _pull(store: Store, reference: Reference, progress: Progress, origin: Origin, configurer: Configurer | None) -> Image:
    cache = cache_folder(os.environ)
    # What a killed pull has left goes: no other is going on, the store is locked.
    with workplace(cache, _WORK, _forget) as folder:
        built = build_debian(reference.tag, store.architecture, cache, folder, progress, origin, configurer=configurer)
        if configurer is None:
            _configure(built, reference, store.architecture, progress)
        return _keep(store, cache, reference, built, progress)


def _source(origin: Origin | None) -> ContainerSource | None:
    return origin.containers() if origin is not None and origin.containers is not None else None


def _is_made_of_another(image: Image, origin: Origin | None, reference: Reference) -> bool:
    """Whether it is of a container image whose name has another one now."""
    if CONTAINER not in image.config:
        return False
    from gasang.kinds.vm.converting import is_current

    return not is_current(image, _source(origin), reference)


def _convert(store: Store, reference: Reference, located: Located, progress: Progress, origin: Origin) -> Image:
    from gasang.kinds.vm.converting import Boot, convert

    cache = cache_folder(os.environ)
    with workplace(cache, _WORK, _forget) as folder:
        built, more = convert(reference, located, store, folder, Boot(store.architecture, cache, progress, origin))
        return _keep(store, cache, reference, built, progress, more)


class _Quiet:
    """A console nobody sits at: what the guest prints is kept for the error message."""

    def __init__(self) -> None:
        self.said = bytearray()

    def write(self, data: bytes) -> None:
        """Keep the last of it."""
        self.said += data
        del self.said[:-4096]

    write_error = write

    def on_input(self, callback: Callable[[bytes], None]) -> None:
        """There is no input."""
        callback(b"")

    def on_resize(self, callback: Callable[[WindowSize], None]) -> None:
        """There is no window."""

    def on_quit(self, callback: Callable[[], None]) -> None:
        """Nobody leaves."""


def _configure(built: Built, reference: Reference, architecture: str, progress: Progress) -> None:
    """The image's first boot. Raises BadInputError if a package does not configure."""
    spec = VmSpec(1, CONFIGURING_MEMORY, None, None, "", str(reference), (), (), False, (), architecture=architecture)
    files = BootFiles(built.kernel, built.initrd, built.disk, BASE_APPEND)
    console = _Quiet()
    with ExitStack() as cleanup:
        step = cleanup.enter_context(progress.step("configuring packages inside the machine", len(built.packages), "packages"))
        disk = _Watched.open(built.disk)
        cleanup.callback(disk.close)
        control = ControlPort(lambda stage: None, Counter(step).reached)
        try:
            boot_guest(spec, files, disk, GuestSettings("configure"), console, control)
        except MachineDiedError as fault:
            raise BadInputError(fault.subject, fault.cause, "pull it again, or report this") from fault
        if disk.full is not None:
            raise out_of_space(disk.full, built.disk.parent)
        disk.flush()
    if control.code != 0:
        cause = control.error or f"its packages were not configured (code {control.code}: {last_line(bytes(console.said))})"
        raise BadInputError(f"image {reference}", cause, "pull it again, or report this")


class _Watched(Raw):
    """A disk that remembers that the host had no room for what the guest wrote; the guest knows only of an error."""

    full: OSError | None = None

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """As a disk does."""
        try:
            super().write(offset, data)
        except OSError as error:
            self.full = error if error.errno in FULL else self.full
            raise


def _keep(
    store: Store, cache: Path, reference: Reference, built: Built, progress: Progress, more: Mapping[str, Any] | None = None
) -> Image:
    """Into the store, and the disk itself into the cache, so that the first run need not unpack it."""
    size = built.disk.stat().st_size
    with progress.step("storing the image", size, "bytes") as step, store.writer(parts.DISK) as writer:
        pack(built.disk, cast("BinaryIO", writer), forward(step))
    layers = [
        writer.blob,
        store.add_bytes(built.kernel.read_bytes(), parts.KERNEL),
        store.add_bytes(built.initrd.read_bytes(), parts.INITRD),
    ]
    config = {
        "kind": "vm", "architecture": store.architecture, "suite": reference.tag, "disk_size": size, "append": BASE_APPEND,
        "packages": [list(package) for package in built.packages], **(more or {}),
    }  # fmt: skip
    image = store.tag(str(reference), layers, config)
    folder = ready_folder(cache, image)
    folder.mkdir(parents=True, exist_ok=True)
    built.disk.replace(folder / "disk.raw")
    return image
