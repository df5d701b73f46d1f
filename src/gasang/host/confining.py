"""What a process of one thread can take from itself, for good: its view of the host, its capabilities, its system calls.

Namespaces and capabilities belong to threads (unshare(2), capabilities(7)): with others already there, those would keep theirs.

Reference: mount_namespaces(7), pivot_root(2), open_tree(2), mount_setattr(2), proc(5), prctl(2), seccomp(2).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from gasang.host.idmapped import cloned
from gasang.host.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_STRING,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    MNT_DETACH,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_PRIVATE,
    MS_REC,
)
from gasang.host.namespaces import CLONE_NEWNET, CLONE_NEWUSER
from gasang.host.processes import (
    LINUX_CAPABILITY_VERSION_3,
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAPBSET_DROP,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    SECCOMP_SET_MODE_FILTER,
)
from gasang.host.trees import call

_ATTRIBUTES: Final = Struct("<QQQQ")
_CAPABILITY_HEADER: Final = Struct("<Ii")
_CAPABILITY_SETS: Final = Struct("<6I")
_FILTER: Final = Struct("<HxxxxxxQ")
_FILTER_STEP: Final = 8


class Place(NamedTuple):
    """What there is to see in the root of `own_root`: a file or a folder of the host with what is mounted below it, where it is there."""

    path: Path
    writable: bool = False
    device: bool = False


def threads() -> int:
    """How many this process has."""
    return len(os.listdir("/proc/self/task"))


def new_namespaces(flags: int) -> None:
    """Be alone in new namespaces (CLONE_NEW…). With CLONE_NEWUSER our user and group are there, and no others. Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    call("unshare", flags)
    if flags & CLONE_NEWUSER:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            Path("/proc/self", name).write_text(text, "ascii")


def join_network(descriptor: int) -> None:
    """Be in the network namespace of that descriptor, which is closed. Raises OSError."""
    call("setns", descriptor, CLONE_NEWNET)
    os.close(descriptor)


def own_root(places: Sequence[Place], staging: Path) -> None:
    """See these places of the host, each where it was, and /proc, and nothing else. `staging` is any folder.

    To be called in a mount namespace of one's own. /proc can only be read, and shows no process that we could not look into, unless the
    host does not let us mount it (in a user namespace): then it is the host's, read-only too. Raises OSError.
    """
    call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
    staging = staging.resolve()
    with ExitStack() as opened:
        mounts: dict[Path, int] = {}

        def add(path: Path, descriptor: int, attributes: int) -> None:
            opened.callback(os.close, descriptor)
            _restrict(descriptor, attributes, recursive=True)
            mounts[path] = descriptor

        for place in sorted(places, key=lambda entry: entry.writable):  # one that is named twice can be written if one of them says so
            attributes = MOUNT_ATTR_NOSUID | (0 if place.device else MOUNT_ATTR_NODEV) | (0 if place.writable else MOUNT_ATTR_RDONLY)
            if (path := place.path.resolve()).exists():
                add(path, cloned(str(path), recursive=True), attributes)
        add(Path("/proc"), _proc(), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
        root = _new("tmpfs", {"mode": "755", "size": "256k"})
        opened.callback(os.close, root)
        _attach(root, staging)
        try:
            _furnish(staging, mounts, [Path(os.path.abspath(place.path)) for place in places])
            _restrict(root, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, recursive=False)
            os.chdir(staging)
            call("pivot_root", b".", b".")
        except OSError:
            call("umount2", os.fsencode(staging), MNT_DETACH)
            raise
        call("umount2", b".", MNT_DETACH)
        os.chdir("/")


def _furnish(root: Path, mounts: dict[Path, int], names: Sequence[Path]) -> None:
    """Put the mounts where they belong below `root`, and links where `names` lead over links to them."""
    for path in sorted(mounts, key=lambda entry: len(entry.parts)):
        target = root / path.relative_to("/")
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        _attach(mounts[path], target)
    for name in names:
        # Below a mount a link is there as it is on the host.
        if name.resolve() in mounts and name not in mounts and not any(name.is_relative_to(path) for path in mounts):
            link = root / name.relative_to("/")
            if not link.is_symlink():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(name.resolve())


def _new(kind: str, options: dict[str, str]) -> int:
    """A detached mount of a new file system."""
    context = call("fsopen", kind.encode(), FSOPEN_CLOEXEC)
    try:
        for name, value in options.items():
            call("fsconfig", context, FSCONFIG_SET_STRING, name.encode(), value.encode(), 0)
        call("fsconfig", context, FSCONFIG_CMD_CREATE, None, None, 0)
        return call("fsmount", context, FSMOUNT_CLOEXEC, 0)
    finally:
        os.close(context)


def _proc() -> int:
    try:
        return _new("proc", {"hidepid": "ptraceable"})
    except PermissionError:  # the process namespace is not our user namespace's
        return cloned("/proc", recursive=True)


def _restrict(mount: int, attributes: int, *, recursive: bool) -> None:
    data = ctypes.create_string_buffer(_ATTRIBUTES.pack(attributes, 0, 0, 0))
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    call("mount_setattr", mount, b"", flags, ctypes.addressof(data), _ATTRIBUTES.size)


def _attach(mount: int, target: Path) -> None:
    call("move_mount", mount, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH)


def keep_capabilities(mask: int, last: int) -> None:
    """Have these capabilities and no others, and none to be had again; `last` is the highest that the kernel knows. Raises OSError."""
    call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if can_drop_bounds():
        for number in range(last + 1):
            if not mask >> number & 1:
                call("prctl", PR_CAPBSET_DROP, number, 0, 0, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = ctypes.create_string_buffer(_CAPABILITY_HEADER.pack(LINUX_CAPABILITY_VERSION_3, 0))
    sets = ctypes.create_string_buffer(_CAPABILITY_SETS.pack(low, low, 0, high, high, 0))
    call("capset", ctypes.addressof(header), ctypes.addressof(sets))


def drop_bounds(last: int) -> None:
    """Let no program that is executed have a capability any more. Raises OSError."""
    for number in range(last + 1):
        call("prctl", PR_CAPBSET_DROP, number, 0, 0, 0)


def can_drop_bounds() -> bool:
    """Whether we have CAP_SETPCAP; without it what bounds us stays, and no program's capabilities can come back by no_new_privs."""
    return bool(capabilities() >> 8 & 1)


def capabilities() -> int:
    """Our effective capabilities, as a mask."""
    with open("/proc/thread-self/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))


def no_new_privileges() -> None:
    """No program that we execute has more rights than we. Raises OSError."""
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def be_opaque(*, opaque: bool) -> None:
    """Whether processes of the same user are kept from looking into us (PR_SET_DUMPABLE). Raises OSError."""
    call("prctl", PR_SET_DUMPABLE, 0 if opaque else 1, 0, 0, 0)


def filter_calls(program: bytes) -> None:
    """Have the kernel ask this classic BPF program about every system call from now on. Raises OSError."""
    steps = ctypes.create_string_buffer(program, len(program))
    data = ctypes.create_string_buffer(_FILTER.pack(len(program) // _FILTER_STEP, ctypes.addressof(steps)))
    call("seccomp", SECCOMP_SET_MODE_FILTER, 0, ctypes.addressof(data))
