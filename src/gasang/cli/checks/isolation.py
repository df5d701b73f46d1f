"""Checks of what keeps containers apart and within their limits: control groups, layers, users, filters of system calls."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gasang.cli.checks.finding import Finding, Host, Status
from gasang.cli.checks.machine import nearest_existing
from gasang.core.errors import GasangError
from gasang.core.paths import data_folder

if TYPE_CHECKING:  # there is such a thing on Linux only
    from gasang.kinds.container.cgroups.hierarchies import Hierarchies

CONTROLLERS: Final = ("memory", "cpu", "cpuset", "pids", "io", "devices", "freezer")
"""What containers are limited by, as version 2 names it."""
_NAMES: Final = {"io": "blkio"}
"""Version 1's name, where it has another."""
_BUILT_IN: Final = ("devices", "freezer")
"""Version 2 has these in every group; they are no controllers there."""
_SWITCHES: Final = (
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
)
"""Settings of distributions that keep namespaces from users: the name, the value that does, the one that does not."""


def check_seccomp(host: Host) -> Finding:
    """System calls of containers can be filtered."""
    if sys.platform != "linux":
        return ELSEWHERE
    actions = _text(host.path("/proc/sys/kernel/seccomp/actions_avail")).split()
    if "errno" not in actions:
        remedy = "use a kernel with CONFIG_SECCOMP_FILTER"
        return Finding(Status.WARNING, "no filters of system calls: containers would run without one", remedy)
    return Finding(Status.OK, f"filters of system calls ({', '.join(actions)})")
ELSEWHERE: Final = Finding(Status.NOTE, "containers need Linux; virtual machines do not")


def check_cgroups(host: Host) -> Finding:
    """Which limits the host keeps, and whether we may set them."""
    if sys.platform != "linux":
        return ELSEWHERE
    from gasang.kinds.container.cgroups.hierarchies import find_hierarchies, may_make_groups

    try:
        found = find_hierarchies()
        controllers = _enabled(found)
    except (GasangError, OSError) as error:
        cause = error.cause if isinstance(error, GasangError) else str(error.strerror)
        return Finding(Status.WARNING, f"no control groups ({cause})", "mount -t cgroup2 none /sys/fs/cgroup")
    version = "version 2" if found.unified_only else "versions 1 and 2" if found.unified else "version 1"
    missing = [name for name in CONTROLLERS if name not in controllers]
    text = f"{version}: {', '.join(name for name in CONTROLLERS if name in controllers) or 'nothing'}"
    if missing:
        remedy = "have the kernel enable them (cgroup_enable= at its command line)"
        return Finding(Status.WARNING, f"{text}; not {', '.join(missing)}", remedy)
    if not may_make_groups():
        return Finding(Status.NOTE, f"{text}; for root alone: containers of this user have no limits by them")
    return Finding(Status.OK, text)


def _enabled(found: Hierarchies) -> set[str]:
    enabled = {name for name in CONTROLLERS if found.holding(_NAMES.get(name, name)) is not None}
    if found.unified is not None:
        enabled |= set(Path(found.unified.folder, "cgroup.controllers").read_text(encoding="ascii").split())
        if found.unified_only:
            enabled |= set(_BUILT_IN)
    return enabled


def check_overlay(host: Host) -> Finding:
    """Layers of images can be put together where images are kept, by doing it."""
    if sys.platform != "linux":
        return ELSEWHERE
    place = nearest_existing(data_folder(host.environment))
    try:
        cause = _in_a_child(lambda: _put_together(place))
    except OSError as error:
        return Finding(Status.WARNING, f"{place} cannot be written ({error.strerror})", "make it writable, or set XDG_DATA_HOME")
    if cause:
        remedy = "keep images on ext4, xfs or btrfs of a kernel with overlayfs (5.11 for users other than root)"
        return Finding(Status.WARNING, f"no overlayfs at {place} ({cause}): every container gets a copy of its image", remedy)
    return Finding(Status.OK, f"overlayfs works at {place}")


def _put_together(place: Path) -> str:
    """Why layers cannot be put together at a place, "" where they can. For a process of its own: it may change its namespaces."""
    import ctypes

    from gasang.host import trees, users
    from gasang.host.namespaces import CLONE_NEWNS, CLONE_NEWUSER

    user, group = os.geteuid(), os.getegid()
    if user != 0:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER | CLONE_NEWNS):
            return f"this user gets no namespaces: {os.strerror(ctypes.get_errno())}"
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", name).write_text(text, encoding="ascii")
        users.forget()
    with tempfile.TemporaryDirectory(prefix=".gasang-doctor-", dir=place) as folder:
        layers = [Path(folder, name) for name in ("lower", "upper", "work")]
        for layer in layers:
            layer.mkdir()
        try:
            os.close(trees.overlay(layers[:1], *layers[1:]))
        except GasangError as error:
            return error.cause
    return ""


def _in_a_child(work: Callable[[], str]) -> str:
    """What `work` returns in a process of its own. Raises OSError as it does."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(tell, work().encode()[:4096])
            code = 0
        except OSError as error:
            code = min(error.errno or 1, 255)
        finally:
            os._exit(code)
    os.close(tell)
    with open(told, encoding="utf-8", errors="replace") as answer:
        said = answer.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))
    return said


def check_users(host: Host) -> Finding:
    """Users who are not root can have containers, and root's can have users of their own."""
    if sys.platform != "linux":
        return ELSEWHERE
    most = _text(host.path("/proc/sys/user/max_user_namespaces"))
    if most in ("", "0"):
        text = "no user namespaces: containers for root alone, and all as root"
        return Finding(Status.WARNING, text, "sysctl -w user.max_user_namespaces=10000")
    for switch, forbids, allows in _SWITCHES:
        if _text(host.path(f"/proc/sys/{switch.replace('.', '/')}")) == forbids:
            text = f"user namespaces for root alone ({switch}={forbids}; sysctl -w {switch}={allows} gives them to all)"
            return Finding(Status.NOTE, text)
    if not host.program("newuidmap"):
        return Finding(Status.NOTE, "user namespaces; without newuidmap (package uidmap) a user's containers have that one user")
    return Finding(Status.OK, "user namespaces, and newuidmap for ranges of users")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
