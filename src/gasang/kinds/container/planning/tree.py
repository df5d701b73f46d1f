"""Operations for the mounts of a configuration, beneath the root: file systems, binds, control groups; then what is hidden or read-only."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Final

from gasang.core.errors import BadInputError, NotFoundError
from gasang.host.mounts import AT_FDCWD, MOUNT_ATTR_RDONLY
from gasang.kinds.container import target
from gasang.kinds.container.config.config import Mount
from gasang.kinds.container.plan import Plan, Slot
from gasang.kinds.container.planning.mounting import (
    Options,
    attach,
    clone_tree,
    make_filesystem,
    make_read_only,
    mask,
    open_place,
    set_attributes,
    set_mapping,
    set_propagation,
    sort_options,
    take,
)
from gasang.kinds.container.planning.order import Order

KERNEL_FILESYSTEMS: Final = frozenset({"proc", "sysfs"})
"""These may not be led elsewhere by a link of the image."""
ON_PROC: Final = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "sys/kernel/ns_last_pid",
        "sys/crypto/fips_enabled", "net/dev",
    )
)  # fmt: skip
"""Files of /proc that may be covered one by one, as per-container views of them are; nothing else beneath /proc may."""
LOOK: Final = os.O_PATH | os.O_CLOEXEC


def add_mounts(plan: Plan, order: Order, root: Slot, mapped: Callable[[Mount], int]) -> None:
    """All mounts, in order. `mapped` gives the number, in the child, of a user namespace with a mount's mappings."""
    for index, mount in enumerate(order.config.mounts):
        options = sort_options(mount.options)
        check_destination(mount)
        if mount.kind in ("cgroup", "cgroup2"):
            _add_cgroups(plan, order, root, mount, options)
        elif options.is_bind or mount.kind == "bind":
            made = order.made.get(index, -1)
            if made < 0:
                _add_bind(plan, root, mount, options, mapped)
            else:
                _add_made(plan, root, mount, options, made)
        else:
            _add_filesystem(plan, root, mount, options)


def check_destination(mount: Mount) -> None:
    """Raise BadInputError for a mount over part of the container's /proc: it would undo what is masked there."""
    path = os.path.normpath(mount.destination).replace("//", "/")
    if not path.startswith("/proc/") or path in ON_PROC or mount.kind == "proc":
        return
    raise BadInputError(f"mount on {mount.destination}", "nothing may be mounted inside /proc", f"allowed are {', '.join(sorted(ON_PROC))}")


def _finish(plan: Plan, mount: Slot, options: Options, what: str) -> None:
    set_attributes(plan, mount, options.recursive_set, options.recursive_clear, True, what)
    set_propagation(plan, mount, options.propagation, what)


def _add_filesystem(plan: Plan, root: Slot, mount: Mount, options: Options) -> None:
    kind = mount.kind or "none"
    what = f"mount {kind} on {mount.destination}"
    made = make_filesystem(plan, kind, mount.source or kind, options, what)
    place_kind = target.PLAIN_FOLDER if kind in KERNEL_FILESYSTEMS else target.FOLDER
    place = open_place(plan, root, mount.destination, place_kind, what)
    attach(plan, made, place, what)
    _finish(plan, made, options, what)


def has_mapping(mount: Mount) -> bool:
    """Whether the owners of a mount's files are to be shifted."""
    return bool(mount.uid_mappings or mount.gid_mappings or {"idmap", "ridmap"} & set(mount.options))


def _add_bind(plan: Plan, root: Slot, mount: Mount, options: Options, mapped: Callable[[Mount], int]) -> None:
    source = mount.source if os.path.isabs(mount.source) else os.path.join(os.getcwd(), mount.source)
    what = f"mount {mount.source} on {mount.destination}"
    try:
        is_folder = stat.S_ISDIR(os.stat(source).st_mode)
    except OSError as error:
        hint = "make it, or leave the mount out"
        raise NotFoundError(f"source {mount.source} of the mount on {mount.destination}", (error.strerror or "").lower(), hint) from error
    made = clone_tree(plan, AT_FDCWD, source, options.recursive, what)
    set_attributes(plan, made, options.set, options.clear, False, what)
    if has_mapping(mount):
        set_mapping(plan, made, mapped(mount), "ridmap" in mount.options, f"{what} with other owners")
    place = open_place(plan, root, mount.destination, target.FOLDER if is_folder else target.FILE, what)
    attach(plan, made, place, what)
    _finish(plan, made, options, what)


def _add_made(plan: Plan, root: Slot, mount: Mount, options: Options, descriptor: int) -> None:
    """One that the caller has made; its attributes are ours to set once it is in our tree."""
    what = f"mount {mount.source} on {mount.destination}"
    is_folder = os.path.isdir(mount.source)
    made = take(plan, descriptor, what)
    attach(plan, made, open_place(plan, root, mount.destination, target.FOLDER if is_folder else target.FILE, what), what)
    set_attributes(plan, made, options.set, options.clear, False, what)
    _finish(plan, made, options, what)


def _add_cgroups(plan: Plan, order: Order, root: Slot, mount: Mount, options: Options) -> None:
    """The container's own groups as it may see them: one folder on a unified host, else one for each hierarchy."""
    what = f"mount control groups on {mount.destination}"
    use = order.cgroup
    place = open_place(plan, root, mount.destination, target.PLAIN_FOLDER, what)
    attributes = options.set | (MOUNT_ATTR_RDONLY if "ro" in mount.options else 0)
    if use.unified:
        made = clone_tree(plan, AT_FDCWD, use.folders[""], False, what)
        set_attributes(plan, made, attributes, options.clear, False, what)
        attach(plan, made, place, what)
        return
    holder = make_filesystem(plan, "tmpfs", "tmpfs", Options(options.set & ~MOUNT_ATTR_RDONLY, data=("mode=755", "size=65536")), what)
    attach(plan, holder, place, what)
    for name, folder in use.folders.items():
        plan.child.call("mkdirat", holder, plan.text(name), 0o755, what=what)
        made = clone_tree(plan, AT_FDCWD, folder, False, what)
        set_attributes(plan, made, attributes, options.clear, False, what)
        inner = plan.slot()
        plan.child.call("openat", holder, plan.text(name), LOOK, 0, into=inner, what=what)
        attach(plan, made, inner, what)
    for link, name in use.links.items():
        plan.child.call("symlinkat", plan.text(name), holder, plan.text(link), what=what)
    set_attributes(plan, holder, attributes, 0, False, what)


def hide_paths(plan: Plan, order: Order, root: Slot, nothing: Slot) -> None:
    """Mask and make read-only what the configuration names."""
    linux = order.config.linux
    for path in linux.readonly_paths:
        make_read_only(plan, root, path)
    if linux.masked_paths:
        null = plan.slot()
        plan.child.call("openat", AT_FDCWD, plan.text("/dev/null"), LOOK, 0, into=null, what="open the null device")
        for path in linux.masked_paths:
            mask(plan, root, path, null, nothing)
