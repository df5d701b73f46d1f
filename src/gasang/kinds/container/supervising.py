"""A container's processes under supervisors: the plan, the control groups and the settings that a supervisor is launched with."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import GasangError, StateError, UsageError
from gasang.host.idmapped import cloned
from gasang.host.namespaces import NAMESPACES
from gasang.host.syscalls import machine_name
from gasang.host.trees import plain_overlay
from gasang.host.users import are_the_hosts, may_set_groups
from gasang.kinds.container.cgroups.group import Cgroup
from gasang.kinds.container.cgroups.hierarchies import Hierarchies
from gasang.kinds.container.config.config import Config, Mount, read_config
from gasang.kinds.container.config.process import Process
from gasang.kinds.container.launching import launch_error
from gasang.kinds.container.parts import Part
from gasang.kinds.container.plan import Built
from gasang.kinds.container.planning.entering import EnteringPlanner
from gasang.kinds.container.planning.mounting import sort_options
from gasang.kinds.container.planning.order import FolderRoot, MadeRoot, Order, OverlayRoot, Root
from gasang.kinds.container.planning.planner import Planner
from gasang.kinds.container.privileges import clamp, is_rootless
from gasang.kinds.container.seccomp.compiler import compile_filter
from gasang.kinds.container.seccomp.profile import default_profile
from gasang.kinds.container.shifting import Shifting, has_users, joined_users
from gasang.kinds.container.supervisor import protocol
from gasang.kinds.container.supervisor.launch import Supervisor, forget_records
from gasang.kinds.container.supervisor.settings import Settings

UNCONFINED: Final = "unconfined"
DEFAULT: Final = "default"


@dataclass(frozen=True)
class Wish:
    """What is to be supervised: an OCI configuration, and what it does not say.

    `layers` are lower directories, the uppermost first; `seccomp` is "default", "unconfined" or a profile in Docker's JSON.
    """

    folder: Path
    identity: str
    configuration: Mapping[str, Any]
    layers: tuple[Path, ...] = ()
    upper: Path | None = None
    work: Path | None = None
    copied: Path | None = None
    """The whole root in a folder, where there is no overlayfs for the layers."""
    seccomp: str = DEFAULT
    stdin: bool = False
    log: str = ""
    log_size: int = 0
    log_files: int = 1
    size: tuple[int, int] = (0, 0)
    parts: Mapping[str, Part] = field(default_factory=dict)
    """Where a mount's source is to be found again by its path in a folder: by the mount's destination."""
    inside: int = 0
    """The pid of the container's first process, for one more process in it."""


@dataclass
class Supervised:
    """A supervisor that has been launched, and how to say what fails of its plan."""

    supervisor: Supervisor
    identity: str
    built: Built
    warnings: list[str] = field(default_factory=list)

    def failure(self, failed: tuple[int, int, int]) -> GasangError:
        """The error for (list, operation, error number) of a status; those of the program have a `guest_code`."""
        which, index, number = failed
        return launch_error(self.identity, self.built.phrase(which, index), number)


def launch(wish: Wish, hierarchies: Hierarchies) -> Supervised:
    """Launch the supervisor of a wish; its process waits for START. Raises GasangError, and nothing is left behind then."""
    config = read_config(json.dumps(wish.configuration), "the container's configuration")
    if config.process is None:
        raise UsageError(f"container {wish.identity}", "it has no process", "give a command")
    warnings: list[str] = []
    process = clamp(config.process, warnings, in_user_namespace=has_users(config) or not are_the_hosts())
    group = Cgroup.at(config.linux.cgroups_path, wish.identity, hierarchies)
    with contextlib.ExitStack() as stack:
        if not wish.inside:
            group.create(config.linux.resources)
            warnings += group.warnings
        try:
            return _launch(wish, config, process, group, warnings, stack)
        except BaseException:
            if not wish.inside:
                group.delete()
            raise


def _launch(wish: Wish, config: Config, process: Process, group: Cgroup, warnings: list[str], stack: contextlib.ExitStack) -> Supervised:
    use = group.use()
    descriptors: list[int] = []

    def hand(descriptor: int) -> int:
        """The number by which the supervisor knows a descriptor."""
        stack.callback(os.close, descriptor)
        descriptors.append(descriptor)
        return protocol.FD_EXTRA + len(descriptors) - 1

    if use.descriptor >= 0:
        use = replace(use, descriptor=hand(use.descriptor))
    users = joined_users(config) if not wish.inside else ""
    root: Root = _root(wish)
    made: dict[int, int] = {}
    if users:
        shifting = Shifting(config, wish.identity, users, hand, lambda mount: _cloned(wish, mount))
        root, made = _shifted_root(wish, shifting, root.path), shifting.binds()
    elif wish.parts:
        made = {index: hand(_cloned(wish, mount)) for index, mount in enumerate(config.mounts) if mount.destination in wish.parts}
    order = Order(
        config,
        root,
        wish.identity,
        use,
        console_socket=protocol.FD_CONSOLE if process.terminal else -1,
        new_keyring=not wish.inside,
        privileged_limits=not is_rootless(),
        may_set_groups=may_set_groups(),
        filter=_filter(wish.seccomp, process),
        dies_with_us=True,
        made=made,
        owned=((0, 1, 2) if wish.stdin else (1, 2)) if has_users(config) and not process.terminal else (),
    )
    if wish.inside:
        target = hand(_pidfd(wish))
        flags = 0
        for namespace in config.linux.namespaces:
            flags |= NAMESPACES[namespace.kind].flag
        built = EnteringPlanner(order, process, target, flags).build()
    else:
        built = Planner(order, process).build()
    settings = Settings(
        log=wish.log,
        log_size=wish.log_size,
        log_count=wish.log_files,
        terminal_later=process.terminal,
        rows=wish.size[0],
        columns=wish.size[1],
        open_stdin=wish.stdin,
        ephemeral=bool(wish.inside),
        oom_file="" if wish.inside else oom_file(group),
    )
    wish.folder.mkdir(parents=True, exist_ok=True, mode=0o710)
    forget_records(wish.folder)
    return Supervised(Supervisor.launch(settings, built.data, wish.folder, descriptors=descriptors), wish.identity, built, warnings)


def _root(wish: Wish) -> FolderRoot | OverlayRoot:
    if wish.copied is not None:
        return FolderRoot(str(wish.copied))
    target = wish.folder / "rootfs"
    if not wish.inside:
        target.mkdir(parents=True, exist_ok=True)
    return OverlayRoot([str(layer) for layer in wish.layers], str(wish.upper or ""), str(wish.work or ""), str(target), plain_overlay())


def _shifted_root(wish: Wish, shifting: Shifting, target: str) -> MadeRoot:
    if wish.copied is not None:
        return shifting.folder(wish.copied, target)
    assert wish.upper is not None, "a container has a layer of its own"
    assert wish.work is not None, "and where overlayfs works on it"
    return shifting.overlay(wish.layers, wish.upper, wish.work, target, plain_overlay())


def _cloned(wish: Wish, mount: Mount) -> int:
    """A detached mount of what is to be bound. Raises NotFoundError, GasangError, OSError."""
    recursive = sort_options(mount.options).recursive
    part = wish.parts.get(mount.destination)
    return cloned(mount.source, recursive=recursive) if part is None else part.cloned(recursive=recursive)


def _pidfd(wish: Wish) -> int:
    try:
        return os.pidfd_open(wish.inside)
    except ProcessLookupError:
        raise StateError(f"container {wish.identity}", "it is not running", "start it first") from None


def oom_file(group: Cgroup) -> str:
    """The file in which the kernel counts a container's processes that it ended for want of memory; "" where there is none."""
    hierarchy = group.hierarchies.holding("memory")
    if hierarchy is not None:
        return f"{group.folders[hierarchy.name]}/memory.oom_control"
    return f"{group.folders['']}/memory.events" if "" in group.folders else ""


def _filter(seccomp: str, process: Process) -> bytes:
    if seccomp == UNCONFINED:
        return b""
    if seccomp != DEFAULT:
        from gasang.kinds.container.seccomp.docker import read_profile

        return compile_filter(read_profile(seccomp, process.capabilities.bounding, machine_name()), machine_name())
    return _default_filter(process.capabilities.bounding)


@lru_cache(64)
def _default_filter(capabilities: int) -> bytes:
    return compile_filter(default_profile(capabilities, machine_name()), machine_name())


