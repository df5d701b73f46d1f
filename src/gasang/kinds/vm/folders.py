"""Folders of the host that a machine from an image has mounted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from gasang.core.errors import UsageError
from gasang.devices.virtio.fs import VirtioFs
from gasang.devices.worker import Worker


@dataclass(frozen=True)
class SharedFolder:
    """A folder, and where the guest has it: an absolute path that is not its root."""

    source: Path
    target: str
    read_only: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for a target no guest could mount it at."""
        check_target(self.target)


def check_target(target: str) -> None:
    """Raise UsageError for a target no guest could mount anything at."""
    subject = f"mount target {target!r}"
    if not target.startswith("/") or not target.strip("/"):
        raise UsageError(subject, "it is no absolute path below /", "write it as in --mount type=bind,source=./data,target=/data")
    if ".." in target.split("/") or not target.isprintable() or target != target.strip():
        raise UsageError(subject, "it has '..', blanks at its end or signs that cannot be printed", "choose another")


def attach(folders: Sequence[SharedFolder], cleanup: ExitStack) -> tuple[list[VirtioFs], list[Worker]]:
    """A device for each folder, and the workers that answer; `cleanup` ends them. Raises what ShareServer raises."""
    if not folders:
        return [], []
    from gasang.storage.share.server import ShareServer

    worker = Worker("folders")
    devices = []
    for number, folder in enumerate(folders):
        server = ShareServer(folder.source, read_only=folder.read_only)
        cleanup.callback(server.close)
        devices.append(VirtioFs(tag(number), server, worker))
    cleanup.callback(worker.close)
    return devices, [worker]


def tag(number: int) -> str:
    """What the guest mounts the folder of that number by."""
    return f"gasang{number}"


def mounts(folders: Sequence[SharedFolder]) -> tuple[str, ...]:
    """What guest/init is told: tag, options and target of each."""
    return tuple(f"{tag(number)} {'ro' if folder.read_only else 'rw'},nodev {folder.target}" for number, folder in enumerate(folders))
