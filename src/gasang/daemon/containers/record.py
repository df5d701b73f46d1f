"""A container as the daemon remembers it: what was asked for, and where its life stands."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from gasang.kinds.container.parts import Part

CONTAINER, VM = "container", "vm"
"""Kinds of machines (gasang.kinds)."""
NEVER = "0001-01-01T00:00:00Z"
"""How the Docker API writes a time that has not been."""


@dataclass
class Status:
    """Where a container's life stands. Times are RFC 3339 with nanoseconds."""

    status: str = "created"  # creating (not known to anyone yet), created, running, paused, restarting, exited, removing, dead
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started: str = NEVER
    finished: str = NEVER
    restarts: int = 0
    stopped_by_user: bool = False
    health: dict[str, Any] | None = None
    takes_volumes: bool = False
    """Of one that is being removed: whether its anonymous volumes go with it."""

    @property
    def alive(self) -> bool:
        """Whether it has a process."""
        return self.status in ("running", "paused")


@dataclass
class Mount:
    """A mount of a container. `kind` is bind, volume or tmpfs."""

    kind: str
    source: str
    target: str
    writable: bool = True
    name: str = ""
    propagation: str = ""
    options: list[str] = field(default_factory=list)
    mode: str = ""
    subpath: str = ""
    """The folder or file of a volume that is mounted; "" for all of it."""
    copies: bool = True
    """Whether an empty volume gets what the image has in its place."""

    @property
    def part(self) -> Part:
        """What is mounted."""
        return Part(Path(self.source), self.subpath)


@dataclass
class Container:
    """A container's record, or a virtual machine's: one table, so that a name is taken once."""

    id: str
    name: str
    created: str
    image: str
    image_id: str
    config: dict[str, Any]
    host: dict[str, Any]
    endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    """network's name → what was asked for (aliases, addresses) and, while it runs, what it got."""
    mounts: list[Mount] = field(default_factory=list)
    status: Status = field(default_factory=Status)
    platform: str = "linux"
    start_args: list[str] = field(default_factory=list)
    ports: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    """What is published now, as the API writes it."""
    step: bool = False
    """Whether it is a step of a build, which nobody wants when the build is over."""
    kind: str = CONTAINER
    machine: dict[str, Any] = field(default_factory=dict)
    """Of a virtual machine: what it is made of (kinds/vm/process/settings.py)."""
    family: str = ""
    """Of a virtual machine: whom it shares a folder with, itself and its twins."""

    def as_record(self) -> dict[str, Any]:
        """The record as JSON has it. Its parts are the container's own, to be written and not kept: copies would cost more than writing."""
        return {**vars(self), "mounts": [vars(mount) for mount in self.mounts], "status": vars(self.status)}

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> Container:
        """The container of a record that this or an older gasang wrote. Raises TypeError, KeyError or AttributeError for no such record."""
        known = {entry.name: record[entry.name] for entry in fields(cls) if entry.name in record}
        known["mounts"] = [Mount(**mount) for mount in record.get("mounts", [])]
        known["status"] = Status(**record.get("status", {}))
        return cls(**known)

    @property
    def short(self) -> str:
        """The first twelve digits of the id, as people name it."""
        return self.id[:12]

    @property
    def subject(self) -> str:
        """How errors name it."""
        return f"{'container' if self.kind == CONTAINER else 'machine'} {self.name}"

    def command(self) -> list[str]:
        """Entry point and command, in one."""
        return [*(self.config["Entrypoint"] or []), *(self.config["Cmd"] or [])]
