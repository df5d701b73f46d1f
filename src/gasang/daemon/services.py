"""What the daemon's parts share."""

from __future__ import annotations

import os
import stat
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


def host_devices() -> tuple[dict[str, Any], ...]:
    """Every device node of the host, as a privileged container gets them; terminals and what is mounted in /dev are left out."""
    found = []
    for parent, folders, files in os.walk("/dev"):
        folders[:] = [name for name in folders if parent != "/dev" or name not in ("pts", "shm", "mqueue", "fd")]
        for name in files:
            path = os.path.join(parent, name)
            node = os.lstat(path)
            kind = "c" if stat.S_ISCHR(node.st_mode) else "b" if stat.S_ISBLK(node.st_mode) else ""
            if kind and path not in ("/dev/console", "/dev/ptmx"):  # the container has its own
                entry = {"path": path, "type": kind, "major": os.major(node.st_rdev), "minor": os.minor(node.st_rdev)}
                found.append({**entry, "fileMode": stat.S_IMODE(node.st_mode), "uid": node.st_uid, "gid": node.st_gid})
    return tuple(found)
