"""The daemon's parts, put together: one visible place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gasang.daemon.containers.container_ways import ContainerWays
from gasang.daemon.containers.control import GroupControl
from gasang.daemon.containers.execs import Execs
from gasang.daemon.containers.files import ContainerFiles
from gasang.daemon.containers.health import Health
from gasang.daemon.containers.layers import ContainerLayers
from gasang.daemon.containers.lives import Lives
from gasang.daemon.containers.names import new_id
from gasang.daemon.containers.record import CONTAINER, VM, Container
from gasang.daemon.containers.supervised import SupervisedRuntime
from gasang.daemon.containers.users import Users
from gasang.daemon.events import Events
from gasang.daemon.folders import Folders
from gasang.daemon.images import DaemonImages
from gasang.daemon.networks.joining import ContainerNetworks
from gasang.daemon.records import Database, Table
from gasang.daemon.recovery import Recovery
from gasang.daemon.remap import Remap
from gasang.daemon.services import Services
from gasang.daemon.vms.keeping import Keeping
from gasang.daemon.vms.machines import Machines
from gasang.daemon.volumes import Volumes
from gasang.images.origin import Origin
from gasang.images.registry.settings import Registries
from gasang.kinds.container.supervisor.executable import program_descriptor
from gasang.network.place import Beside

if TYPE_CHECKING:
    from gasang.daemon.rootless.entering import Rootless


class Engine:
    """Everything a daemon has. Made before its event loop serves anyone."""

    def __init__(
        self,
        folders: Folders,
        registries: Registries | None = None,
        origin: Origin | None = None,
        remap: Remap | None = None,
        rootless: Rootless | None = None,
    ) -> None:
        """Open the state in `folders`; images of Debian come from `origin`. Raises StateError where another daemon uses it.

        `registries` are the settings about them; `remap` says whose users containers have, and raises UnsupportedError where the host
        cannot do that. `rootless` are the namespaces that a user who is not root has for it.
        """
        self.folders = folders
        self.users = Users(remap, self._find, is_rootless=rootless is not None)
        self.database = Database(folders.state)
        self.identity = self._identity()
        self.events = Events()
        self.volumes = Volumes(self.database, folders, self.events)
        self.images = DaemonImages(folders, self.events, Table(self.database, "build"), registries or Registries(), origin or Origin())
        place = None if rootless is None else Beside(rootless.network)
        self.networks = ContainerNetworks(self.database, self.events, folders, self.identity, self._find, self.users.network, place)
        self.layers = ContainerLayers(folders, self.images)
        self.users.probe(folders.scratch())
        self.control = GroupControl(without=rootless is not None)
        services = Services(
            database=self.database,
            folders=folders,
            events=self.events,
            volumes=self.volumes,
            images=self.images,
            layers=self.layers,
            networks=self.networks,
            control=self.control,
            users=self.users,
            runtime=SupervisedRuntime(self.control),
            find=self._find,
        )
        self.services = services
        self.containers = Lives(services)
        self.machines = Machines(services, self.containers)
        self.keeping = Keeping(self.containers, self.machines.ways)
        self.disk_volumes = self.machines.volumes.disks
        services.ways.update({CONTAINER: ContainerWays(services), VM: self.machines.ways})
        self.execs = Execs(services, self.containers)
        self.files = ContainerFiles(services)
        self.containers.running.on_start = Health(services, self.execs).begin

    def _find(self, word: str) -> Container:
        return self.containers.find_container(word)

    def _identity(self) -> str:
        settings = Table(self.database, "setting")
        if "identity" not in settings:
            settings.put("identity", {"id": new_id()})
        found: str = settings["identity"]["id"]
        return found

    def cgroup_version(self) -> str:
        """Which: "1" or "2", as clients expect it."""
        return self.control.version

    async def recover(self) -> None:
        """Take over what a former daemon left."""
        await Recovery(self.services, self.containers, self.execs).run()
        await self.machines.ways.sweep()
        await self.machines.volumes.sweep()

    async def warm_up(self) -> None:
        """Have what the first container needs: programs compiled, layers that a crash of the host left half-written forgotten."""
        await asyncio.to_thread(program_descriptor)
        await asyncio.to_thread(self.images.recover)

    def in_use(self) -> bool:
        """Whether anything runs that outlives this."""
        return any(container.status.alive for container in self.containers.all())

    def close(self) -> None:
        """Let go of everything; what runs goes on."""
        for container in self.containers.all():
            life = self.containers.life(container)
            if life.watcher:
                life.watcher.cancel()
            if life.process:
                life.process.close()
        self.execs.close()
        self.machines.ways.close()
        self.networks.close()
        self.database.close()
