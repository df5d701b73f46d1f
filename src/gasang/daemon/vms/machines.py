"""What can be done to virtual machines beyond what can be done to any machine: make, keep, restore, fork."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections import deque
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import BadInputError, GasangError, NotFoundError, StateError, UnsupportedError, UsageError
from gasang.daemon.containers import settings, signals
from gasang.daemon.containers.fields import Field, mapping, maps, read, text, text_map, truth, whole
from gasang.daemon.containers.lives import Lives
from gasang.daemon.containers.names import new_id, now
from gasang.daemon.containers.record import VM, Container
from gasang.daemon.networks import endpoints, wanted_ports
from gasang.daemon.networks.endpoints import asked_of_all
from gasang.daemon.services import Services
from gasang.daemon.vms.changes import changes
from gasang.daemon.vms.files import GuestFiles
from gasang.daemon.vms.room import Room
from gasang.daemon.vms.volumes import MachineVolumes
from gasang.daemon.vms.ways import Forked, Restored, VmWays
from gasang.daemon.volumes import DISK
from gasang.devices.virtio.net import VirtioNet
from gasang.images.image_process import PROCESS, read_process
from gasang.images.initramfs import ImageProcess
from gasang.images.reference import parse_reference
from gasang.images.store import Image
from gasang.kinds.vm.platforms import default_architecture
from gasang.kinds.vm.process.births import FILES
from gasang.kinds.vm.process.jail import NAME, noted
from gasang.kinds.vm.process.settings import MachineSettings
from gasang.kinds.vm.snapshot import folder as snapshots
from gasang.kinds.vm.snapshot.snapshot import Snapshot
from gasang.network.mode import HOST, MACHINE, NONE, mode_of
from gasang.storage.shelf import user_shelf

WISH: Final[dict[str, Field]] = {
    "Machine": mapping({}), "Volumes": maps(), "HostConfig": mapping({}), "Labels": text_map({}), "StdinOnce": truth(),
    "ExposedPorts": mapping(),
    "NetworkingConfig": mapping(), "MacAddress": text(), "StopSignal": text(), "StopTimeout": whole(None), "Healthcheck": mapping(),
}  # fmt: skip
"""What a client says of a new machine: MachineSettings, of HostConfig what is not the kernel's, and what any machine has."""
VOLUME: Final[dict[str, Field]] = {"Name": text(), "Target": text(), "ReadOnly": truth()}
"""A volume that a machine is to have."""
CHANGES: Final[dict[str, Field]] = {"Memory": whole(), "NanoCpus": whole(), "RestartPolicy": mapping({})}
"""What can be changed of a machine."""
OF_ANY: Final = frozenset({
    "AutoRemove", "RestartPolicy", "LogConfig", "ConsoleSize", "NetworkMode", "PortBindings", "PublishAllPorts", "Dns", "DnsSearch",
    "DnsOptions",
})  # fmt: skip
"""Fields of HostConfig that any machine has."""
SNAPSHOT_TIME: Final = 600.0
MOST_TWINS: Final = 1000
AT_ONCE: Final = 2
"""Twins that are being made at the same time: while the parent forks, the next one's networks and stand-in are made."""
FLOCK: Final = 4
"""So many twins are worth that their parent's guest writes its disk back first, which costs it what a command costs."""


class Machines:
    """The virtual machines of a daemon; `lives` has them, with the containers."""

    def __init__(self, services: Services, lives: Lives) -> None:
        self._services = services
        self._lives = lives
        self.ways = VmWays(services, lambda container: lives.life(container).process)
        self.volumes = MachineVolumes(services, lives, self.ways)
        self.ways.on_forget = self.volumes.forget
        self.files = GuestFiles(self.ways)
        self._naming_twins = asyncio.Lock()
        self._cloning = asyncio.Lock()
        """Held from the clones of volumes to the fork: they would lack what the fork of another has changed."""

    def find(self, word: str) -> Container:
        """The machine of a name, an id or the beginning of one. Raises NotFoundError, UsageError, UnsupportedError for a container."""
        found = self._lives.find(word)
        if found.kind != VM:
            raise UnsupportedError(found.subject, "only virtual machines have snapshots and twins", "make one with gasang run -d --vm")
        return found

    async def create(self, document: Any, name: str) -> Container:
        """A new machine that does not run yet. Raises UsageError, StateError, NotFoundError for an image that is not here."""
        wish = read(document, WISH, "machine")
        made = MachineSettings.of_document(wish["Machine"])
        if made.snapshot:
            raise UsageError("machine setting snapshot", "a machine is restored by its own verb", "leave it out")
        host = _host(wish["HostConfig"], made)
        image = await asyncio.to_thread(_image, made) if made.image and user_shelf().disk(made.image) is None else None
        with self._lives.naming(name) as chosen:
            machine = {**wish["Machine"], **self._volumes(wish["Volumes"] or [], made), "hostname": made.hostname or _hostname(chosen)}
            MachineSettings.of_document(machine)
            config = _config(made, {**wish, "Hostname": machine["hostname"]}, image)
            machine["stop_signal"] = signals.number_of(config["StopSignal"] or "TERM")
            container = Container(
                new_id(), chosen, now(), made.image or made.kernel, image.digest if image else "", config, host,
                endpoints=asked_of_all(wish, host), kind=VM, machine=machine,
            )  # fmt: skip
            container.family = container.short
            _check_card(container)
            self._services.networks.modes.settle(container)
            self._services.networks.modes.check(container)
            self.ways.folder(container).mkdir(parents=True, mode=0o710)
            self._lives.add(container)
        return container

    def _volumes(self, asked: list[dict[str, Any]], made: MachineSettings) -> dict[str, Any]:
        """What a machine's settings say of volumes by name: those that are disks, and the host's folders with those that are not.

        One that is not there is made, as a folder, as for containers. Raises UsageError.
        """
        folders: list[list[Any]] = [list(each) for each in made.folders]
        volumes: list[list[Any]] = []
        for each in asked:
            wish = read(each, VOLUME, "volume of a machine")
            found = self._services.volumes.create(wish["Name"], {}, driver=self._services.volumes.driver_of(wish["Name"]))
            place = found["Mountpoint"]
            (volumes if found["Driver"] == DISK else folders).append([place, wish["Target"], wish["ReadOnly"]])
        return {"folders": folders, "volumes": volumes} if asked else {}

    def jail(self, container: Container) -> dict[str, str]:
        """What holds of the jail of its process, as it was last started: part → "", or why not."""
        return noted(self.ways.folder(container))

    async def update(self, container: Container, document: Any) -> list[str]:
        """Change memory, processors and the restart policy; warnings. Raises UsageError, and nothing has changed then.

        Memory up to what it was started with is had at once, by its balloon; all else from the next start on.
        """
        said = {name: value for name, value in read(document, CHANGES, "machine").items() if value}
        host = settings.host_config_of({**container.host, "RestartPolicy": said.get("RestartPolicy", container.host["RestartPolicy"])})
        changed = dict(container.machine)
        if "Memory" in said:
            changed["memory"] = said["Memory"]
        if "NanoCpus" in said:
            changed["cpus"] = -(-said["NanoCpus"] // 1_000_000_000)
        MachineSettings.of_document(changed)
        warnings = []
        if container.status.alive and "Memory" in said:
            left = await self.ways.ask(container, "memory", {"bytes": said["Memory"]})
            if left["bytes"] < said["Memory"]:
                warnings.append(f"{container.subject} has more memory than it was started with from its next start on")
        if container.status.alive and changed.get("cpus") != container.machine.get("cpus"):
            warnings.append(f"{container.subject} has other processors from its next start on")
        container.machine, container.host = changed, host
        self._lives.save(container)
        self._services.tell(container, "update")
        return warnings

    async def changes(self, container: Container) -> list[tuple[str, int]]:
        """What differs from its image's files. Raises as changes.changes."""
        return await asyncio.to_thread(changes, self.ways, container)

    # snapshots

    async def snapshot(self, container: Container, name: str) -> dict[str, Any]:
        """Keep its present state. Raises UsageError, StateError for one that does not run or a name that is taken, OutOfSpaceError."""
        snapshots.check_name(name)
        if not container.status.alive:
            raise StateError(container.subject, f"it is {container.status.status}", "start it first")
        try:
            await self.ways.ask(container, "snapshot", {"name": name}, SNAPSHOT_TIME)
        except GasangError:
            await self.volumes.give_up(container, name)
            raise
        self._services.tell(container, "snapshot", {"snapshot": name})
        return await asyncio.to_thread(_about, self.volumes.store(container) / name)

    async def snapshots(self, container: Container) -> list[dict[str, Any]]:
        """Its snapshots, by name."""
        store = self.volumes.store(container)
        return await asyncio.to_thread(lambda: [_about(store / name) for name in snapshots.names(store)])

    async def forget(self, container: Container, name: str) -> None:
        """Remove a snapshot. Raises NotFoundError."""
        await asyncio.to_thread(snapshots.remove, self.volumes.store(container), name)
        await self.volumes.release(container, name)
        self.ways.standing.forget(self.ways.folder(container))
        self._services.tell(container, "snapshot-remove", {"snapshot": name})

    async def restore(self, container: Container, name: str, *, keep: bool = True) -> list[tuple[str, str]]:
        """End it if it runs; it goes on where the snapshot was made. Raises NotFoundError, BadInputError, and it goes on as it was.

        With `keep` snapshots of its volumes are made of what they have now: (volume, snapshot) of each.
        """
        place = self.volumes.store(container) / snapshots.check_name(name)
        birth = await asyncio.to_thread(_check, place, container.machine.get("architecture") or default_architecture())
        records = await self.volumes.kept(container, name)
        life = self._lives.life(container)
        async with self._services.networks.staying(container) if birth.has_card else nullcontext():
            held, container.host["AutoRemove"] = container.host["AutoRemove"], False
            try:
                await self._lives.running.kill(life, 9, final=True)
            finally:
                container.host["AutoRemove"] = held
            kept = await self.volumes.go_back(records, keep=keep)
            await self._restart(container, birth)
        self._services.tell(container, "restore", {"snapshot": name})
        self.ways.prepare(container, birth)
        return kept

    async def _restart(self, container: Container, birth: Restored) -> None:
        try:
            await self._begin(container, birth)
        except GasangError:
            if not self.ways.standing.forget(self.ways.folder(container)):  # it may have been what stood ready that failed
                raise
            await self._begin(container, birth)

    async def _begin(self, container: Container, birth: Restored | Forked) -> None:
        self.ways.births[container.id] = birth
        try:
            await self._lives.start(container)
        finally:
            self.ways.births.pop(container.id, None)

    # twins

    async def fork(self, container: Container, count: int) -> list[Container]:
        """Running twins, each a machine of its own. Raises UsageError, StateError; those made before one that failed stay."""
        if not 1 <= count <= MOST_TWINS:
            raise UsageError(f"{count} twins", f"1 to {MOST_TWINS} can be made at once", "give another number")
        if not container.status.alive:
            raise StateError(container.subject, f"it is {container.status.status}", "start it first")
        twins: dict[int, Container] = {}
        wanted, room = iter(range(count)), Room(container)
        written = asyncio.ensure_future(self.ways.write_back(container)) if count >= FLOCK else None

        async def make() -> None:
            try:
                for number in wanted:
                    twins[number] = await self._twin(container, room, written)
            finally:
                deque(wanted, 0)  # where one failed nobody begins another

        ends = await asyncio.gather(*(make() for _ in range(AT_ONCE)), return_exceptions=True)
        for error in filter(None, ends):
            raise error
        return [twins[number] for number in sorted(twins)]

    async def _twin(self, parent: Container, room: Room, written: asyncio.Future[None] | None) -> Container:
        async with self._naming_twins:  # who asks at the same time gets the next name
            if not room.take():
                await asyncio.to_thread(room.look)
            twin = await self._record_of_twin(parent)
        try:
            if self.volumes.forked(parent):
                if written is not None:  # what is written behind the clones would have to be stored in the fork's pause
                    await asyncio.wait([written])
                async with self._cloning:
                    await self._be_born(parent, twin, await self._bequeath(parent, twin), written)
            else:
                await self._be_born(parent, twin, {}, written)
        except GasangError:
            if twin.id in {entry.id for entry in self._lives.all()}:
                await self._lives.remove(twin, force=True, volumes=False)
            raise
        self._services.tell(parent, "fork", {"twin": twin.id})
        return twin

    async def _be_born(self, parent: Container, twin: Container, heirs: dict[str, str], written: asyncio.Future[None] | None) -> None:
        self.ways.births[twin.id] = Forked(self.ways.folder(parent), heirs, written)
        await self._lives.start(twin)

    async def _bequeath(self, parent: Container, twin: Container) -> dict[str, str]:
        """The twin's volumes. A daemon that is killed over it leaves a machine that is not whole, which the next one removes."""
        heirs = await self.volumes.bequeath(parent, twin)
        twin.status.status = "created"
        self._lives.save(twin)
        return heirs

    async def _record_of_twin(self, parent: Container) -> Container:
        with self._lives.naming(self._next_name(parent.name)) as name:
            record = parent.as_record()
            twin = Container.of_record({**record, "id": new_id(), "name": name, "created": now(), "status": {}})
            twin.config, twin.host = {**parent.config, "Hostname": _hostname(name)}, dict(parent.host)
            twin.machine = {**parent.machine, "hostname": _hostname(name)}
            twin.endpoints = {network: endpoints.of_twin(asked) for network, asked in parent.endpoints.items()}
            twin.host["PortBindings"], twin.ports = wanted_ports.of_twin(parent.host["PortBindings"]), {}
            if self.volumes.forked(parent):
                twin.status.status = "creating"
            place = self.ways.folder(twin)
            await asyncio.to_thread(_make_folder, place, self.ways.folder(parent))
            self._lives.add(twin)
        return twin

    def _next_name(self, name: str) -> str:
        taken = {entry.name for entry in self._lives.all()}
        number = 1
        while f"{name}-{number}" in taken:
            number += 1
        return f"{name}-{number}"


def _hostname(name: str) -> str:
    """What a guest calls itself that nobody has given a name for that."""
    return re.sub("[^A-Za-z0-9]+", "-", name)[:63].strip("-")


def _host(document: dict[str, Any], made: MachineSettings) -> dict[str, Any]:
    for name in document:
        if name not in OF_ANY:
            raise UsageError(f"HostConfig.{name[:40]}", "a virtual machine has no such setting", f"it has {', '.join(sorted(OF_ANY))}")
    mode = document.get("NetworkMode") or ("default" if made.image else NONE)
    host = settings.host_config_of({**document, "NetworkMode": mode})
    kind = mode_of(host["NetworkMode"]).kind
    if kind in (HOST, MACHINE):
        raise UsageError(f"network {mode[:80]}", "a virtual machine has a network of its own", "name one of gasang network ls, or none")
    if made.kernel and kind != NONE:
        raise UsageError(f"network {mode[:80]}", "only machines of images have a network card", "leave it out, or the kernel")
    return host


def _check_card(container: Container) -> None:
    """Raises UsageError where hardware addresses are asked for that are not the one of its only card."""
    own = mode_of(container.host["NetworkMode"]).subject
    for name, asked in container.endpoints.items():
        if asked.get(endpoints.WANTED_MAC) and name != own:
            cause = "a virtual machine has one card, and with it one hardware address, in all networks"
            raise UsageError(f"MAC address in network {name}", cause, "give it with the first network")


def _config(made: MachineSettings, wish: dict[str, Any], image: Image | None) -> dict[str, Any]:
    """The machine as the API's Config says it."""
    process = read_process(image.config.get(PROCESS), f"image {made.image}") if image else None
    process = process or ImageProcess()
    return settings.config_of(
        {
            "Image": made.image or made.kernel,
            "Entrypoint": list(process.entrypoint),
            "Cmd": list(made.command or process.command),
            "Env": [*process.environment, *made.environment],
            "User": process.user,
            "WorkingDir": process.directory,
            "Hostname": wish["Hostname"],
            "Tty": made.tty,
            "OpenStdin": made.stdin,
            "StdinOnce": wish["StdinOnce"],
            "Labels": wish["Labels"],
            "ExposedPorts": {name: {} for name in (*process.ports, *(wish["ExposedPorts"] or ()))},
            "StopSignal": wish["StopSignal"] or process.stop_signal,
            "StopTimeout": wish["StopTimeout"],
            "Healthcheck": wish["Healthcheck"] or process.health,
        }
    )


def _image(made: MachineSettings) -> Image:
    from gasang.kinds.vm.pull import open_store

    return open_store(made.architecture or default_architecture()).resolve(str(parse_reference(made.image)))


def _check(place: Path, architecture: str) -> Restored:
    """A birth from a snapshot that is sound, of a machine of that architecture. Raises NotFoundError, BadInputError."""
    if not place.is_dir():
        raise NotFoundError(f"snapshot {place.name}", "the machine has none of this name", "gasang snapshot ls tells which it has")
    found = Snapshot.open(place)
    if found.document.architecture != architecture:
        cause = f"it is of a machine of {found.document.architecture}, this one is of {architecture}"
        raise BadInputError(f"snapshot {place.name}", cause, "restore another (gasang snapshot ls)")
    found.check()
    return Restored(place, found.digest, VirtioNet.device_id in found.document.board["virtio"])


def _about(place: Path) -> dict[str, Any]:
    """What there is to say of a snapshot; of a damaged one that it is."""
    size = sum(path.lstat().st_blocks * 512 for path in place.iterdir())
    try:
        found = Snapshot.open(place)
    except GasangError as error:
        return {"Name": place.name, "Created": "", "Size": size, "Memory": 0, "Digest": "", "Error": str(error)}
    content = found.document
    return {
        "Name": place.name, "Created": content.created, "Size": size, "Memory": content.memory.size, "Digest": found.digest, "Error": "",
    }  # fmt: skip


def _make_folder(place: Path, parent: Path) -> None:
    """A twin's folder: it boots from what its parent was booted from, should it be started again, and is born in its jail."""
    place.mkdir(parents=True, mode=0o710)
    with suppress(FileNotFoundError):  # of a machine of an earlier gasang
        os.link(parent / NAME, place / NAME)  # nobody writes to it: another takes its place
    if (parent / FILES).exists():
        shutil.copyfile(parent / FILES, place / FILES)
