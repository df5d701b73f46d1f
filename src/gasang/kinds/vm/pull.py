"""Images of virtual machines: found in the store, or made: built from packages, then configured inside a machine of our own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, cast

from gasang.core.console import WindowSize
from gasang.core.errors import BadInputError, MachineDiedError, NotFoundError
from gasang.core.paths import cache_folder, data_folder
from gasang.core.progress import Progress, Step
from gasang.images import store as parts
from gasang.images.build import Built, build_debian
from gasang.images.initramfs import BASE_APPEND, GuestSettings
from gasang.images.origin import Origin
from gasang.images.ready import BootFiles, forward, ready_files, ready_folder
from gasang.images.reference import Reference, parse_reference
from gasang.images.spool import out_of_space
from gasang.images.store import Image, Store
from gasang.kinds.vm.launch import ControlPort, VmSpec, boot_guest
from gasang.storage.made import FULL
from gasang.storage.raw import Raw
from gasang.storage.sparse import pack

ARCHITECTURE = "riscv64"
CONFIGURING_MEMORY = 1 << 30
DISTRIBUTION = "debian"
_WORK = "pull-"


def open_store() -> Store:
    """The user's store."""
    return Store(data_folder(os.environ) / "images")


def boot_files(text: str, progress: Progress, origin: Origin | None = None) -> BootFiles:
    """The files of an image, which is pulled if it is not here."""
    return ready_files(open_store(), cache_folder(os.environ), ensure(text, progress, origin=origin), progress)


def ensure(text: str, progress: Progress, *, again: bool = False, origin: Origin | None = None) -> Image:
    """The image of a reference, pulled from `origin` if it is not here (or anyway, with `again`). Raises NotFoundError."""
    reference = parse_reference(text)
    store = open_store()
    if not again:
        with suppress(NotFoundError):
            return store.resolve(str(reference))
    if reference.registry or reference.name != DISTRIBUTION or reference.tag == "latest" or reference.digest:
        raise NotFoundError(f"image {reference}", "it is not here, and only Debian suites are made", "try gasang pull debian:trixie")
    with store.changing():
        return _pull(store, reference, progress, origin or Origin())


def _pull(store: Store, reference: Reference, progress: Progress, origin: Origin) -> Image:
    cache = cache_folder(os.environ)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for left in cache.glob(f"{_WORK}*"):  # by a pull that was killed: none else is going on, the store is locked
            shutil.rmtree(left, ignore_errors=True)
        work = tempfile.TemporaryDirectory(prefix=_WORK, dir=cache)
    except OSError as error:
        raise out_of_space(error, cache) from error
    with work as folder:
        built = build_debian(reference.tag, ARCHITECTURE, cache, Path(folder), progress, origin)
        _configure(built, reference, progress)
        return _keep(store, cache, reference, built, progress)


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


def _configure(built: Built, reference: Reference, progress: Progress) -> None:
    """The image's first boot. Raises BadInputError if a package does not configure."""
    spec = VmSpec(1, CONFIGURING_MEMORY, None, None, "", str(reference), (), (), False, ())
    files = BootFiles(built.kernel, built.initrd, built.disk, BASE_APPEND)
    console = _Quiet()
    with ExitStack() as cleanup:
        step = cleanup.enter_context(progress.step("configuring packages inside the machine", len(built.packages), "packages"))
        disk = _Watched.open(built.disk)
        cleanup.callback(disk.close)
        control = ControlPort(lambda stage: None, _Counter(step).reached)
        try:
            boot_guest(spec, files, disk, GuestSettings("configure"), console, control)
        except MachineDiedError as fault:
            raise BadInputError(fault.subject, fault.cause, "pull it again, or report this") from fault
        if disk.full is not None:
            raise out_of_space(disk.full, built.disk.parent)
        disk.flush()
    if control.code != 0:
        last = console.said.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
        cause = control.error or f"its packages were not configured (code {control.code}: {last[0][:200]})"
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


class _Counter:
    """Turns "so many are done" into steps forward."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._done = 0

    def reached(self, done: int, total: int) -> None:
        """The guest says how far it is."""
        if done > self._done:
            self._step.advance(done - self._done)
            self._done = done


def _keep(store: Store, cache: Path, reference: Reference, built: Built, progress: Progress) -> Image:
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
        "kind": "vm", "architecture": ARCHITECTURE, "suite": reference.tag, "disk_size": size, "append": BASE_APPEND,
        "packages": [list(package) for package in built.packages],
    }  # fmt: skip
    image = store.tag(str(reference), layers, config)
    folder = ready_folder(cache, image)
    folder.mkdir(parents=True, exist_ok=True)
    built.disk.replace(folder / "disk.raw")
    return image
