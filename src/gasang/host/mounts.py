"""Mounting on Linux: flags of mount(2), and of the calls that open and move mounts; names of options."""

from __future__ import annotations

from typing import Final, NamedTuple

MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_REMOUNT: Final = 0x20
MS_BIND: Final = 0x1000
MS_MOVE: Final = 0x2000
MS_REC: Final = 0x4000
MS_UNBINDABLE: Final = 1 << 17
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20
MNT_DETACH: Final = 2

MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8
MOUNT_ATTR_ATIME: Final = 0x70
"""A field of three: relatime 0, noatime 0x10, strictatime 0x20."""
MOUNT_ATTR_NOATIME: Final = 0x10
MOUNT_ATTR_STRICTATIME: Final = 0x20
MOUNT_ATTR_NODIRATIME: Final = 0x80
MOUNT_ATTR_IDMAP: Final = 0x100000
MOUNT_ATTR_NOSYMFOLLOW: Final = 0x200000

OPEN_TREE_CLONE: Final = 1
OPEN_TREE_CLOEXEC: Final = 0o2000000
AT_RECURSIVE: Final = 0x8000
AT_EMPTY_PATH: Final = 0x1000
AT_FDCWD: Final = -100
MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40

FSOPEN_CLOEXEC: Final = 1
FSMOUNT_CLOEXEC: Final = 1
FSCONFIG_SET_FLAG: Final = 0
FSCONFIG_SET_STRING: Final = 1
FSCONFIG_SET_FD: Final = 5
FSCONFIG_CMD_CREATE: Final = 6

RESOLVE_NO_XDEV: Final = 1
RESOLVE_NO_MAGICLINKS: Final = 2
RESOLVE_NO_SYMLINKS: Final = 4
RESOLVE_BENEATH: Final = 8
RESOLVE_IN_ROOT: Final = 16


class Attribute(NamedTuple):
    """What an option does to a mount: bits of MOUNT_ATTR_* to set and to clear, and whether for the mounts below it too."""

    set: int
    clear: int = 0
    recursive: bool = False


def _attributes() -> dict[str, Attribute]:
    plain = {
        "ro": Attribute(MOUNT_ATTR_RDONLY),
        "rw": Attribute(0, MOUNT_ATTR_RDONLY),
        "nosuid": Attribute(MOUNT_ATTR_NOSUID),
        "suid": Attribute(0, MOUNT_ATTR_NOSUID),
        "nodev": Attribute(MOUNT_ATTR_NODEV),
        "dev": Attribute(0, MOUNT_ATTR_NODEV),
        "noexec": Attribute(MOUNT_ATTR_NOEXEC),
        "exec": Attribute(0, MOUNT_ATTR_NOEXEC),
        "nodiratime": Attribute(MOUNT_ATTR_NODIRATIME),
        "diratime": Attribute(0, MOUNT_ATTR_NODIRATIME),
        "relatime": Attribute(0, MOUNT_ATTR_ATIME),
        "norelatime": Attribute(0, MOUNT_ATTR_ATIME),
        "noatime": Attribute(MOUNT_ATTR_NOATIME, MOUNT_ATTR_ATIME),
        "atime": Attribute(0, MOUNT_ATTR_ATIME),
        "strictatime": Attribute(MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_ATIME),
        "nostrictatime": Attribute(0, MOUNT_ATTR_ATIME),
        "nosymfollow": Attribute(MOUNT_ATTR_NOSYMFOLLOW),
        "symfollow": Attribute(0, MOUNT_ATTR_NOSYMFOLLOW),
        "defaults": Attribute(0),
    }
    recursive = {f"r{name}": attribute._replace(recursive=True) for name, attribute in plain.items() if name != "defaults"}
    return {**recursive, **plain}  # "relatime" is itself, not a recursive "elatime"


ATTRIBUTES: Final = _attributes()
"""Option name → what it does; those with a leading r go to the whole tree of mounts."""

PROPAGATION: Final[dict[str, int]] = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "shared": MS_SHARED,
    "rshared": MS_SHARED | MS_REC,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}
"""Option name → mount(2) flags that change only how mounts are handed on."""
