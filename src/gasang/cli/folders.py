"""``--mount`` and ``-v`` of a virtual machine: folders of the host, which are all that it can mount."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gasang.cli.containers.places import MOUNTS, VOLUMES
from gasang.cli.options import Parsed
from gasang.core.errors import UsageError
from gasang.kinds.vm.folders import SharedFolder

_HINT = "give a folder of the host, as in --mount type=bind,source=./data,target=/data,readonly"
_KNOWN = {"Type", "Source", "Target", "ReadOnly"}
_MODES = {"": False, "rw": False, "ro": True}


def folders_of(parsed: Parsed) -> tuple[SharedFolder, ...]:
    """Those a command line names. Raises UsageError for what a machine cannot mount."""
    return (*map(_of_volume, parsed.get(VOLUMES)), *map(_of_mount, parsed.get(MOUNTS)))


def _of_volume(text: str) -> SharedFolder:
    source, *rest = text.split(":")
    target, mode = (rest[0], "".join(rest[1:])) if rest else ("", "")
    if not source.startswith("/") or not target:
        raise UsageError(f"{VOLUMES.flag} {text}", "a virtual machine has no volumes", _HINT)
    if mode not in _MODES:
        raise UsageError(f"{VOLUMES.flag} {text}", f"a virtual machine's folder has no mode {mode!r}", "use ro or rw")
    return SharedFolder(Path(source), target, _MODES[mode])


def _of_mount(mount: dict[str, Any]) -> SharedFolder:
    subject = f"{MOUNTS.flag} of {mount['Target']}"
    if mount["Type"] != "bind" or not mount.get("Source"):
        raise UsageError(subject, "a virtual machine mounts folders alone", _HINT)
    unknown = sorted(set(mount) - _KNOWN)
    if unknown:
        raise UsageError(subject, f"{unknown[0]} is for containers", _HINT)
    return SharedFolder(Path(os.path.abspath(mount["Source"])), mount["Target"], bool(mount.get("ReadOnly")))
