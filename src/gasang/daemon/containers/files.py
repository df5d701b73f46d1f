"""Files in and out of containers: what ``docker cp``, ``export`` and ``commit`` need."""

from __future__ import annotations

import base64
import errno
import json
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, NamedTuple

from gasang.core.errors import GasangError, NotFoundError, PermissionDeniedError, UsageError
from gasang.daemon.containers.extract import Extraction
from gasang.daemon.containers.packing import BLOCK, Packer, pack
from gasang.daemon.containers.record import Container, Mount
from gasang.daemon.containers.users import Mapped
from gasang.daemon.services import Services
from gasang.host.idmapped import as_owner
from gasang.host.trees import absolute, open_within
from gasang.kinds.container.parts import Part


class Place(NamedTuple):
    """A descriptor of a root, a path below it, whether that may be written, and how its files' owners are seen from here."""

    root: int
    path: str
    writable: bool
    users: Mapped | None


class ContainerFiles:
    """The files of a daemon's containers, as a process in each would see them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @contextmanager
    def root(self, container: Container) -> Iterator[tuple[int, list[Mount]]]:
        """A descriptor of a container's root, and the mounts that it does not show because nothing of the container runs."""
        if container.status.alive:
            root = os.open(f"/proc/{container.status.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield root, []
            finally:
                os.close(root)
        else:
            with self._services.layers.stopped_root(container) as root:
                yield root, [mount for mount in container.mounts if mount.kind != "tmpfs"]

    @contextmanager
    def _place(self, container: Container, path: str) -> Iterator[Place]:
        """The container's own root, or a mount's source, and the path below it."""
        clean = absolute(path)
        users = self._services.users.of(container) if container.status.alive else None
        with self.root(container) as (root, unseen):
            fits = [mount for mount in unseen if clean == mount.target or clean.startswith(mount.target.rstrip("/") + "/")]
            if not fits:
                yield Place(root, clean, not container.host["ReadonlyRootfs"], users)
                return
            mount = max(fits, key=lambda entry: len(entry.target))
            if mount.kind == "bind":  # a volume's files are as on the disk, and so are the container's own
                users = self._services.users.intended(container)
            with _opened(mount.part) as source:
                if stat.S_ISDIR(os.fstat(source).st_mode):
                    yield Place(source, clean[len(mount.target.rstrip("/")) :] or "/", mount.writable, users)
                    return
            with _opened(mount.part.above()) as folder:
                yield Place(folder, f"/{mount.part.name}", mount.writable, users)

    def facts(self, container: Container, path: str) -> str:
        """What is at a path, as the header X-Docker-Container-Path-Stat has it. Raises NotFoundError."""
        with self._place(container, path) as place:
            found, link = _look(place.root, place.path, container, path)
        document = {
            "name": posixpath.basename(absolute(path)) or "/",
            "size": found.st_size,
            "mode": go_mode(found.st_mode),
            "mtime": _time(found.st_mtime),
            "linkTarget": link,
        }
        return base64.b64encode(json.dumps(document).encode()).decode()

    def read(self, container: Container, path: str, target: BinaryIO) -> None:
        """Write a tar of what is at `path`, named by its last part. Raises NotFoundError."""
        name = posixpath.basename(absolute(path)) or "/"
        follows = path.endswith("/.")
        with self._place(container, path) as place:
            _look(place.root, place.path, container, path)
            flags = os.O_PATH | (0 if follows else os.O_NOFOLLOW)
            opened = open_within(place.root, place.path, flags)
            try:
                with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT, bufsize=BLOCK) as archive:
                    Packer(archive, place.users).add(opened, "." if follows else name)
            finally:
                os.close(opened)

    def export(self, container: Container, target: BinaryIO) -> None:
        """Write a tar of everything but mounts."""
        with self._services.layers.reading_root(container) as root:
            pack(root, target)

    def write(self, container: Container, path: str, source: BinaryIO, *, keeps_kind: bool, owner: tuple[int, int] | None = None) -> None:
        """Unpack a tar in the folder at `path`. Raises NotFoundError, UsageError, PermissionDeniedError, BadInputError."""
        with self._place(container, path) as place:
            if not place.writable:
                raise PermissionDeniedError(
                    container.subject, "container rootfs is marked read-only", "copy to a volume that can be written"
                )
            try:
                folder = open_within(place.root, place.path, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                raise _missing(container, path) from None
            except NotADirectoryError:
                raise UsageError("extraction point", "it is not a directory", "name a folder") from None
            except OSError as error:
                raise _unusable(path, error) from error
            try:
                _extract(folder, source, place.users, keeps_kind, owner, alive=container.status.alive)
            except OSError as error:
                raise GasangError(f"path {path[:200]}", f"it cannot be written to ({error.strerror})", "copy to another folder") from error
            finally:
                os.close(folder)


def _extract(
    folder: int, source: BinaryIO, users: Mapped | None, keeps_kind: bool, owner: tuple[int, int] | None, *, alive: bool
) -> None:
    if users is None:
        Extraction(folder, keeps_kind=keeps_kind, owner=owner).all(source)
        return
    extraction = Extraction(folder, keeps_kind=keeps_kind, owner=owner and users.outside(*owner), outside=users.outside)
    if alive:  # its mounts know no other users
        as_owner(*users.outside(0, 0), lambda: extraction.all(source))
    else:
        extraction.all(source)


@contextmanager
def _opened(part: Part) -> Iterator[int]:
    place = part.open()
    try:
        yield place
    finally:
        os.close(place)


_GO_TYPES: Final = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
    stat.S_IFCHR: (1 << 26) | (1 << 21),
}
"""The type bits of a mode as Go writes them (io/fs, FileMode)."""


def go_mode(mode: int) -> int:
    """A mode of stat(2) as Go writes it."""
    return stat.S_IMODE(mode) & 0o777 | _GO_TYPES.get(stat.S_IFMT(mode), 0)


def _time(seconds: float) -> str:
    from gasang.daemon.containers.names import stamp

    return stamp(int(seconds * 1e9))


def _missing(container: Container, path: str) -> NotFoundError:
    return NotFoundError(
        f"Could not find the file {path[:200]} in container {container.name}", "it is not there", "gasang exec ls tells what is"
    )


def _unusable(path: str, error: OSError) -> GasangError:
    kind = UsageError if error.errno in (errno.ENAMETOOLONG, errno.ELOOP) else GasangError
    return kind(f"path {path[:200]}", f"it cannot be looked at ({error.strerror})", "name another")


def _look(root: int, inside: str, container: Container, path: str) -> tuple[os.stat_result, str]:
    try:
        place = open_within(root, inside, os.O_PATH | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(container, path) from None
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        found = os.fstat(place)
        if not stat.S_ISLNK(found.st_mode):
            if path.endswith("/") and not stat.S_ISDIR(found.st_mode):
                raise UsageError(f"path {path[:200]}", "not a directory", "leave the slash out")
            return found, ""
        text = os.readlink("", dir_fd=place)
    finally:
        os.close(place)
    return found, posixpath.normpath(posixpath.join(posixpath.dirname(inside), text))
