"""Binds, mounts and volumes as a client writes them, read into one form. Pure; sources are looked at by whoever mounts them."""

from __future__ import annotations

import posixpath
import re
from typing import Any, Final

from gasang.core.errors import UsageError
from gasang.daemon.containers.fields import Field, read, text, truth
from gasang.daemon.containers.record import Mount
from gasang.host.trees import absolute

VOLUME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
OPTIONS: Final = {"bind": "BindOptions", "volume": "VolumeOptions", "tmpfs": "TmpfsOptions"}
"""Which of a mount's members say more of each kind."""
VOLUME_OPTIONS: Final[dict[str, Field]] = {"Subpath": text(), "NoCopy": truth()}
"""Docker Engine API, Mount.VolumeOptions."""
_PROPAGATIONS: Final = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_IGNORED: Final = frozenset({"z", "Z", "nocopy", "cached", "delegated", "consistent", "default", "copy"})
_TMPFS_TEXT: Final = """
rw ro exec noexec suid nosuid dev nodev sync async dirsync remount mand nomand atime noatime diratime nodiratime relatime
norelatime strictatime nostrictatime
"""
_TMPFS: Final = frozenset(_TMPFS_TEXT.split())
_TMPFS_VALUES: Final = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})


def _target(path: Any, subject: str) -> str:
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
        raise UsageError(subject, "its target is not an absolute path", "begin it with /")
    clean = absolute(path)
    if clean == "/":
        raise UsageError(subject, "its target can't be '/'", "choose a folder in the container")
    return clean


def of_bind(text: str) -> Mount:
    """A bind "SOURCE:TARGET[:MODE]", a named volume "NAME:TARGET[:MODE]". Raises UsageError."""
    subject = f"bind {text[:120]!r}"
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not parts[0]:
        raise UsageError(subject, "it is not SOURCE:TARGET[:MODE]", "for example: /srv/data:/data:ro")
    writable, propagation = _mode(parts[2] if len(parts) == 3 else "", subject)
    mode = parts[2] if len(parts) == 3 else ""
    target = _target(parts[1], subject)
    if parts[0].startswith("/"):
        return Mount("bind", absolute(parts[0]), target, writable, "", propagation or "rprivate", mode=mode)
    copies = "nocopy" not in mode.split(",")
    return Mount("volume", "", target, writable, _volume(parts[0], subject), mode=mode or "z", copies=copies)


def _volume(name: str, subject: str) -> str:
    if not VOLUME.fullmatch(name):
        raise UsageError(
            subject, f"{name[:80]!r} is no name of a volume: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", "or begin a path with /"
        )
    return name


def _mode(text: str, subject: str) -> tuple[bool, str]:
    writable, propagation = True, ""
    for word in filter(None, text.split(",")):
        if word in ("ro", "rw"):
            writable = word == "rw"
        elif word in _PROPAGATIONS:
            propagation = word
        elif word not in _IGNORED:
            raise UsageError(subject, f"{word[:40]!r} is no mode", "use ro, rw, or a propagation")
    return writable, propagation


def of_mount(document: dict[str, Any]) -> Mount:
    """A mount of HostConfig.Mounts. Raises UsageError."""
    kind, source, target = document.get("Type"), document.get("Source") or "", document.get("Target")
    subject = f"mount of {str(target)[:80]!r}"
    if not isinstance(source, str) or "\0" in source:
        raise UsageError(subject, "its source is not a text", "correct it")
    for other, name in OPTIONS.items():
        if other != kind and document.get(name) is not None and kind in OPTIONS:
            raise UsageError(f'{name} must not be specified on mount type "{kind}"', "they are another kind's", "leave them out")
    writable = not document.get("ReadOnly")
    where = _target(target, subject)
    if kind == "bind":
        if not source.startswith("/"):
            raise UsageError(subject, "its source is not an absolute path", "begin it with /")
        options = document.get("BindOptions") or {}
        propagation = options.get("Propagation") or "rprivate"
        if propagation not in _PROPAGATIONS:
            raise UsageError(subject, f"{str(propagation)[:40]!r} is no propagation", f"use one of {', '.join(sorted(_PROPAGATIONS))}")
        made = Mount("bind", absolute(source), where, writable, "", propagation)
        if options.get("NonRecursive"):
            made.options.append("bind-nonrecursive")
        if options.get("CreateMountpoint"):
            made.mode = "create"
        return made
    if kind == "volume":
        options = read(document.get("VolumeOptions") or {}, VOLUME_OPTIONS, f"volume options of {subject}")
        name = _volume(source, subject) if source else ""
        subpath = _subpath(options["Subpath"], name)
        return Mount("volume", "", where, writable, name, mode="z", subpath=subpath, copies=not options["NoCopy"])
    if kind == "tmpfs":
        options = document.get("TmpfsOptions") or {}
        words = [f"size={int(options['SizeBytes'])}"] if isinstance(options.get("SizeBytes"), int) else []
        words += [f"mode={int(options['Mode']):o}"] if isinstance(options.get("Mode"), int) else []
        return Mount("tmpfs", "", where, writable, options=words)
    raise UsageError(subject, f"type {str(kind)[:40]!r} is unknown", "use bind, volume or tmpfs")


def _subpath(path: str, name: str) -> str:
    """A path in a volume, without dots. Raises UsageError for one that leads out of it."""
    if not path:
        return ""
    subject = 'invalid mount config for type "volume"'
    if not name:
        raise UsageError(subject, "must not set Subpath when using anonymous volumes", "name a volume")
    clean = posixpath.normpath(path)
    if path.startswith("/") or clean == ".." or clean.startswith("../"):
        raise UsageError(subject, "subpath must be a relative path within the volume", "name a folder in it")
    return "" if clean == "." else clean


def of_tmpfs(target: str, options: str) -> Mount:
    """A ``--tmpfs TARGET:OPTIONS``. Raises UsageError."""
    subject = f"tmpfs of {target[:80]!r}"
    words = [word for word in options.split(",") if word]
    for word in words:
        name, _, value = word.partition("=")
        if word not in _TMPFS and not (name in _TMPFS_VALUES and value):
            raise UsageError(subject, f"option {word[:40]!r} is unknown", "mount(8) lists those of tmpfs")
    return Mount("tmpfs", "", _target(target, subject), "ro" not in words, options=[word for word in words if word not in ("ro", "rw")])


def mounts_of(config: dict[str, Any], host: dict[str, Any], inherited: list[Mount]) -> list[Mount]:
    """All mounts of a container, one a target: what is named outright wins over what --volumes-from and the image bring.

    Volumes without a name are anonymous. Raises UsageError, also where one target is named twice.
    """
    named = [
        *(of_bind(text) for text in host["Binds"] or []),
        *(of_mount(document) for document in host["Mounts"] or []),
        *(of_tmpfs(target, options) for target, options in (host["Tmpfs"] or {}).items()),
    ]
    result: dict[str, Mount] = {}
    for mount in named:
        if mount.target in result:
            raise UsageError(f"mount point {mount.target}", "it is named twice", "give each target one mount")
        result[mount.target] = mount
    for mount in inherited:
        result.setdefault(mount.target, mount)
    for target in config["Volumes"] or {}:
        clean = _target(target, f"volume {target[:80]!r}")
        result.setdefault(clean, Mount("volume", "", clean))
    return list(result.values())
