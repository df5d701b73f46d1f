"""A backup of something: which objects it has, and where each may differ from what the last backup has.

Disks are frozen by whoever has them (a new layer is begun, which takes milliseconds), and read here from layers that nobody writes any
more: the machine goes on meanwhile. What is kept is what a power cut at that moment would have left, and what its guest had written.
"""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

from gasang.api.client import Client, path_of
from gasang.core.errors import NotFoundError, StateError
from gasang.daemon.containers.packing import Packer
from gasang.daemon.containers.record import VM
from gasang.kinds.vm.snapshot.disks import IDENTITY
from gasang.storage.backup.manifest import Manifest, Object
from gasang.storage.backup.objects import StreamWriter, keep_disk
from gasang.storage.backup.repository import Repository
from gasang.storage.chain import frozen
from gasang.storage.images.table import open_image
from gasang.storage.raw import Raw
from gasang.storage.volumes import layers
from gasang.storage.volumes.folder import read_record

VOLUME, MACHINE, CONTAINER = "volume", "machine", "container"
ROOT, KERNEL, INITRD = "root", "kernel", "initrd"
BOOT: Final = ("Append", "Process", "Root", "Own")
"""What is kept of how a machine boots, beside files."""
_BLOCK: Final = 1 << 20
_LARGE_DIGITS: Final = 4
"""Octal digits of sizes below 4 KiB."""
Told = Callable[[int], None]


class Target(NamedTuple):
    """What is backed up: its kind, its name, and what the daemon says of it."""

    kind: str
    name: str
    found: dict[str, Any]


def find(client: Client, word: str) -> Target:
    """The machine, container or volume of that name; "volume:NAME" is a volume. Raises NotFoundError."""
    name = word.removeprefix("volume:")
    if name == word:
        try:
            found = client.call("GET", path_of("containers", word, "json"))
            return Target(MACHINE if found.get("Kind") == VM else CONTAINER, found["Name"].strip("/"), found)
        except NotFoundError:
            pass
    try:
        return Target(VOLUME, name, client.call("GET", path_of("volumes", name)))
    except NotFoundError as error:
        hint = "gasang ps -a and gasang volume ls list them"
        raise NotFoundError(name[:80], "there is no machine, container or volume of this name", hint) from error


class Taking:
    """One backup under way: `told` hears how many bytes more were read."""

    def __init__(self, client: Client, repository: Repository, target: Target, told: Told, *, incremental: bool) -> None:
        self._client = client
        self._repository = repository
        self._target = target
        self._told = told
        self._former = [each for each in repository.all() if (each.kind, each.name) == target[:2]] if incremental else []
        self._bases: list[tuple[str, str]] = []
        self.base = ""
        self.read = 0

    def run(self) -> Manifest:
        """Read everything and have the backup. Raises GasangError, OSError; there is none then."""
        before = self._repository.stored
        objects, settings = {VOLUME: self._volume, MACHINE: self._machine, CONTAINER: self._container}[self._target.kind]()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        taken = set(self._repository.names())
        names = (f"{self._target.name}-{stamp}{f'-{number}' if number else ''}" for number in range(len(taken) + 1))
        made = Manifest(
            next(name for name in names if name not in taken), self._target.name, self._target.kind,
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), tuple(objects), settings, self.base, self.read,
        )  # fmt: skip
        made = replace(made, stored=self._repository.stored - before)
        self._repository.commit(made)
        for volume, layer in self._bases:  # so that joining layers leaves this one
            self._client.call("POST", path_of("gasang", "volumes", volume, "base"), {"place": self._repository.identity, "layer": layer})
        return made

    # What each kind has.

    def _volume(self) -> tuple[list[Object], dict[str, Any]]:
        found = self._target.found
        settings = {name: found.get(name) for name in ("Driver", "Options", "Labels")}
        return [self._of_volume(found, VOLUME)], settings

    def _container(self) -> tuple[list[Object], dict[str, Any]]:
        found = self._target.found
        mounted = [each for each in found.get("Mounts") or () if each.get("Type") == "volume"]
        if not mounted:
            cause = "it has no volumes, and of a container only those are kept"
            raise StateError(f"container {self._target.name}", cause, "keep its files as an image: gasang commit")
        volumes = [self._client.call("GET", path_of("volumes", each["Name"])) for each in mounted]
        objects = [self._of_volume(each, f"volume:{each['Name']}") for each in volumes]
        notes = {each["Name"]: {name: each.get(name) for name in ("Driver", "Options", "Labels")} for each in volumes}
        return objects, {"Config": found["Config"], "HostConfig": found["HostConfig"], "Volumes": notes}

    def _machine(self) -> tuple[list[Object], dict[str, Any]]:
        place = path_of("gasang", "vms", self._target.name, "freeze")
        frozen_machine = self._client.call("POST", place)
        try:
            return self._of_machine(frozen_machine)
        finally:
            self._client.call("DELETE", place)

    def _of_machine(self, found: dict[str, Any]) -> tuple[list[Object], dict[str, Any]]:
        machine, files = found["Machine"], found["Files"]
        objects: list[Object] = []
        if files:
            objects.append(self._of_root(Path(files["Disk"]), Path(found["Folder"])))
            objects += [self._of_file(name, Path(files[name.capitalize()])) for name in (KERNEL, INITRD)]
        for number, (path, _, *more) in enumerate(machine.get("disks") or ()):
            if more and not set(more[0]) <= {"limits", "form"}:
                cause = f"its disk {more[0].get('address', path)} is encrypted, or another's"
                raise StateError(f"machine {self._target.name}", cause, "back that up where it lies")
            objects.append(self._of_disk(f"disk:{number}", Path(path)))
        known = {each["Mountpoint"]: each for each in self._client.call("GET", "/volumes")["Volumes"] or ()}
        mounted = [(known[path], target, read_only) for path, target, read_only in _mounted(machine) if path in known]
        notes = {}
        for volume, target, read_only in mounted:
            objects.append(self._of_volume(volume, f"volume:{volume['Name']}"))
            notes[volume["Name"]] = {name: volume.get(name) for name in ("Driver", "Options", "Labels")} | {
                "Target": target, "ReadOnly": read_only,
            }  # fmt: skip
        settings = {name: found[name] for name in ("Machine", "HostConfig", "Labels")}
        return objects, {**settings, "Volumes": notes, **{name: files[name] for name in BOOT if name in files}}

    # What each is read from.

    def _of_volume(self, found: dict[str, Any], name: str) -> Object:
        if found["Driver"] != "disk":
            return self._of_folder(name, Path(found["Mountpoint"]))
        volume, folder = found["Name"], Path(found["Mountpoint"])
        layer = self._client.call("POST", path_of("gasang", "volumes", volume, "freeze"))["Layer"]
        record = read_record(folder)
        self._bases.append((volume, layer))
        chain = list(record.chain(layer))
        base = self._base(name, lambda source: source.get("layer") in chain)
        with closing(layers.open_chain(folder, record, layer, read_only=True)) as disk:
            runs = layers.changes(folder, record, layer, base.source["layer"]) if base else list(disk.data())
            return self._keep(name, disk, runs, {"layer": layer, "file_system": record.file_system, "format": record.form}, base)

    def _of_root(self, path: Path, folder: Path) -> Object:
        with ExitStack() as cleanup:
            below = Raw.open(path, read_only=True)
            cleanup.callback(below.close)
            disk = frozen(below, folder, IDENTITY)
            cleanup.pop_all()
            cleanup.callback(disk.close)
            info = path.stat()
            source: dict[str, Any] = {"base": [str(path), info.st_size, info.st_mtime_ns], "layers": disk.layers()}

            def fits(before: dict[str, Any]) -> bool:
                had = before.get("layers", ())
                return bool(before.get("base") == source["base"] and source["layers"][: len(had)] == had)

            base = self._base(ROOT, fits)
            runs = disk.written(len(base.source["layers"])) if base else layers.merged([*below.data(), *disk.written()])
            return self._keep(ROOT, disk, list(runs), source, base)

    def _of_disk(self, name: str, path: Path) -> Object:
        with closing(open_image(path, read_only=True)) as disk:
            return self._keep(name, disk, list(disk.data()), {"path": str(path)}, None)

    def _of_file(self, name: str, path: Path) -> Object:
        info = path.stat()
        source = {"path": str(path), "size": info.st_size, "modified": info.st_mtime_ns}
        if (base := self._base(name, lambda before: before == source)) is not None:
            return base
        writer = StreamWriter(self._repository, name)
        with path.open("rb") as file:
            for data in iter(lambda: file.read(_BLOCK), b""):
                writer.write(data)
        self.read += writer.size
        return writer.finish(source)

    def _of_folder(self, name: str, folder: Path) -> Object:
        writer = _Archive(StreamWriter(self._repository, name, self._told))
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with tarfile.open(fileobj=cast("BinaryIO", writer), mode="w|", format=tarfile.PAX_FORMAT, bufsize=tarfile.BLOCKSIZE) as archive:
                Packer(archive).add_all(place, "")
        finally:
            os.close(place)
        self.read += writer.stream.size
        return writer.stream.finish({"folder": str(folder)})

    def _keep(self, name: str, disk: Any, runs: list[tuple[int, int]], source: dict[str, Any], base: Object | None) -> Object:
        made, read = keep_disk(self._repository, name, disk, runs, source, base, self._told)
        self.read += read
        return made

    def _base(self, name: str, fits: Callable[[dict[str, Any]], bool]) -> Object | None:
        """The newest backup's object of that name that this one can build on."""
        for former in self._former:
            found = former.object(name)
            if found is not None and fits(found.source):
                self.base = former.identity
                return found
        return None


class _Archive:
    """Where a tar archive is written to: larger files begin and end chunks, so that what did not change is stored once."""

    def __init__(self, stream: StreamWriter) -> None:
        self.stream = stream
        self._after_large = False

    def write(self, data: bytes) -> int:
        """Take a piece; headers (pax(1), "ustar Interchange Format") stand in blocks of their own."""
        if len(data) == tarfile.BLOCKSIZE and data[257:262] == b"ustar":
            large = len(data[124:136].strip(b"\0 ").lstrip(b"0")) > _LARGE_DIGITS
            if large or self._after_large:
                self.stream.cut()
            self._after_large = large
        return self.stream.write(data)


def _mounted(machine: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    for group in ("volumes", "folders"):
        yield from ((str(path), str(target), bool(read_only)) for path, target, read_only in machine.get(group) or ())
