"""Operations that put the root file system in place, and at the end make it the only one there is."""

from __future__ import annotations

import errno
import os
from typing import Final

from gasang.core.errors import BadInputError
from gasang.host.mounts import (
    AT_FDCWD,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    MS_MOVE,
    MS_PRIVATE,
    MS_REC,
    MS_SHARED,
    MS_SLAVE,
)
from gasang.kinds.container.plan import Plan, Slot
from gasang.kinds.container.planning.mounting import (
    Options,
    attach_at_path,
    clone_tree,
    make_filesystem,
    set_attributes,
    take,
)
from gasang.kinds.container.planning.order import FolderRoot, MadeRoot, Order, OverlayRoot

FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_PAGE: Final = 4095
_FSCONFIG_LONGEST: Final = 255


def put_root(plan: Plan, order: Order) -> tuple[Slot, Slot]:
    """Mount the root; a descriptor of it, and one of an empty read-only folder that is mounted beneath it, out of sight."""
    # Where the root is made already, its folder is the working folder: the container's root could not get there.
    path = "." if isinstance(order.root, MadeRoot) else order.root.path
    propagation = order.config.linux.rootfs_propagation or MS_SLAVE | MS_REC
    plan.child.call("mount", 0, plan.text("/"), 0, propagation, 0, what="say how mounts of the host are handed on")
    if propagation & MS_SHARED:
        # pivot_root refuses while the mount that holds the new root is shared.
        parent = mount_point_of(order.root.path)
        plan.child.call("mount", 0, plan.text(parent), 0, MS_PRIVATE, 0, what=f"keep mounts under {parent} to ourselves")
    what = f"mount the root file system {order.root.path}"
    if isinstance(order.root, FolderRoot):
        root = clone_tree(plan, AT_FDCWD, path, True, what)
    nothing = make_filesystem(plan, "tmpfs", "tmpfs", Options(set=MOUNT_ATTR_RDONLY, data=("size=0k", "mode=755")), "make an empty folder")
    attach_at_path(plan, nothing, path, "make an empty folder")
    if isinstance(order.root, OverlayRoot):
        root = make_overlay(plan, order.root, what)
    if isinstance(order.root, MadeRoot):
        root = take(plan, order.root.descriptor, what)
    attach_at_path(plan, root, path, what)
    return root, nothing


def mount_point_of(path: str) -> str:
    """The mount that holds a path."""
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def make_overlay(plan: Plan, root: OverlayRoot, what: str) -> Slot:
    """A detached overlay of layers."""
    lower = [_escaped(layer, ":\\") for layer in root.lower]
    data = [f"lowerdir={':'.join(lower)}"]
    if len(data[0]) - len("lowerdir=") > _FSCONFIG_LONGEST:
        data = [f"lowerdir+={layer}" for layer in root.lower]
    if root.upper:
        data += [f"upperdir={root.upper}", f"workdir={root.work}"]
    for item in data:
        if len(item.partition("=")[2].encode()) > _FSCONFIG_LONGEST:
            raise BadInputError(f"layer {item.partition('=')[2]}", "its path is too long for the kernel", "keep images at a shorter path")
    return make_filesystem(plan, "overlay", "overlay", Options(data=(*data, *root.options)), what)


def _escaped(path: str, signs: str) -> str:
    return "".join(f"\\{sign}" if sign in signs else sign for sign in path)


def enter_root(plan: Plan, order: Order, root: Slot) -> None:
    """Make the root the root, and let go of the host's."""
    call, here = plan.child.call, plan.text(".")
    what = "make the container's root the root"
    old = plan.slot()
    call("openat", AT_FDCWD, plan.text("/"), FOLDER, 0, into=old, what=what)
    call("fchdir", root, what=what)
    if order.may_pivot:
        # The old root ends up on top of the new one; it is let go through its descriptor, and nothing is told to the host.
        call("pivot_root", here, here, ignore=[errno.EINVAL], skip_ignored=4, what=what)
        call("fchdir", old, what=what)
        call("mount", 0, here, 0, MS_SLAVE | MS_REC, 0, what=what)
        call("umount2", here, MNT_DETACH, what="let go of the host's root")
        call("chdir", plan.text("/"), skip_done=2, what=what)
    # Where the host's own root is the kernel's first one (an initramfs) there is no pivot_root.
    call("mount", here, plan.text("/"), 0, MS_MOVE, 0, what=what)
    call("chroot", here, what=what)
    call("chdir", plan.text("/"), what=what)


def finish_root(plan: Plan, order: Order) -> None:
    """After the pivot: how the root is handed on, and whether it can be written."""
    config = order.config
    if config.linux.rootfs_propagation:
        what = "say how the container's mounts are handed on"
        plan.child.call("mount", 0, plan.text("/"), 0, config.linux.rootfs_propagation, 0, what=what)
    if config.root is not None and config.root.readonly:
        mount = plan.slot()
        plan.child.call("openat", AT_FDCWD, plan.text("/"), FOLDER, 0, into=mount, what="make the root read-only")
        set_attributes(plan, mount, MOUNT_ATTR_RDONLY, 0, False, "make the root read-only")
