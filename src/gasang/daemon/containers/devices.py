"""Devices of the host that containers get: those they ask for by name, those of a folder, all of them; and what may be done with them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from gasang.core.errors import GasangError, UsageError

ALL: Final = "rwm"
_KINDS: Final = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}
_ELSEWHERE: Final = ("pts", "shm", "mqueue", "fd")
"""Folders of /dev in which the host mounts something of its own."""
_OWN: Final = ("/dev/console", "/dev/ptmx")
"""Nodes of the host whose names a container has for its own."""
_RULE: Final = re.compile(r"([acb]) (\*|\d{1,9}):(\*|\d{1,9}) ([rwm]{1,3})")


class Asked(NamedTuple):
    """A device node of the host that a container asks for: its path, how the runtime specification has it, and what may be done with it."""

    source: str
    device: dict[str, Any]
    access: str


def asked(host: dict[str, Any]) -> list[Asked]:
    """What HostConfig has as Devices; of a folder all nodes in it. Raises UsageError, GasangError for what is not there."""
    return [found for entry in host["Devices"] or [] for found in _of(entry)]


def _of(entry: dict[str, Any]) -> list[Asked]:
    source, inside = entry.get("PathOnHost"), entry.get("PathInContainer")
    if not isinstance(source, str) or not isinstance(inside or "", str):
        raise UsageError("device", "its paths are not texts", "write /dev/NAME")
    access = entry.get("CgroupPermissions") or ALL
    try:
        top = os.path.realpath(source)
        mode = os.stat(top).st_mode
        if stat.S_ISDIR(mode):
            found = [Asked(path, _described(path, (inside or source) + path.removeprefix(top)), access) for path in _nodes(top)]
        else:
            found = [Asked(source, _described(source, inside or source), access)] if stat.S_IFMT(mode) in _KINDS else []
    except (OSError, ValueError) as error:
        raise _unusable(source, getattr(error, "strerror", None) or str(error)) from error
    if not found:
        raise _unusable(source, "not a device node")
    return found


def _unusable(source: str, cause: str) -> GasangError:
    subject = f'error gathering device information while adding custom device "{source[:80]}"'
    return GasangError(subject, cause.lower(), "name one of the host")


def _described(path: str, inside: str) -> dict[str, Any]:
    """A node as the runtime specification has it (config-linux.md, Devices). Raises OSError."""
    found = os.stat(path)
    return {
        "path": inside,
        "type": _KINDS[stat.S_IFMT(found.st_mode)],
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }


def _nodes(folder: str) -> Iterator[str]:
    """The device nodes in a folder and those below."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if parent != "/dev" or name not in _ELSEWHERE]
        for name in files:
            path = os.path.join(parent, name)
            if stat.S_IFMT(os.lstat(path).st_mode) in _KINDS:
                yield path


def host_devices() -> tuple[dict[str, Any], ...]:
    """Every device node of the host, as a privileged container gets them; terminals and what is mounted in /dev are left out."""
    return tuple(_described(path, path) for path in _nodes("/dev") if path not in _OWN)


def rules(host: dict[str, Any]) -> list[dict[str, Any]]:
    """What the devices controller lets through, beside the standard devices that the runtime adds. Raises UsageError, GasangError."""
    if host["Privileged"]:
        return [{"allow": True, "access": ALL}]
    result: list[dict[str, Any]] = [{"allow": False, "access": ALL}]
    for found in asked(host):
        numbers = {name: found.device[name] for name in ("type", "major", "minor")}
        result.append({"allow": True, **numbers, "access": found.access})
    return result + [_rule(text) for text in host["DeviceCgroupRules"] or []]


def _rule(text: str) -> dict[str, Any]:
    found = _RULE.fullmatch(text)
    if not found:
        raise UsageError(f"device rule {text[:40]!r}", "it is not TYPE MAJOR:MINOR ACCESS", "for example: c 1:3 rw")
    numbers = {name: int(part) for name, part in (("major", found[2]), ("minor", found[3])) if part != "*"}
    return {"allow": True, "type": found[1], **numbers, "access": found[4]}


def block_rates(entries: list[dict[str, Any]] | None, source: str, target: str) -> list[dict[str, int]] | None:
    """Limits of block devices as the runtime specification has them. Raises UsageError, GasangError for a device that is not there."""
    made = []
    for entry in entries or []:
        path, rate = entry.get("Path"), entry.get(source)
        if not isinstance(path, str) or not isinstance(rate, int):
            raise UsageError("block device limit", "it is not a path and a number", "write PATH:NUMBER")
        try:
            number = os.stat(path).st_rdev
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or str(error)
            raise GasangError(f"stat {path[:80]}", cause.lower(), "name a device of the host") from error
        made.append({"major": os.major(number), "minor": os.minor(number), target: rate})
    return made or None


def check_requests(host: dict[str, Any]) -> None:
    """Raise GasangError for what --gpus asks for: there is no driver that could give it."""
    for request in host["DeviceRequests"] or []:
        capabilities = " ".join(f"[{' '.join(map(str, together))}]" for together in _lists(request.get("Capabilities")))
        subject = f'could not select device driver "{str(request.get("Driver") or "")[:40]}" with capabilities: [{capabilities[:80]}]'
        raise GasangError(subject, "there is none here", "pass a device with --device")


def _lists(value: object) -> list[list[Any]]:
    return [entry for entry in value if isinstance(entry, list)] if isinstance(value, list) else []
