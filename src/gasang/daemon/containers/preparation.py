"""From a container's record to what its supervisor is launched with; and the files the daemon makes for it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from gasang.core.errors import StateError, UsageError
from gasang.daemon.containers import devices, oci
from gasang.daemon.containers.record import Container
from gasang.daemon.containers.user import fitting, identify
from gasang.daemon.containers.users import Mapped
from gasang.daemon.services import Services
from gasang.host.namespaces import elsewhere
from gasang.host.users import numbers
from gasang.kinds.container.init import init_file
from gasang.kinds.container.supervising import Wish

SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def log_limits(options: dict[str, str]) -> tuple[int, int]:
    """Bytes of one log file (0: no bound) and how many files. Raises UsageError."""
    size, files = options.get("max-size", "-1").strip().lower(), options.get("max-file", "1").strip()
    if not files.isdecimal() or not 1 <= int(files) <= 1000:
        raise UsageError(f"log option max-file={files[:20]!r}", "it is not a number from 1 to 1000", "correct it")
    if size == "-1":
        return 0, int(files)
    digits = size.rstrip("bkmg")
    unit = size[len(digits) :].removesuffix("b") if size[len(digits) :] != "b" else "b"
    if not digits.isdecimal() or unit not in SIZES or int(digits) == 0:
        raise UsageError(f"log option max-size={size[:20]!r}", "it is no size", "for example 10m; -1 for no bound")
    return int(digits) * SIZES[unit], int(files)


def seccomp_of(host: dict[str, Any]) -> str:
    """The filter that is asked for: "default", "unconfined", or a profile's JSON text. Raises UsageError."""
    if host["Privileged"]:
        return "unconfined"
    for option in host["SecurityOpt"] or []:
        name, _, value = option.partition("=") if "=" in option else option.partition(":")
        if name == "seccomp" and value not in ("builtin", ""):
            return str(value)
    return "default"


class Preparation:
    """Makes launches."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def launch(self, container: Container, namespaces: dict[str, str], users: Mapped | None) -> Wish:
        """What to launch. `namespaces` are those of the network. Raises GasangError."""
        config, host = container.config, container.host
        devices.check_requests(host)
        folder = self._services.folders.container(container.id)
        for mount in container.mounts:
            self._check_source(container, mount.kind, Path(mount.source), mount.mode)
        self._write_files(container, folder)
        variables = tuple(self._services.networks.environment(container))
        around = replace(self.surroundings(container, namespaces, users), variables=variables)
        size, files = log_limits(host["LogConfig"]["Config"])
        log = self._services.log(container)
        return Wish(
            folder=folder,
            identity=container.id,
            configuration=oci.specification(container, around),
            parts={mount.target: mount.part for mount in container.mounts if mount.subpath},
            layers=self._services.layers.lowers(container),
            upper=folder / "upper",
            copied=self._services.layers.copied(container),
            work=folder / "work",
            stdin=config["OpenStdin"],
            log=log.name if log else "",
            log_size=size,
            log_files=files,
            size=console_size(host["ConsoleSize"]),
            seccomp=seccomp_of(host),
        )

    def surroundings(
        self, container: Container, namespaces: dict[str, str], users: Mapped | None, user: str | None = None
    ) -> oci.Surroundings:
        """What the host and the image give for a process of `container`, of its own user or another. Raises UsageError."""
        config, host = container.config, container.host
        layers = self._services.layers
        wanted = config["User"] if user is None else user
        passwd, group = (layers.text(container, f"etc/{name}") for name in ("passwd", "group"))
        identity = fitting(identify(wanted, passwd, group, host["GroupAdd"] or []))
        folder = self._services.folders.container(self._services.networks.modes.owner(container))
        return oci.Surroundings(
            uid=identity.uid,
            gid=identity.gid,
            groups=identity.groups,
            home=identity.home,
            cgroup=self._services.control.path(container),
            namespaces={**self._namespaces(container), **namespaces},
            files={f"/etc/{name}": folder / name for name in ("resolv.conf", "hostname", "hosts")},
            init=init_file(self._services.folders.state) if host["Init"] else None,
            host_devices=devices.host_devices() if host["Privileged"] else (),
            hostname=config["Hostname"] if host["UTSMode"] != "host" else "",
            users=users,
            is_rootless=self._services.users.is_rootless,
            groups_known=sum(map(len, numbers("gid"))),
        )

    def _namespaces(self, container: Container) -> dict[str, str]:
        """Which namespaces are the host's ("") or another container's (its path); one that is not here is its own."""
        host = container.host
        result: dict[str, str] = {}
        for kind, mode in (("pid", host["PidMode"]), ("ipc", host["IpcMode"]), ("uts", host["UTSMode"])):
            if mode == "host":
                result[kind] = ""
            elif mode.startswith("container:"):
                other = self._services.find(mode.removeprefix("container:"))
                if not other.status.alive:
                    raise StateError(f"{kind} namespace of {container.subject}", f"container {other.name} is not running", "start it first")
                result[kind] = self._shared(other, kind)
            elif mode not in ("", "private", "shareable", "none"):
                raise UsageError(f"{kind} mode {mode[:40]!r}", "there is none of this name", "use host or container:NAME")
        return result

    def _shared(self, other: Container, kind: str) -> str:
        """The path of another container's namespace, "" where it is the host's, which only the host's root may join."""
        if not self._services.users.is_rootless:
            return f"/proc/{other.status.pid}/ns/{kind}"
        try:
            return elsewhere(other.status.pid, kind)
        except FileNotFoundError:
            raise StateError(f"{kind} namespace of container {other.name}", "it has just ended", "start it again") from None

    def _check_source(self, container: Container, kind: str, source: Path, mode: str) -> None:
        """A bind whose source is not there is made where it came as -v, as Docker does; refused where it came as --mount."""
        if kind != "bind" or source.exists():
            return
        made_by_client = container.host["Mounts"] and any(entry.get("Source") == str(source) for entry in container.host["Mounts"])
        if made_by_client and mode != "create":
            raise UsageError('invalid mount config for type "bind"', f"bind source path does not exist: {source}", "make it first")
        source.mkdir(parents=True, exist_ok=True)

    def _write_files(self, container: Container, folder: Path) -> None:
        if self._services.networks.modes.owner(container) != container.id:
            return
        hostname = container.config["Hostname"] or os.uname().nodename
        texts: dict[str, Any] = {"hostname": f"{hostname}\n", **self._services.networks.files(container)}
        for name, text in texts.items():
            (folder / name).write_text(text)


def console_size(value: object) -> tuple[int, int]:
    """Rows and columns of a terminal as clients say them, zeroes where they do not."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, int) and 0 <= part <= 65535 for part in value):
        return value[0], value[1]
    return 0, 0
