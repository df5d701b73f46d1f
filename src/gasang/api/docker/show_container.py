"""A container as the API shows it: the long form of inspect and the short form of lists."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from gasang.daemon.containers.record import CONTAINER, NEVER, Container, Mount
from gasang.daemon.networks.endpoints import WANTED_MAC

EMPTY_ENDPOINT: dict[str, Any] = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "MacAddress": "",
    "DriverOpts": None,
    "GwPriority": 0,
    "NetworkID": "",
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DNSNames": None,
}


def endpoints(container: Container) -> dict[str, Any]:
    """NetworkSettings.Networks."""
    return {name: _endpoint(settings) for name, settings in container.endpoints.items()}


def _endpoint(settings: dict[str, Any]) -> dict[str, Any]:
    shown = {field: settings.get(field, default) for field, default in EMPTY_ENDPOINT.items()}
    return {**shown, "MacAddress": shown["MacAddress"] or settings.get(WANTED_MAC, "")}


def _config(container: Container) -> dict[str, Any]:
    """Config, with the hardware address that was asked for on the main network."""
    mode = container.host["NetworkMode"]
    wanted = container.endpoints.get("bridge" if mode == "default" else mode, {}).get(WANTED_MAC)
    return container.config if not wanted or mode == "host" else {**container.config, "MacAddress": wanted}


def mount(entry: Mount) -> dict[str, Any]:
    """A mount point."""
    shown: dict[str, Any] = {"Type": entry.kind}
    if entry.kind == "volume":
        shown |= {"Name": entry.name, "Driver": "local"}
    return {
        **shown,
        "Source": entry.source,
        "Destination": entry.target,
        "Mode": entry.mode,
        "RW": entry.writable,
        "Propagation": entry.propagation,
    }


def state(container: Container) -> dict[str, Any]:
    """The State of inspect."""
    status = container.status
    shown = {
        "Status": status.status,
        "Running": status.alive or status.status == "restarting",
        "Paused": status.status == "paused",
        "Restarting": status.status == "restarting",
        "OOMKilled": status.oom_killed,
        "Dead": status.status == "dead",
        "Pid": status.pid,
        "ExitCode": status.exit_code,
        "Error": status.error,
        "StartedAt": status.started,
        "FinishedAt": status.finished,
    }
    if status.health is not None:
        shown["Health"] = status.health
    return shown


def ports(container: Container) -> dict[str, Any]:
    """NetworkSettings.Ports: what is published while it runs, and what is only exposed."""
    if not container.status.alive:
        return {}
    exposed: dict[str, Any] = dict.fromkeys(container.config["ExposedPorts"] or {})
    return {**exposed, **container.ports}


def kind(container: Container) -> dict[str, str]:
    """What Docker's answers do not have: the kind of a machine that is no container."""
    return {} if container.kind == CONTAINER else {"Kind": container.kind}


def inspect(container: Container, log_path: str, sizes: dict[str, int]) -> dict[str, Any]:
    """GET /containers/ID/json."""
    command = container.command()
    shown_endpoints = endpoints(container)
    bridge = shown_endpoints.get("bridge", EMPTY_ENDPOINT)
    basic = ("EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen", "IPv6Gateway", "MacAddress")
    return {
        "Id": container.id,
        "Created": container.created,
        "Path": command[0] if command else "",
        "Args": command[1:],
        "State": state(container),
        "Image": container.image_id,
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": log_path,
        "Name": f"/{container.name}",
        "RestartCount": container.status.restarts,
        "Driver": "overlay2",
        "Platform": container.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": container.host,
        "GraphDriver": {"Name": "overlay2", "Data": None},
        **sizes,
        **kind(container),
        "Mounts": [*(mount(entry) for entry in container.mounts), *_of_machine(container)],
        "Config": _config(container),
        "NetworkSettings": {
            "Bridge": "",
            "SandboxID": container.id if container.status.alive else "",
            "SandboxKey": f"/proc/{container.status.pid}/ns/net" if container.status.alive else "",
            "Ports": ports(container),
            "HairpinMode": False,
            "LinkLocalIPv6Address": "",
            "LinkLocalIPv6PrefixLen": 0,
            "SecondaryIPAddresses": None,
            "SecondaryIPv6Addresses": None,
            **{name: bridge[name] for name in basic},
            "Networks": shown_endpoints,
        },
    }


def _of_machine(container: Container) -> list[dict[str, Any]]:
    """The mount points of a virtual machine: volumes that are disks, and folders of the host, those that are volumes among them."""
    shown: list[dict[str, Any]] = []
    for group, of_disk in (("volumes", {"Type": "volume", "Driver": "disk"}), ("folders", {"Type": "bind"})):
        for source, target, read_only in container.machine.get(group, ()):
            kind_of = {**of_disk, "Name": Path(source).name} if group == "volumes" else of_disk
            shown.append({**kind_of, "Source": source, "Destination": target, "Mode": "", "RW": not read_only, "Propagation": ""})
    return shown


def _seconds(text: str) -> float:
    return datetime.fromisoformat(f"{text[:19]}+00:00").timestamp()


def ago(seconds: float) -> str:
    """A duration as docker's client says it: "About a minute", "3 hours"."""
    steps = (
        (1, "Less than a second", 0),
        (2, "1 second", 0),
        (60, "{} seconds", 1),
        (120, "About a minute", 0),
        (46 * 60, "{} minutes", 60),
        (90 * 60, "About an hour", 0),
        (48 * 3600, "{} hours", 3600),
        (14 * 86400, "{} days", 86400),
        (61 * 86400, "{} weeks", 7 * 86400),
        (730 * 86400, "{} months", 30 * 86400),
    )
    for below, words, unit in steps:
        if seconds < below:
            return words.format(int(seconds // unit)) if unit else words
    return f"{int(seconds // (365 * 86400))} years"


def status_line(container: Container) -> str:
    """The STATUS column: "Up 3 hours (healthy)", "Exited (0) 2 days ago"."""
    status = container.status
    now = time.time()
    if status.status in ("running", "paused"):
        health = f" ({_health_word(status.health['Status'])})" if status.health else ""
        line = f"Up {ago(now - _seconds(status.started))}{health}"
        return f"{line} (Paused)" if status.status == "paused" else line
    if status.status == "restarting":
        return f"Restarting ({status.exit_code}) {ago(now - _seconds(status.finished))} ago"
    if status.status == "created":
        return "Created"
    if status.status == "removing":
        return "Removal In Progress"
    if status.finished == NEVER:
        return "Dead" if status.status == "dead" else f"Exited ({status.exit_code})"
    return f"Exited ({status.exit_code}) {ago(now - _seconds(status.finished))} ago"


def _health_word(word: str) -> str:
    return "health: starting" if word == "starting" else word


def list_ports(container: Container) -> list[dict[str, Any]]:
    """The Ports of a list's line."""
    shown: list[dict[str, Any]] = []
    for name, bindings in ports(container).items():
        number, _, protocol = name.partition("/")
        if bindings is None:
            shown.append({"PrivatePort": int(number), "Type": protocol})
        for binding in bindings or []:
            line = {"IP": binding["HostIp"], "PrivatePort": int(number), "PublicPort": int(binding["HostPort"]), "Type": protocol}
            shown.append(line)
    return shown


def line(container: Container, sizes: dict[str, int]) -> dict[str, Any]:
    """One entry of GET /containers/json."""
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": container.image,
        "ImageID": container.image_id,
        "Command": " ".join(container.command()),
        "Created": int(_seconds(container.created)),
        "Ports": list_ports(container),
        **sizes,
        **kind(container),
        "Labels": container.config["Labels"] or {},
        "State": container.status.status,
        "Status": status_line(container),
        "HostConfig": {"NetworkMode": container.host["NetworkMode"]},
        "NetworkSettings": {"Networks": endpoints(container)},
        "Mounts": [*(mount(entry) for entry in container.mounts), *_of_machine(container)],
    }
