"""A backup made anew: a volume, or a machine with all its disks; of a container its volumes."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from gasang.api.client import Client, path_of
from gasang.cli.backup.taking import BOOT, CONTAINER, INITRD, KERNEL, MACHINE, ROOT, VOLUME
from gasang.core.errors import BadInputError, GasangError, NotFoundError, StateError
from gasang.daemon.containers.extract import Extraction
from gasang.storage.backup.folder import telling
from gasang.storage.backup.manifest import DISK, Manifest, Object
from gasang.storage.backup.objects import chunks_of, restore_disk
from gasang.storage.backup.repository import Repository
from gasang.storage.images.table import create_image
from gasang.storage.volumes.volume import Volume

Told = Callable[[int], None]


class Giving:
    """One restore: `name` is what is made, and `made` the names of all that was. `told` hears how many bytes more were written.

    Only with `host_paths` a machine has what it had of its host by path: whoever wrote the backup chose these. `left_out` are the others.
    """

    def __init__(self, client: Client, repository: Repository, kept: Manifest, name: str, told: Told, *, host_paths: bool = False) -> None:
        self._client = client
        self._repository = repository
        self._kept = kept
        self._name = name or kept.name
        self._told = told
        self._host_paths = host_paths
        self.made: list[str] = []
        self.left_out: list[str] = []

    def run(self) -> None:
        """Make it. Raises GasangError, OSError; what was made of it is removed again then."""
        with contextlib.ExitStack() as undo:
            {VOLUME: self._volume, MACHINE: self._machine, CONTAINER: self._container}[self._kept.kind](undo)
            undo.pop_all()

    def _volume(self, undo: contextlib.ExitStack) -> None:
        self._give_volume(self._object(VOLUME), self._name, self._kept.settings, undo)

    def _container(self, undo: contextlib.ExitStack) -> None:
        for name, note in self._notes():
            self._give_volume(self._object(f"volume:{name}"), self._free(name), note, undo)

    def _machine(self, undo: contextlib.ExitStack) -> None:
        settings = self._kept.settings
        self._must_be_free("containers", self._name, "json")
        volumes = []
        for name, note in self._notes():
            given = self._free(name)
            self._give_volume(self._object(f"volume:{name}"), given, note, undo)
            volumes.append({"Name": given, "Target": note["Target"], "ReadOnly": note["ReadOnly"]})
        machine = {**settings["Machine"], "volumes": [], "hostname": ""}
        named = {note["Target"] for _, note in self._notes()}
        folders = [each for each in machine.get("folders") or () if each[1] not in named]
        machine["folders"] = folders if self._host_paths else []
        self.left_out += [] if self._host_paths else [f"folder {each[0]} of the host, at {each[1]}" for each in folders]
        if machine.get("kernel") and not self._host_paths:
            cause = f"it boots the host's file {machine['kernel']}, which the backup names and has not"
            raise StateError(f"machine {self._name}", cause, "add --host-paths, if that is the right one")
        disks, machine["disks"] = machine.get("disks") or [], []
        body = {**{name: settings[name] for name in ("HostConfig", "Labels")}, "Machine": machine, "Volumes": volumes}
        key = self._client.call("POST", "/gasang/vms/create", {"name": self._name}, body)["Id"]
        undo.callback(self._remove, "containers", key)
        if self._kept.object(ROOT) is not None or disks:
            files = {**{name: settings[name] for name in BOOT if settings.get(name)}, "Disks": [each[1] for each in disks]}
            given = self._client.call("POST", path_of("gasang", "vms", key, "adopt"), body=files)
            if self._kept.object(ROOT) is not None:
                place = Path(given["Folder"])
                for name in (KERNEL, INITRD):
                    self._give_file(self._object(name), place / name)
                self._give_disk(self._object(ROOT), place / "disk")
            for number, path in enumerate(given["Disks"]):
                self._give_disk(self._object(f"disk:{number}"), Path(path))
        self.made.append(f"machine {self._name}")

    # Pieces.

    def _object(self, name: str) -> Object:
        found = self._kept.object(name)
        if found is None:
            raise BadInputError(f"backup {self._kept.identity}", f"it has no {name}", "use another backup")
        return found

    def _notes(self) -> list[tuple[str, dict[str, Any]]]:
        found = self._kept.settings.get("Volumes") or {}
        return [(str(name), note) for name, note in found.items()]

    def _remove(self, *path: str) -> None:
        """What was made in vain; the cause of that is told, not what else goes wrong."""
        with contextlib.suppress(GasangError):
            self._client.call("DELETE", path_of(*path), {"force": 1})

    def _must_be_free(self, *path: str) -> None:
        with contextlib.suppress(NotFoundError):
            self._client.call("GET", path_of(*path))
            raise StateError(self._name, "there is one of this name", "give the new one another: --name NEW")

    def _free(self, name: str) -> str:
        """The volume's own name, or one that says whose it is."""
        for number in range(100):
            wanted = name if not number else f"{self._name}-{name}" if number == 1 else f"{self._name}-{name}-{number}"
            try:
                self._client.call("GET", path_of("volumes", wanted))
            except NotFoundError:
                return wanted
        raise StateError(f"volume {name}", "too many of this name are there", "remove some")

    def _give_volume(self, kept: Object, name: str, note: dict[str, Any], undo: contextlib.ExitStack) -> None:
        self._must_be_free("volumes", name)
        options = note.get("Options") or {}
        if kept.kind == DISK:
            options = {"size": str(kept.size), "format": str(kept.source.get("format") or "qcow2")}
        body = {"Name": name, "Driver": note.get("Driver") or "local", "DriverOpts": options or None, "Labels": note.get("Labels")}
        made = self._client.call("POST", "/volumes/create", body=body)
        undo.callback(self._remove, "volumes", name)
        place = Path(made["Mountpoint"])
        if kept.kind == DISK:
            with closing(Volume.open(place)) as volume:
                restore_disk(self._repository, kept, volume, self._told)
                volume.flush()
                volume.has(str(kept.source.get("file_system") or ""))
        else:
            self._give_folder(kept, place)
        self.made.append(f"volume {name}")

    def _give_folder(self, kept: Object, place: Path) -> None:
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            extraction = Extraction(folder)
            stream = io.BufferedReader(_Stream(chunks_of(self._repository, kept), self._told), 1 << 20)
            with stream as source, tarfile.open(fileobj=source, mode="r|") as archive:
                for entry in archive:
                    extraction.one(entry, archive.extractfile(entry) if entry.isreg() else None)
            extraction.finish()
        except (tarfile.TarError, EOFError) as error:
            raise BadInputError(f"object {kept.name[:80]}", f"it is no archive ({error})", "use another backup") from error
        finally:
            os.close(folder)

    def _give_file(self, kept: Object, path: Path) -> None:
        with telling(f"file {path}"), path.open("wb") as file:
            for _, data in chunks_of(self._repository, kept):
                file.write(data)
                self._told(len(data))
            file.flush()
            os.fsync(file.fileno())

    def _give_disk(self, kept: Object, path: Path) -> None:
        with telling(f"disk {path}"), closing(create_image(path, "raw", kept.size)) as disk:
            restore_disk(self._repository, kept, disk, self._told)
        with telling(f"disk {path}"), path.open("rb") as file:
            os.fsync(file.fileno())


class _Stream(io.RawIOBase):
    """A kept stream as a file to read."""

    def __init__(self, chunks: Iterator[tuple[int, bytes]], told: Told) -> None:
        self._chunks = chunks
        self._told = told
        self._rest = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, room: Any) -> int:
        """Fill `room` as far as a chunk does; 0 at the end."""
        if not self._rest:
            self._rest = next(self._chunks, (0, b""))[1]
            self._told(len(self._rest))
        step = min(len(room), len(self._rest))
        room[:step], self._rest = self._rest[:step], self._rest[step:]
        return step
