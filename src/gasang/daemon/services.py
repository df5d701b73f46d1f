"""What the daemon's parts share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gasang.daemon.containers.control import GroupControl
from gasang.daemon.containers.layers import ContainerLayers
from gasang.daemon.containers.process import Runtime
from gasang.daemon.containers.record import CONTAINER, Container
from gasang.daemon.containers.users import Users
from gasang.daemon.containers.ways import Ways
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
    ways: dict[str, Ways] = field(default_factory=dict)
    """kind of machine → how it lives."""

    def ways_of(self, container: Container) -> Ways:
        """How machines of its kind live."""
        return self.ways[container.kind]

    def tell(self, container: Container, action: str, more: dict[str, Any] | None = None) -> None:
        """An event of a container."""
        labels = container.config["Labels"] or {}
        kind = {} if container.kind == CONTAINER else {"kind": container.kind}
        about = {**labels, "image": container.image, "name": container.name, **kind}
        self.events.tell("container", action, container.id, {**about, **(more or {})})

    def folder(self, container: Container) -> Path:
        """What stays of it."""
        return self.folders.container(container.id, container.family)

    def log(self, container: Container) -> Path | None:
        """The log of a container, None where its driver keeps none."""
        if container.host["LogConfig"]["Type"] == "none":
            return None
        return self.folder(container) / "container-json.log"
