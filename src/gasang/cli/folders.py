"""``--mount`` and ``-v`` of a virtual machine: folders of the host, and volumes by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from gasang.cli.containers.places import MOUNTS, VOLUMES
from gasang.cli.options import Parsed
from gasang.core.errors import UsageError
from gasang.kinds.vm.folders import SharedFolder, check_target

_HINT = "give a folder of the host, as in --mount type=bind,source=./data,target=/data,readonly"
_KNOWN = {"Type", "Source", "Target", "ReadOnly"}
_MODES = {"": False, "rw": False, "ro": True}


class NamedVolume(NamedTuple):
    """A volume, and where the guest has it."""

    name: str
    target: str
    read_only: bool


def mounts_of(parsed: Parsed) -> list[SharedFolder | NamedVolume]:
    """What a command line names. Raises UsageError for what a machine cannot mount."""
    return [*map(_of_volume, parsed.get(VOLUMES)), *map(_of_mount, parsed.get(MOUNTS))]


def _of_volume(text: str) -> SharedFolder | NamedVolume:
    source, *rest = text.split(":")
    target, mode = (rest[0], "".join(rest[1:])) if rest else ("", "")
    if not source or not target:
        raise UsageError(f"{VOLUMES.flag} {text}", "a virtual machine has no volumes without a name", _HINT)
    if mode not in _MODES:
        raise UsageError(f"{VOLUMES.flag} {text}", f"a virtual machine's folder has no mode {mode!r}", "use ro or rw")
    return _made(source, target, read_only=_MODES[mode])


def _made(source: str, target: str, *, read_only: bool) -> SharedFolder | NamedVolume:
    if source.startswith("/"):
        return SharedFolder(Path(source), target, read_only)
    check_target(target)
    return NamedVolume(source, target, read_only)


def _of_mount(mount: dict[str, Any]) -> SharedFolder | NamedVolume:
    subject = f"{MOUNTS.flag} of {mount['Target']}"
    if mount["Type"] not in ("bind", "volume") or not mount.get("Source"):
        raise UsageError(subject, "a virtual machine mounts folders and volumes by name", _HINT)
    unknown = sorted(set(mount) - _KNOWN)
    if unknown:
        raise UsageError(subject, f"{unknown[0]} is for containers", _HINT)
    source = mount["Source"] if mount["Type"] == "volume" else os.path.abspath(mount["Source"])
    return _made(source, mount["Target"], read_only=bool(mount.get("ReadOnly")))
