"""The files of containers: their own layer, over the layers of their image."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final

from gasang.daemon.containers.copied import ADDED, DELETED, MODIFIED, copy, differences, takes_changes, write_layer
from gasang.daemon.containers.extract import copy_tree
from gasang.daemon.containers.ground import fits, make_ground
from gasang.daemon.containers.record import Container
from gasang.daemon.containers.user import identify
from gasang.daemon.folders import Folders
from gasang.daemon.images import DaemonImages
from gasang.daemon.views import ImageView
from gasang.daemon.volumes import size_of
from gasang.host.trees import open_within, overlay

TEXT_MAX: Final = 1 << 20
MOUNTED: Final = frozenset(("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/console"))
"""What the daemon mounts into every container: no change of it where there is no ground beneath either."""


class ContainerLayers:
    """The layers of a daemon's containers."""

    def __init__(self, folders: Folders, images: DaemonImages) -> None:
        self._folders = folders
        self._images = images
        self._grounded: dict[str, bool] = {}
        make_ground(self._ground)

    @property
    def _ground(self) -> Path:
        return self._folders.state / "ground"

    # places

    def upper(self, container: Container) -> Path:
        """Its own layer, or all of its files where they are a copy."""
        return self.copied(container) or self._folders.container(container.id) / "upper"

    def copied(self, container: Container) -> Path | None:
        """Where all of its files are, if overlayfs takes no changes here."""
        folder = self._folders.container(container.id) / "copy"
        return folder if folder.is_dir() else None

    @cached_property
    def _copies(self) -> bool:
        self._folders.state.mkdir(parents=True, exist_ok=True)
        return not takes_changes(self._folders.state)

    @contextmanager
    def layer(self, container: Container) -> Iterator[Path]:
        """What it has changed, as a layer. Raises OSError."""
        copied = self.copied(container)
        if copied is None:
            yield self.upper(container)
            return
        with self.stopped_root(container) as root, self.root_of(self.lowers(container)) as image, self._written(root, image) as upper:
            yield upper

    @contextmanager
    def _written(self, root: int, image: int) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="layer-", dir=self._folders.scratch()) as place:
            upper = Path(place) / "upper"
            upper.mkdir()
            self._compare(root, image, upper)
            yield upper

    def lowers(self, container: Container) -> tuple[Path, ...]:
        """What is below its own layer, the uppermost first: the ground of all containers, and its image's layers."""
        layers = self._images.view(container.image_id).layers
        if container.image_id not in self._grounded:
            self._grounded[container.image_id] = fits(layers)
        return (self._ground, *layers) if self._grounded[container.image_id] else layers

    def graph(self, container: Container) -> dict[str, str]:
        """Where its layers are, as inspect names them."""
        folder = self._folders.container(container.id)
        return {"UpperDir": str(folder / "upper"), "WorkDir": str(folder / "work")}

    def prepare(self, container: Container, image: ImageView) -> None:
        """Make its own layer, with the root folder's own owner and rights."""
        folder = self._folders.container(container.id)
        folder.mkdir(parents=True, mode=0o710)
        for name in ("upper", "work"):
            (folder / name).mkdir(mode=0o755)
        if image.layers:
            found = os.stat(image.layers[0])
            os.chown(folder / "upper", found.st_uid, found.st_gid)
            os.chmod(folder / "upper", stat.S_IMODE(found.st_mode))
        if self._copies:
            copy(self.lowers(container), folder / "copy")

    def filesystem(self) -> str:
        """The kind of file system that the layers are on."""
        best, kind = "", "unknown"
        place = str(self._folders.state)
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
            for line in file:
                words = line.split()
                if len(words) > 2 and (place == words[1] or place.startswith(words[1].rstrip("/") + "/")) and len(words[1]) >= len(best):
                    best, kind = words[1], words[2]
        return kind

    # looking

    def text(self, container: Container, path: str) -> str:
        """A small text file of the container, "" where it is not there."""
        with self.reading_root(container) as root:
            return read_text(root, path)

    async def sizes(self, container: Container) -> dict[str, int]:
        """SizeRw and SizeRootFs, in bytes."""
        own = await asyncio.to_thread(size_of, self.upper(container))
        return {"SizeRw": own, "SizeRootFs": own + self._images.size(container.image_id)}

    def changes(self, container: Container) -> list[tuple[str, int]]:
        """Every path that differs from the image: what is in the container's own layer, and the folders that lead there."""
        if self.copied(container):
            return self._compared(container)
        upper = self.upper(container)
        result: list[tuple[str, int]] = []
        with self.root_of(self.lowers(container)) as image:
            for parent, folders, files in os.walk(upper):
                for name in sorted([*folders, *files]):
                    full = os.path.join(parent, name)
                    path = full.removeprefix(str(upper))
                    found = os.lstat(full)
                    if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
                        result.append((path, DELETED))
                    elif path not in MOUNTED:
                        result.append((path, MODIFIED if _exists(image, path) else ADDED))
        return sorted(result)

    # roots

    @contextmanager
    def stopped_root(self, container: Container) -> Iterator[int]:
        """A descriptor of a container's files while nothing of it runs; what is written goes to its own layer."""
        folder = self._folders.container(container.id)
        copied = self.copied(container)
        if copied:
            root = os.open(copied, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        else:
            root = overlay(self.lowers(container), folder / "upper", folder / "work")
        try:
            yield root
        finally:
            os.close(root)

    @contextmanager
    def reading_root(self, container: Container) -> Iterator[int]:
        """A descriptor of a container's files for reading, mounts of it left out, whether it runs or not."""
        if self.copied(container):
            with self.stopped_root(container) as root:
                yield root
            return
        with self.root_of((self.upper(container), *self.lowers(container))) as root:
            yield root

    def _compare(self, root: int, image: int, upper: Path) -> None:
        own, old = _readable(root), _readable(image)
        try:
            write_layer(own, old, upper)
        finally:
            os.close(own)
            os.close(old)

    def _compared(self, container: Container) -> list[tuple[str, int]]:
        hidden = {mount.target for mount in container.mounts} | MOUNTED
        with self.stopped_root(container) as root, self.root_of(self.lowers(container)) as image:
            own, old = _readable(root), _readable(image)
            try:
                found = differences(own, old)
            finally:
                os.close(own)
                os.close(old)
        return sorted((entry.path, entry.kind) for entry in found if entry.path not in hidden)

    @contextmanager
    def root_of(self, layers: tuple[Path, ...]) -> Iterator[int]:
        """A descriptor of layers put together, the uppermost first; overlayfs wants two of them at least."""
        root = overlay((*layers, self._empty(), self._empty("emptier"))[: max(2, len(layers))])
        try:
            yield root
        finally:
            os.close(root)

    def _empty(self, name: str = "empty") -> Path:
        folder = self._folders.state / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    # the builder's layers

    @contextmanager
    def new_layer(self, image: ImageView) -> Iterator[tuple[Path, int]]:
        """A folder for a new layer over an image's, and a descriptor of them together. The folder is its user's to discard."""
        self._folders.state.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="build-", dir=self._folders.state))
        (folder / "upper").mkdir(mode=0o755)
        (folder / "work").mkdir()
        if self._copies:
            yield from self._new_copied_layer(image, folder)
            return
        if image.layers:
            shutil.copystat(image.layers[0], folder / "upper")
        root = overlay(image.layers or (self._empty(),), folder / "upper", folder / "work")
        try:
            yield folder / "upper", root
        except BaseException:
            self.discard(folder / "upper")
            raise
        finally:
            os.close(root)

    def _new_copied_layer(self, image: ImageView, folder: Path) -> Iterator[tuple[Path, int]]:
        try:
            copy(image.layers or (self._empty(),), folder / "copy")
            root = os.open(folder / "copy", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield folder / "upper", root
                with self.root_of(image.layers) as old:
                    self._compare(root, old, folder / "upper")
            finally:
                os.close(root)
        except BaseException:
            self.discard(folder / "upper")
            raise

    def with_folder(self, image: ImageView, path: str, user: str) -> Path | None:
        """A layer in which `path` is a folder; None where the image has it."""
        with self.new_layer(image) as (layer, root):
            made = False
            current = ""
            for part in [part for part in path.split("/") if part]:
                current += f"/{part}"
                made = _make_folder(root, current) or made
        if not made:
            self.discard(layer)
            return None
        return layer

    def fill(self, folder: Path, image: ImageView, path: str) -> None:
        """Copy what the image has at `path`, a folder, into `folder`, which takes its owner and rights as well."""
        with self.root_of(image.layers) as root:
            try:
                place = open_within(root, path, os.O_PATH | os.O_DIRECTORY)
            except OSError:
                return
            target = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                copy_tree(place, target)
                found = os.fstat(place)
                os.chown(folder, found.st_uid, found.st_gid)
                os.chmod(folder, stat.S_IMODE(found.st_mode))
            finally:
                os.close(target)
                os.close(place)

    def discard(self, layer: Path) -> None:
        """Remove a layer made by `new_layer`."""
        shutil.rmtree(layer.parent, ignore_errors=True)

    def identity(self, image: ImageView, user: str) -> tuple[int, int]:
        """The numbers of a user of an image. Raises UsageError."""
        with self.root_of(image.layers) as root:
            found = identify(user, read_text(root, "etc/passwd"), read_text(root, "etc/group"), [])
        return found.uid, found.gid


def _make_folder(root: int, path: str) -> bool:
    """Make a folder below `root` unless it is there; whether it was made."""
    try:
        os.close(open_within(root, path, os.O_PATH | os.O_DIRECTORY))
    except FileNotFoundError:
        parent, _, name = path.rpartition("/")
        place = open_within(root, parent or "/", os.O_PATH | os.O_DIRECTORY)
        try:
            os.mkdir(name, 0o755, dir_fd=place)
        finally:
            os.close(place)
        return True
    return False


def read_text(root: int, path: str) -> str:
    """A small text file below a root, "" where there is none."""
    try:
        descriptor = open_within(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return ""
    with open(descriptor, "rb") as file:
        return file.read(TEXT_MAX).decode(errors="replace") if stat.S_ISREG(os.fstat(descriptor).st_mode) else ""


def _readable(place: int) -> int:
    """A descriptor of the same folder whose entries can be listed."""
    return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _exists(root: int, path: str) -> bool:
    try:
        os.close(open_within(root, path, os.O_PATH | os.O_NOFOLLOW))
    except OSError:
        return False
    return True
