"""The `linux` part of a configuration: namespaces, devices, paths and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gasang.host.mounts import PROPAGATION
from gasang.host.namespaces import NAMESPACES
from gasang.kinds.container.config.node import I64, U32, Node
from gasang.kinds.container.config.resources import Resources, read_resources
from gasang.kinds.container.config.seccomp import Seccomp, read_seccomp

_DEVICE_TYPES: Final = {"b": "b", "c": "c", "u": "c", "p": "p"}
_PERSONALITIES: Final = {"LINUX": 0, "LINUX32": 8}


@dataclass(frozen=True)
class IdMapping:
    """`size` numbers from `inside` on are those from `outside` on."""

    inside: int
    outside: int
    size: int


@dataclass(frozen=True)
class NamespaceUse:
    """A namespace to make, or to join where `path` names one."""

    kind: str
    path: str = ""


@dataclass(frozen=True)
class Device:
    """A device node to make."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Linux:
    """What is particular to Linux."""

    namespaces: tuple[NamespaceUse, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    time_offsets: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    cgroups_path: str = ""
    resources: Resources = field(default_factory=Resources)
    rootfs_propagation: int = 0
    seccomp: Seccomp | None = None
    sysctl: Mapping[str, str] = field(default_factory=dict)
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    personality: int | None = None
    has_rdt: bool = False


def read_linux(node: Node) -> Linux:
    """Checked values. Raises BadInputError."""
    namespaces = node["namespaces"].each(_read_namespace)
    kinds = [namespace.kind for namespace in namespaces]
    for kind in kinds:
        if kinds.count(kind) > 1:
            node["namespaces"].refuse(f"has the type {kind} twice")
    uids, gids = node["uidMappings"].each(read_mapping), node["gidMappings"].each(read_mapping)
    if (uids or gids) and "user" not in kinds:
        node["uidMappings"].refuse("is there without a user namespace", 'add {"type": "user"} to linux.namespaces')
    return Linux(
        namespaces,
        uids,
        gids,
        _read_offsets(node["timeOffsets"], kinds),
        node["devices"].each(_read_device),
        _read_cgroups_path(node["cgroupsPath"]),
        read_resources(node["resources"]),
        node["rootfsPropagation"].choice({"": 0, **PROPAGATION}, ""),
        read_seccomp(node["seccomp"]),
        _read_sysctl(node["sysctl"], namespaces),
        node["maskedPaths"].each(Node.absolute),
        node["readonlyPaths"].each(Node.absolute),
        node["mountLabel"].text(""),
        node["personality"]["domain"].choice(_PERSONALITIES) if node["personality"].here() else None,
        node["intelRdt"].here(),
    )


def _read_namespace(node: Node) -> NamespaceUse:
    node["type"].choice(NAMESPACES)
    path = node["path"].text("")
    return NamespaceUse(node["type"].text(), node["path"].absolute() if path else "")


def read_mapping(node: Node) -> IdMapping:
    """One line of a mapping."""
    found = IdMapping(node["containerID"].number(0, U32), node["hostID"].number(0, U32), node["size"].number(1, U32))
    if found.inside + found.size - 1 > U32 or found.outside + found.size - 1 > U32:
        node.refuse("goes past the highest number there is")
    return found


def _read_offsets(node: Node, kinds: list[str]) -> dict[str, tuple[int, int]]:
    found = {}
    for clock in ("monotonic", "boottime"):
        if node[clock].here():
            found[clock] = (node[clock]["secs"].number(-I64, I64, 0), node[clock]["nanosecs"].number(0, 999_999_999, 0))
    if found and "time" not in kinds:
        node.refuse("is there without a time namespace", 'add {"type": "time"} to linux.namespaces')
    return found


def _read_device(node: Node) -> Device:
    kind = node["type"].choice(_DEVICE_TYPES)
    numbered = kind != "p"
    return Device(
        node["path"].absolute(),
        kind,
        node["major"].number(0, 4095) if numbered else 0,
        node["minor"].number(0, 0xFFFFF) if numbered else 0,
        node["fileMode"].number(0, 0o177777, 0o666) & 0o7777,
        node["uid"].number(0, U32 - 1, 0),
        node["gid"].number(0, U32 - 1, 0),
    )


def _read_cgroups_path(node: Node) -> str:
    path = node.text("")
    if ".." in path.split("/"):
        node.refuse(f"{path!r} climbs with ..")
    return path


_PER_NAMESPACE: Final = {
    "ipc": ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
            "kernel.shm_rmid_forced", "kernel.msg_next_id", "kernel.sem_next_id", "kernel.shm_next_id"),
    "uts": ("kernel.hostname", "kernel.domainname"),
}  # fmt: skip
"""Settings that belong to a namespace: only where the container has its own may they be changed."""


def _read_sysctl(node: Node, namespaces: tuple[NamespaceUse, ...]) -> dict[str, str]:
    own = {namespace.kind for namespace in namespaces}
    found = {}
    for name, value in node.mapping().items():
        dotted = name.replace("/", ".") if "/" in name and "." not in name.split("/", 1)[0] else name
        place = f"{node.path}: {name}"
        wants = next((kind for kind, names in _PER_NAMESPACE.items() if dotted in names), "")
        wants = wants or ("ipc" if dotted.startswith("fs.mqueue.") else "network" if dotted.startswith("net.") else "")
        if not wants:
            Node(name, place, node.document).refuse("is a setting of the whole host", "only settings of its namespaces may be changed")
        if wants not in own:
            Node(name, place, node.document).refuse(f"needs the container's own {wants} namespace")
        path = name if "/" in name else name.replace(".", "/")
        if any(part in ("", ".", "..") for part in path.split("/")):
            Node(name, place, node.document).refuse("is no name of a setting")
        found[path] = value
    return found
