"""Namespaces of Linux: the flags that clone3(2), unshare(2) and setns(2) take, and their names in /proc/PID/ns."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

CLONE_VM: Final = 0x100
CLONE_PIDFD: Final = 0x1000
CLONE_VFORK: Final = 0x4000
CLONE_PARENT: Final = 0x8000
CLONE_CLEAR_SIGHAND: Final = 0x1_0000_0000
CLONE_INTO_CGROUP: Final = 0x2_0000_0000

CLONE_NEWTIME: Final = 0x80
CLONE_NEWNS: Final = 0x20000
CLONE_NEWCGROUP: Final = 0x2000000
CLONE_NEWUTS: Final = 0x4000000
CLONE_NEWIPC: Final = 0x8000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000


class Namespace(NamedTuple):
    """A kind of namespace: its flag, and the name of its file in /proc/PID/ns."""

    flag: int
    file: str


NAMESPACES: Final[dict[str, Namespace]] = {
    "user": Namespace(CLONE_NEWUSER, "user"),
    "mount": Namespace(CLONE_NEWNS, "mnt"),
    "uts": Namespace(CLONE_NEWUTS, "uts"),
    "ipc": Namespace(CLONE_NEWIPC, "ipc"),
    "network": Namespace(CLONE_NEWNET, "net"),
    "pid": Namespace(CLONE_NEWPID, "pid"),
    "cgroup": Namespace(CLONE_NEWCGROUP, "cgroup"),
    "time": Namespace(CLONE_NEWTIME, "time"),
}
"""The runtime specification's name → the kernel's; in the order in which they are joined, user first: it gives the right to the others."""


def elsewhere(pid: int, file: str) -> str:
    """The path of a process's namespace, "" where it is that of this process, which need not join it, and may not be let.

    Raises FileNotFoundError where the process has ended.
    """
    path = f"/proc/{pid}/ns/{file}"
    return "" if os.path.samefile(path, f"/proc/self/ns/{file}") else path
