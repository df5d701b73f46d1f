"""What the daemon's parts share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gasang.daemon.containers.control import GroupControl
from gasang.daemon.containers.layers import ContainerLayers
from gasang.daemon.containers.process import Runtime
from gasang.daemon.containers.record import Container
from gasang.daemon.containers.users import Users
from gasang.daemon.events import Events
from gasang.daemon.folders import Folders
from gasang.daemon.images import DaemonImages
from gasang.daemon.networks.joining import ContainerNetworks
from gasang.daemon.records import Database
from gasang.daemon.volumes import Volumes


@dataclass
class Services:
    """The parts, made once by the engine. `find` gives the container of a name or id."""

    database: Database
    folders: Folders
    events: Events
    volumes: Volumes
    images: DaemonImages
    layers: ContainerLayers
    networks: ContainerNetworks
    control: GroupControl
    users: Users
    runtime: Runtime
    find: Callable[[str], Container]

    def tell(self, container: Container, action: str, more: dict[str, Any] | None = None) -> None:
        """An event of a container."""
        labels = container.config["Labels"] or {}
        self.events.tell("container", action, container.id, {**labels, "image": container.image, "name": container.name, **(more or {})})

    def log(self, container: Container) -> Path | None:
        """The log of a container, None where its driver keeps none."""
        if container.host["LogConfig"]["Type"] == "none":
            return None
        return self.folders.container(container.id) / "container-json.log"
