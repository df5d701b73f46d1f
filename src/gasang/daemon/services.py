"""What the daemon's parts share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gasang.daemon.containers.process import Runtime
from gasang.daemon.containers.record import Container
from gasang.daemon.events import Events
from gasang.daemon.folders import Folders
from gasang.daemon.records import Database
from gasang.daemon.volumes import Volumes


@dataclass(frozen=True)
class ImageView:
    """What a container needs of an image."""

    id: str
    config: dict[str, Any]
    """The image's "config" object (image-spec, config.md)."""
    layers: tuple[Path, ...]
    """Unpacked layers, the uppermost first."""
    platform: str = "linux"


class Images(Protocol):
    """The images, as containers use them."""

    def view(self, reference: str, platform: str = "") -> ImageView:
        """The image of a name or an id. Raises NotFoundError, whose text begins "No such image"."""
        ...

    def pin(self, user: str, image_id: str) -> None:
        """Keep an image's layers while a container needs them."""
        ...

    def unpin(self, user: str) -> None:
        """The container is gone."""
        ...

    def is_ancestor(self, reference: str, image_id: str) -> bool:
        """Whether the image is `reference` or made from it."""
        ...


class Layers(Protocol):
    """The files of containers: their own layer over their image's."""

    def prepare(self, container: Container, image: ImageView) -> None:
        """Make the container's own layer."""
        ...

    def lowers(self, container: Container) -> tuple[Path, ...]:
        """The image's layers, the uppermost first."""
        ...

    def text(self, container: Container, path: str) -> str:
        """A small text file of the container, "" where it is not there."""
        ...

    async def sizes(self, container: Container) -> dict[str, int]:
        """SizeRw and SizeRootFs, in bytes."""
        ...

    def graph(self, container: Container) -> dict[str, str]:
        """Where its layers are."""
        ...


class Networks(Protocol):
    """The networks, as containers use them."""

    def check(self, container: Container) -> None:
        """Raise NotFoundError where the container names a network that is not there."""
        ...

    async def join(self, container: Container) -> dict[str, str]:
        """Make the container's network; namespaces to join by kind, and fills endpoints and ports of the record."""
        ...

    async def leave(self, container: Container) -> None:
        """Put the container's network away."""
        ...

    def files(self, container: Container) -> dict[str, str]:
        """The contents of /etc/hosts and /etc/resolv.conf."""
        ...


class Control(Protocol):
    """What the host's control groups do to a container that runs."""

    def path(self, container: Container) -> str:
        """Its group, as the OCI specification names it."""
        ...

    def freeze(self, container: Container, frozen: bool) -> None:
        """Stop or go on."""
        ...

    def update(self, container: Container) -> None:
        """Apply changed limits."""
        ...

    def processes(self, container: Container) -> list[int]:
        """The pids in it, as the host counts."""
        ...

    def remove(self, container: Container) -> None:
        """The container has ended."""
        ...


@dataclass
class Services:
    """The parts, made once by the engine."""

    database: Database
    folders: Folders
    events: Events
    volumes: Volumes
    images: Images
    layers: Layers
    networks: Networks
    control: Control
    runtime: Runtime

    def tell(self, container: Container, action: str, more: dict[str, Any] | None = None) -> None:
        """An event of a container."""
        labels = container.config["Labels"] or {}
        self.events.tell("container", action, container.id, {**labels, "image": container.image, "name": container.name, **(more or {})})

    def log(self, container: Container) -> Path | None:
        """The log of a container, None where its driver keeps none."""
        if container.host["LogConfig"]["Type"] == "none":
            return None
        return self.folders.container(container.id) / f"{container.id}-json.log"
