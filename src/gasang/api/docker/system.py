"""/_ping, /version, /info, /events, /auth, /system/df."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from gasang import __version__
from gasang.api.docker import versions
from gasang.api.docker.filters import Filters, filters_of
from gasang.api.docker.images import Images
from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Route
from gasang.daemon.containers.creation import NO_LIMITS, way_out
from gasang.daemon.containers.moments import moment
from gasang.daemon.containers.names import now
from gasang.daemon.engine import Engine
from gasang.daemon.events import Event
from gasang.images.reference import DOCKER_HUB
from gasang.images.registry.settings import Registries

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
EVENT_FILTERS = frozenset(
    [
        "config",
        "container",
        "daemon",
        "event",
        "image",
        "label",
        "network",
        "node",
        "plugin",
        "scope",
        "secret",
        "service",
        "type",
        "volume",
    ]
)


class System:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("GET", "/_ping", self.ping),
            Route("HEAD", "/_ping", self.ping),
            Route("GET", "/version", self.version),
            Route("GET", "/info", self.info),
            Route("GET", "/events", self.events),
            Route("GET", "/system/df", self.disk_usage),
        ]

    async def ping(self, request: Request, reply: Reply) -> None:
        """The first request of every client."""
        headers = [("Cache-Control", "no-cache, no-store, must-revalidate"), ("Builder-Version", "1"), ("Swarm", "inactive")]
        await reply.content(b"OK", "text/plain; charset=utf-8", headers=headers)

    async def version(self, request: Request, reply: Reply) -> None:
        """GET /version."""
        newest, oldest = versions.shown(versions.NEWEST), versions.shown(versions.OLDEST)
        uname = os.uname()
        architecture = ARCHITECTURES.get(uname.machine, uname.machine)
        details = {
            "ApiVersion": newest,
            "Arch": architecture,
            "BuildTime": "",
            "Experimental": "false",
            "KernelVersion": uname.release,
            "MinAPIVersion": oldest,
            "Os": "linux",
            "PythonVersion": platform.python_version(),
        }
        await reply.json(
            {
                "Platform": {"Name": "gasang"},
                "Components": [{"Name": "Engine", "Version": __version__, "Details": details}],
                "Version": __version__,
                "ApiVersion": newest,
                "MinAPIVersion": oldest,
                "GitCommit": "",
                "GoVersion": f"none: Python {sys.version.split()[0]}",
                "Os": "linux",
                "Arch": architecture,
                "KernelVersion": uname.release,
                "BuildTime": "",
            }
        )

    async def info(self, request: Request, reply: Reply) -> None:
        """GET /info."""
        engine = self._engine
        limits = not engine.control.without
        states = [entry.status.status for entry in engine.containers.all()]
        uname = os.uname()
        await reply.json(
            {
                "ID": engine.identity,
                "Containers": len(states),
                "ContainersRunning": states.count("running"),
                "ContainersPaused": states.count("paused"),
                "ContainersStopped": len(states) - states.count("running") - states.count("paused"),
                "Images": engine.images.count(),
                "Driver": "overlay2",
                "DriverStatus": [["Backing Filesystem", engine.layers.filesystem()]],
                "Plugins": {
                    "Volume": ["local"],
                    "Network": ["bridge", "host", "null"],
                    "Authorization": None,
                    "Log": ["json-file", "local", "none"],
                },
                "MemoryLimit": limits,
                "SwapLimit": limits,
                "CpuCfsPeriod": limits,
                "CpuCfsQuota": limits,
                "CPUShares": limits,
                "CPUSet": limits,
                "PidsLimit": limits,
                "IPv4Forwarding": True,
                "OomKillDisable": limits,
                "Debug": False,
                "NFd": len(os.listdir("/proc/self/fd")),
                "NGoroutines": len(asyncio.all_tasks()),
                "SystemTime": now(),
                "LoggingDriver": "json-file",
                "CgroupDriver": "cgroupfs" if limits else "none",
                "CgroupVersion": engine.cgroup_version(),
                "NEventsListener": engine.events.listeners,
                "KernelVersion": uname.release,
                "OperatingSystem": _system_name(),
                "OSVersion": "",
                "OSType": "linux",
                "Architecture": uname.machine,
                "IndexServerAddress": "https://index.docker.io/v1/",
                "RegistryConfig": _registries(engine.images.registries),
                "NCPU": os.cpu_count() or 1,
                "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
                "DockerRootDir": str(engine.folders.state),
                "HttpProxy": "",
                "HttpsProxy": "",
                "NoProxy": "",
                "Name": uname.nodename,
                "Labels": [],
                "ExperimentalBuild": False,
                "ServerVersion": __version__,
                "Runtimes": {"gasang": {"path": "gasang oci"}},
                "DefaultRuntime": "gasang",
                "Swarm": {
                    "NodeID": "",
                    "NodeAddr": "",
                    "LocalNodeState": "inactive",
                    "ControlAvailable": False,
                    "Error": "",
                    "RemoteManagers": None,
                },
                "LiveRestoreEnabled": True,
                "Isolation": "",
                "InitBinary": "gasang-init",
                "ContainerdCommit": {"ID": ""},
                "RuncCommit": {"ID": ""},
                "InitCommit": {"ID": ""},
                "SecurityOptions": ["name=seccomp,profile=builtin", *_users(engine)],
                "Warnings": [*way_out(engine.services), NO_LIMITS] if engine.users.is_rootless else None,
            }
        )

    async def events(self, request: Request, reply: Reply) -> None:
        """GET /events: what is kept since a time, then what comes, until a time or the client goes."""
        filters = filters_of(request, EVENT_FILTERS)
        since, until = moment(request.text("since")), moment(request.text("until"))
        events = self._engine.events
        future = events.future()
        stream = await reply.stream("application/json")
        gone = asyncio.ensure_future(stream.gone())
        sending = asyncio.ensure_future(self._send_events(stream, filters, since, until, future))
        left = until / 1e9 - time.time() if until else None
        try:
            await asyncio.wait([gone, sending], timeout=left if left is None else max(left, 0.05), return_when=asyncio.FIRST_COMPLETED)
            if not gone.done():
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
                await stream.end()
        finally:
            gone.cancel()
            sending.cancel()
            await asyncio.gather(gone, sending, return_exceptions=True)

    async def _send_events(self, stream: Any, filters: Filters, since: int, until: int, future: AsyncIterator[Event]) -> None:
        if since:
            for event in self._engine.events.past(since, until or None):
                if fits(event, filters):
                    await stream.line(show(event))
        async for event in future:
            if fits(event, filters):
                await stream.line(show(event))

    async def disk_usage(self, request: Request, reply: Reply) -> None:
        """GET /system/df."""
        from gasang.api.docker import show_container

        engine = self._engine
        containers = engine.containers.all()
        sizes = await asyncio.gather(*(engine.containers.sizes(entry) for entry in containers))
        volumes = []
        for entry in engine.volumes.all():
            size = await asyncio.to_thread(engine.volumes.used, entry)
            users = engine.containers.users_of_volume(entry["Name"])
            volumes.append({**entry, "UsageData": {"Size": size, "RefCount": len(users)}})
        await reply.json(
            {
                "LayersSize": await asyncio.to_thread(engine.images.disk_usage),
                "Images": [Images(engine).line(image) for image in await asyncio.to_thread(engine.images.containers.images)],
                "Containers": [show_container.line(entry, size) for entry, size in zip(containers, sizes, strict=True)],
                "Volumes": volumes,
                "BuildCache": [],
                "BuilderSize": 0,
            }
        )


def _users(engine: Engine) -> list[str]:
    return ["name=rootless"] if engine.users.is_rootless else ["name=userns"] if engine.users.remap else []


def show(event: Event) -> dict[str, Any]:
    """An event as the API writes it."""
    old = {"status": event.action, "id": event.actor, "from": event.attributes.get("image", "")} if event.type == "container" else {}
    if event.type == "image":
        old = {"status": event.action, "id": event.actor}
    return {
        **old,
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.actor, "Attributes": dict(event.attributes)},
        "scope": "local",
        "time": event.time // 1_000_000_000,
        "timeNano": event.time,
    }


def fits(event: Event, filters: Filters) -> bool:
    """Whether an event passes the filters."""
    for name in ("container", "image", "network", "volume", "daemon"):
        values = filters.get(name)
        about = event.type == name or (name == "image" and event.type == "container")
        if values and not (
            about
            and any(
                value in (event.actor, event.attributes.get("name"), event.attributes.get("image"), event.actor[:12]) for value in values
            )
        ):
            return False
    if "type" in filters and event.type not in filters.get("type"):
        return False
    if "event" in filters and not any(event.action == value or event.action.startswith(f"{value}:") for value in filters.get("event")):
        return False
    return filters.labels(event.attributes)


def _registries(settings: Registries) -> dict[str, Any]:
    mirrors = list(settings.mirrors.get(DOCKER_HUB, ()))
    configs = {DOCKER_HUB: {"Mirrors": mirrors, "Name": DOCKER_HUB, "Official": True, "Secure": True}}
    for name in sorted(settings.insecure):
        if "/" not in name:
            configs[name] = {"Mirrors": [], "Name": name, "Official": False, "Secure": False}
    networks = ["::1/128", "127.0.0.0/8", *sorted(name for name in settings.insecure if "/" in name)]
    return {"IndexConfigs": configs, "InsecureRegistryCIDRs": networks, "Mirrors": mirrors or None}


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"
