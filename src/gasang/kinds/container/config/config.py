"""A whole configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gasang.kinds.container.config.linux import IdMapping, Linux, read_linux, read_mapping
from gasang.kinds.container.config.node import Node, parse
from gasang.kinds.container.config.process import Process, read_process

HOOKS: Final = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
VERSION: Final = "1.2.0"
"""Of the runtime specification that is spoken here."""


@dataclass(frozen=True)
class Root:
    """The container's root file system."""

    path: str
    readonly: bool = False


@dataclass(frozen=True)
class Mount:
    """A mount beneath the root."""

    destination: str
    source: str = ""
    kind: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()


@dataclass(frozen=True)
class Hook:
    """A program that is run at a point of the container's life; `timeout` in seconds, 0 for none."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int = 0


@dataclass(frozen=True)
class Config:
    """What a container is to be."""

    version: str = VERSION
    root: Root | None = None
    mounts: tuple[Mount, ...] = ()
    process: Process | None = None
    hostname: str = ""
    domainname: str = ""
    hooks: Mapping[str, tuple[Hook, ...]] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    linux: Linux = field(default_factory=Linux)


def read_config(data: bytes | str, document: str = "config.json") -> Config:
    """A checked configuration. Raises BadInputError, whose sentence names the member that is wrong."""
    node = parse(data, document)
    version = node["ociVersion"].text()
    if version.split(".")[0] != "1":
        node["ociVersion"].refuse(f"is {version!r}", f"version {VERSION} is spoken here")
    for other in ("windows", "solaris", "vm", "zos"):
        if node[other].here() and not node["linux"].here():
            node.refuse(f"is for {other}, and not for Linux")
    root = node["root"]
    linux = read_linux(node["linux"])
    kinds = {namespace.kind for namespace in linux.namespaces}
    hostname, domainname = node["hostname"].text(""), node["domainname"].text("")
    for name, value in (("hostname", hostname), ("domainname", domainname)):
        if value and "uts" not in kinds:
            node[name].refuse("is there without a uts namespace", 'add {"type": "uts"} to linux.namespaces')
        if len(value.encode()) > 64:
            node[name].refuse("is longer than 64 bytes")
    return Config(
        version,
        Root(root["path"].text(empty=False), root["readonly"].flag()) if root.here() else None,
        node["mounts"].each(_read_mount),
        read_process(node["process"]) if node["process"].here() else None,
        hostname,
        domainname,
        {name: node["hooks"][name].each(_read_hook) for name in HOOKS},
        node["annotations"].mapping(),
        linux,
    )


def _read_mount(node: Node) -> Mount:
    destination = node["destination"].text(empty=False)
    if not destination.startswith("/"):
        destination = f"/{destination}"  # older configurations have it so
    return Mount(
        destination,
        node["source"].text(""),
        node["type"].text(""),
        node["options"].texts(),
        node["uidMappings"].each(read_mapping),
        node["gidMappings"].each(read_mapping),
    )


def _read_hook(node: Node) -> Hook:
    return Hook(node["path"].absolute(), node["args"].texts(), node["env"].texts(), node["timeout"].number(1, 1 << 31, 0))
