"""Making a container: what the client asks, what the image adds, what is refused, and the first files on disk."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import GasangError, NotFoundError, StateError, UsageError
from gasang.daemon.containers import oci, settings, signals
from gasang.daemon.containers.binds import mounts_of
from gasang.daemon.containers.details import details
from gasang.daemon.containers.names import find, new_id, new_name, now
from gasang.daemon.containers.record import Container, Mount
from gasang.daemon.networks.catalogue import WITHOUT_BRIDGE
from gasang.daemon.networks.endpoints import WANTED_MAC, asked_of_all
from gasang.daemon.records import Table
from gasang.daemon.services import Services
from gasang.daemon.views import ImageView

NO_WAY_OUT: Final = "Networks of containers have no way out of this host; --network host has one"
NO_LIMITS: Final = "This daemon runs without root and makes no control groups: limits of them are not kept"
WEIGHTS: Final = {
    "BlkioWeight": "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
    "BlkioWeightDevice": "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
}
"""What is said of weights where there are none."""


class Creation:
    """Makes containers. `existing` are those that are there; `table` keeps the record of one under way, should we be killed."""

    def __init__(self, services: Services, existing: Callable[[], list[Container]], table: Table) -> None:
        self._services = services
        self._existing = existing
        self._table = table
        self._reserved: set[str] = set()

    def check_free(self, name: str) -> None:
        """Raise StateError where a container or a creation under way has the name."""
        for entry in self._existing():
            if entry.name == name:
                raise StateError(
                    f'Conflict. The container name "/{name}" is already in use by container "{entry.id}"',
                    "You have to remove (or rename) that container to be able to reuse that name",
                )
        if name in self._reserved:
            raise StateError(f'Conflict. The container name "/{name}" is already in use', "a container of this name is being made")

    async def create(self, document: dict[str, Any], name: str, platform: str, step: bool) -> tuple[Container, list[str]]:
        """A new container, its folder on disk, and warnings. Raises GasangError; then nothing is left behind."""
        config = settings.config_of(document)
        host = settings.host_config_of(document.get("HostConfig"))
        settings.check_reservation(host)
        if not config["Image"]:
            raise UsageError("container", "no image is named", "give the name of an image")
        image = self._services.images.view(config["Image"], platform)
        with self.naming(name) as chosen:
            try:
                return await self._make(config, host, document, image, chosen, step)
            except NotFoundError as error:  # "not found" is the image alone: clients pull it when they are told so
                raise UsageError(error.subject, error.cause, error.hint) from error

    @contextmanager
    def naming(self, name: str) -> Iterator[str]:
        """A name for what is made in the block, `name` or one of ours, which nobody else gets meanwhile. Raises UsageError, StateError."""
        taken = {entry.name for entry in self._existing()} | self._reserved
        chosen = settings.checked_name(name) if name else new_name(taken.__contains__)
        self.check_free(chosen)
        self._reserved.add(chosen)
        try:
            yield chosen
        finally:
            self._reserved.discard(chosen)

    async def _make(
        self, config: dict[str, Any], host: dict[str, Any], document: dict[str, Any], image: ImageView, name: str, step: bool
    ) -> tuple[Container, list[str]]:
        discarded = await asyncio.to_thread(self._discard, host)
        merged = settings.merged(config, image.config)
        key = new_id()
        if not merged["Hostname"] and host["NetworkMode"] != "host" and host["UTSMode"] != "host":
            merged["Hostname"] = key[:12]
        for field, paths in (("MaskedPaths", oci.MASKED), ("ReadonlyPaths", oci.READONLY)):
            if host[field] is None:
                host[field] = [] if host["Privileged"] else list(paths)
        endpoints = asked_of_all(document, host)
        _check_address(document, host, endpoints)
        container = Container(key, name, now(), config["Image"], image.id, merged, host, endpoints=endpoints, step=step)
        if not container.command():
            raise UsageError("No command specified", "neither the client nor the image names one", "give a command")
        signals.number_of(merged["StopSignal"] or "TERM")
        details(container)
        self._services.users.check(container)
        oci.capabilities(host, host["Privileged"])
        container.mounts = mounts_of(merged, host, self._inherited(host["VolumesFrom"] or []))
        self._services.networks.modes.settle(container)
        self._services.networks.modes.check(container)
        await self._make_files(container, image)
        more = self._without_root(container) if self._services.users.is_rootless else []
        return container, [*_warnings(host), *discarded, *more]

    def _without_root(self, container: Container) -> list[str]:
        """What a container of a user who is not root will not have, although it asks for it."""
        bridged = [name for name in container.endpoints if name not in WITHOUT_BRIDGE]
        limits = oci.resources(container.host)
        return [*(way_out(self._services) if bridged else []), *([f"{NO_LIMITS} ({', '.join(limits)})"] if limits else [])]

    def _discard(self, host: dict[str, Any]) -> list[str]:
        """Take out of HostConfig the weights of block devices where this host keeps none; Docker's warnings of it."""
        said = [name for name in WEIGHTS if host[name]]
        if not said or self._services.control.weighs_blocks:
            return []
        for name in said:
            host[name] = settings.HOST_CONFIG[name].default
        return [WEIGHTS[name] for name in said]

    async def _make_files(self, container: Container, image: ImageView) -> None:
        """Its layer, its hold on the image, its volumes. Where it fails all is as before; the next daemon sees to that if we are killed."""
        own = [mount for mount in container.mounts if mount.kind == "volume" and not mount.name]
        for mount in own:
            mount.name = new_id()
        container.status.status = "creating"
        self._table.put(container.id, container.as_record())
        try:
            await asyncio.to_thread(self._services.layers.prepare, container, image)
            self._services.images.pin(container.id, image.id)
            await asyncio.to_thread(self._make_volumes, container, image, {mount.name for mount in own})
        except (GasangError, OSError):
            await asyncio.to_thread(shutil.rmtree, self._services.folders.container(container.id), ignore_errors=True)
            self._services.images.unpin(container.id)
            for mount in own:
                self._services.volumes.remove(mount.name, [], force=True)
            self._table.drop(container.id)
            raise
        container.status.status = "created"

    def _inherited(self, sources: list[str]) -> list[Mount]:
        """What --volumes-from brings. Raises NotFoundError, UsageError."""
        entries = {entry.id: entry for entry in self._existing()}
        names = {entry.name: entry.id for entry in entries.values()}
        result = []
        for source in sources:
            word, _, mode = source.partition(":")
            if mode not in ("", "ro", "rw", "z", "Z"):
                raise UsageError(f"volumes from {source[:80]!r}", f"{mode[:20]!r} is no mode", "use ro or rw")
            for mount in entries[find(word, names, entries, "container")].mounts:  # a virtual machine has none
                if mount.kind != "tmpfs":
                    writable = mount.writable and mode != "ro"
                    result.append(replace(mount, writable=writable, mode=mode, copies=False))
        return result

    def _make_volumes(self, container: Container, image: ImageView, anonymous: set[str]) -> None:
        """Volumes that are not there are made; an empty one gets what the image has in its place."""
        for mount in container.mounts:
            if mount.kind == "volume":
                made = self._services.volumes.create(mount.name, {}, anonymous=mount.name in anonymous)
                mount.name, mount.source = made["Name"], made["Mountpoint"]
                if image.layers and mount.copies:
                    self._fill(mount, image)

    def _fill(self, mount: Mount, image: ImageView) -> None:
        """Give an empty volume, or a folder of it, what the image has in its place; what is wrong with it is told at the start."""
        try:
            place = mount.part.open()
        except GasangError:
            return
        try:
            if stat.S_ISDIR(os.fstat(place).st_mode) and not os.listdir(held := f"/proc/self/fd/{place}"):
                self._services.layers.fill(Path(held), image, mount.target)
        finally:
            os.close(place)


def _check_address(document: dict[str, Any], host: dict[str, Any], endpoints: dict[str, dict[str, Any]]) -> None:
    """Raise UsageError where the container's hardware address is said twice, and differently."""
    main = endpoints.get("bridge" if host["NetworkMode"] in ("", "default") else host["NetworkMode"], {})
    said, wanted = document.get("MacAddress"), main.get(WANTED_MAC)
    if isinstance(said, str) and said and wanted and said.replace("-", ":").lower() != wanted.lower():
        sentence = "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty"
        raise UsageError(sentence, f"they are {said[:40]} and {wanted}", "say it for the network alone")


def _warnings(host: dict[str, Any]) -> list[str]:
    ignored = {
        "VolumeDriver": "there is only the local volume driver",
    }
    warnings = [words for name, words in ignored.items() if host[name] not in ("", "default", "local")]
    if host["NetworkMode"] == "host" and (host["PortBindings"] or host["PublishAllPorts"]):
        warnings.append("Published ports are discarded when using host network mode")
    if host["OomKillDisable"] and not host["Memory"]:
        sentence = "OOM killer is disabled for the container, but no memory limit is set, this can result in"
        warnings.append(f"{sentence} the system running out of resources.")
    if any(option.startswith(("apparmor=", "label=", "label:", "apparmor:")) for option in host["SecurityOpt"] or []):
        warnings.append("this host has neither AppArmor nor SELinux in use; their options are ignored")
    return warnings


def way_out(services: Services) -> list[str]:
    """What is to be said of the way out that networks of a user who is not root have."""
    problem = services.networks.way_out.problem
    return [f"{NO_WAY_OUT} ({problem})"] if problem else []
