"""Operations that make mounts: a file system, a bound folder or file, a tree read-only, put at a place beneath the root.

The mount is made detached, gets its attributes, and only then is moved to its place, both named by descriptors: no path is resolved twice,
and none outside the kernel's RESOLVE_IN_ROOT.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gasang.host.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    ATTRIBUTES,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    MOUNT_ATTR_IDMAP,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    PROPAGATION,
)
from gasang.host.users import are_the_hosts
from gasang.kinds.container import target
from gasang.kinds.container.layout import TARGET
from gasang.kinds.container.plan import Plan, Slot

MOVE: Final = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
CLONE: Final = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
ENOENT: Final = 2
ENOTDIR: Final = 20
EINVAL: Final = 22
_MS_REC: Final = 0x4000
_F_DUPFD_CLOEXEC: Final = 1030
_ATTR: Final = struct.Struct("<QQQQ")


@dataclass(frozen=True)
class Options:
    """A mount's options, sorted by who takes them."""

    set: int = 0
    clear: int = 0
    recursive_set: int = 0
    recursive_clear: int = 0
    propagation: int = 0
    is_bind: bool = False
    recursive: bool = False
    data: tuple[str, ...] = ()


BINDS: Final = {"bind": False, "rbind": True}
PASSED_OVER: Final = frozenset({"defaults", "tmpcopyup", "async", "loud", "nomand", "noiversion", "idmap", "ridmap"})


def sort_options(options: Sequence[str]) -> Options:
    """Options by kind; the last one said wins."""
    masks = {False: [0, 0], True: [0, 0]}
    propagation, is_bind, recursive = 0, False, False
    data: list[str] = []
    for option in options:
        attribute = ATTRIBUTES.get(option)
        if attribute is not None:
            pair = masks[attribute.recursive]
            pair[0] = pair[0] & ~(attribute.clear | attribute.set) | attribute.set
            pair[1] = pair[1] & ~attribute.set | attribute.clear
        elif option in PROPAGATION:
            propagation = PROPAGATION[option]
        elif option in BINDS:
            is_bind, recursive = True, recursive or BINDS[option]
        elif option not in PASSED_OVER:
            data.append(option)
    (set_, clear), (recursive_set, recursive_clear) = masks[False], masks[True]
    return Options(set_, clear, recursive_set, recursive_clear, propagation, is_bind, recursive, tuple(data))


def open_place(plan: Plan, root: Slot, path: str, kind: int, what: str) -> Slot:
    """Open a place beneath the root, made if need be."""
    place = plan.slot()
    plan.child.do(TARGET, root, plan.text(path), kind, 0o755, into=place, what=what)
    return place


def make_filesystem(plan: Plan, kind: str, source: str, options: Options, what: str) -> Slot:
    """A detached mount of a new instance of a file system."""
    context, mount = plan.slot(), plan.slot()
    call = plan.child.call
    call("fsopen", plan.text(kind), FSOPEN_CLOEXEC, into=context, what=what)
    if source:
        call("fsconfig", context, FSCONFIG_SET_STRING, plan.text("source"), plan.text(source), 0, what=what)
    for option in options.data:
        key, equals, value = option.partition("=")
        phrase = f"{what} with {option}"
        if equals:
            call("fsconfig", context, FSCONFIG_SET_STRING, plan.text(key), plan.text(value), 0, what=phrase)
        else:
            call("fsconfig", context, FSCONFIG_SET_FLAG, plan.text(key), 0, 0, what=phrase)
    call("fsconfig", context, FSCONFIG_CMD_CREATE, 0, 0, 0, what=what)
    call("fsmount", context, FSMOUNT_CLOEXEC, options.set, into=mount, what=what)
    call("close", context, what=what)
    return mount


def clone_tree(plan: Plan, directory: int | Slot, path: str, recursive: bool, what: str) -> Slot:
    """A detached copy of what is mounted at a path (or, with path "", at a descriptor)."""
    mount = plan.slot()
    flags = CLONE | (AT_RECURSIVE if recursive else 0) | (0 if path else AT_EMPTY_PATH)
    plan.child.call("open_tree", directory, plan.text(path), flags, into=mount, what=what)
    return mount


def take(plan: Plan, descriptor: int, what: str) -> Slot:
    """A detached mount that the caller has made."""
    mount = plan.slot()
    number = plan.hand(descriptor, len(plan.descriptors))
    plan.child.call("fcntl", number, _F_DUPFD_CLOEXEC, number, into=mount, what=what)
    return mount


def set_attributes(plan: Plan, mount: Slot, set_: int, clear: int, recursive: bool, what: str) -> None:
    """Set and clear attributes of a mount, or of its whole tree.

    What a root of users below the host's may not clear, because the host has set it, stays.
    """
    if not set_ | clear:
        return
    ignored = [] if set_ or are_the_hosts() else [errno.EPERM]
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    data = plan.blob(_ATTR.pack(set_, clear, 0, 0))
    plan.child.call("mount_setattr", mount, plan.text(""), flags, data, _ATTR.size, ignore=ignored, what=what)


def set_propagation(plan: Plan, mount: Slot, propagation: int, what: str) -> None:
    """Say how what is mounted below is handed on; `propagation` as mount(2) takes it."""
    if not propagation:
        return
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if propagation & _MS_REC else 0)
    data = plan.blob(_ATTR.pack(0, 0, propagation & ~_MS_REC, 0))
    plan.child.call("mount_setattr", mount, plan.text(""), flags, data, _ATTR.size, what=what)


def set_mapping(plan: Plan, mount: Slot, namespace: int, recursive: bool, what: str) -> None:
    """Shift the owners of a detached mount's files as a user namespace's mappings have it."""
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    data = plan.blob(_ATTR.pack(MOUNT_ATTR_IDMAP, 0, 0, namespace))
    plan.child.call("mount_setattr", mount, plan.text(""), flags, data, _ATTR.size, what=what)


def attach(plan: Plan, mount: Slot, place: Slot, what: str) -> None:
    """Move a detached mount to an open place, and close the place."""
    empty = plan.text("")
    plan.child.call("move_mount", mount, empty, place, empty, MOVE, what=what)
    plan.child.call("close", place, what=what)


def attach_at_path(plan: Plan, mount: Slot, path: str, what: str) -> None:
    """Move a detached mount to a path of the host."""
    plan.child.call("move_mount", mount, plan.text(""), AT_FDCWD, plan.text(path), MOVE_MOUNT_F_EMPTY_PATH, what=what)


def make_read_only(plan: Plan, root: Slot, path: str) -> None:
    """Have a path, if it is there, be read-only with all that is mounted below."""
    what = f"make {path} read-only"
    place, mount, empty = plan.slot(), plan.slot(), plan.text("")
    call = plan.child.call
    plan.child.do(TARGET, root, plan.text(path), target.EXISTING, 0, into=place, ignore=[ENOENT, ENOTDIR], skip_ignored=4, what=what)
    call("open_tree", place, empty, CLONE | AT_RECURSIVE | AT_EMPTY_PATH, into=mount, what=what)
    set_attributes(plan, mount, MOUNT_ATTR_RDONLY, 0, True, what)
    call("move_mount", mount, empty, place, empty, MOVE, what=what)
    call("close", place, what=what)


def mask(plan: Plan, root: Slot, path: str, null: Slot, nothing: Slot) -> None:
    """Have a path, if it is there, be empty: a file is covered by the null device, a folder by an empty one."""
    what = f"mask {path}"
    place, mount, empty = plan.slot(), plan.slot(), plan.text("")
    call = plan.child.call
    plan.child.do(TARGET, root, plan.text(path), target.EXISTING, 0, into=place, ignore=[ENOENT, ENOTDIR], skip_ignored=6, what=what)
    call("open_tree", null, empty, CLONE | AT_EMPTY_PATH, into=mount, what=what)
    set_attributes(plan, mount, MOUNT_ATTR_RDONLY, 0, False, what)
    call("move_mount", mount, empty, place, empty, MOVE, ignore=[EINVAL, ENOTDIR], skip_done=2, what=what)
    call("open_tree", nothing, empty, CLONE | AT_EMPTY_PATH, into=mount, what=what)
    call("move_mount", mount, empty, place, empty, MOVE, what=what)
    call("close", place, what=what)
