"""Operations for the program itself: its limits, its user, its rights, where it starts, and its start."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence
from typing import Final

from gasang.host.mounts import AT_FDCWD
from gasang.host.processes import (
    LINUX_CAPABILITY_VERSION_3,
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_SET_DUMPABLE,
    PR_SET_KEEPCAPS,
    PR_SET_NO_NEW_PRIVS,
    SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_SET_MODE_FILTER,
)
from gasang.kinds.container.config.process import Process
from gasang.kinds.container.home import LONGEST_HOME
from gasang.kinds.container.idmap import root_outside
from gasang.kinds.container.layout import BOUNDING, EXECUTE, FIND, HOME, NOTIFY, REPORT, WAIT, WRITE
from gasang.kinds.container.plan import Offset, Operations, Plan, Slot
from gasang.kinds.container.planning.order import Order

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEYCTL_JOIN_SESSION_KEYRING: Final = 1
_IOPRIO_WHO_PROCESS: Final = 1
_SCHED_ATTR: Final = struct.Struct("<IIQiIQQQ")


def add_rlimits(plan: Plan, process: Process) -> None:
    """Resource limits; only once few descriptors are open, for their number is one of them."""
    for limit in process.rlimits:
        data = plan.blob(struct.pack("<QQ", limit.soft, limit.hard))
        plan.child.call("prlimit64", 0, limit.kind, data, 0, what=f"set {limit.name} to {limit.soft}:{limit.hard}")


def add_priorities(plan: Plan, operations: Operations, process: Process) -> None:
    """Scores and priorities of the process, while the host's /proc is still there and the rights to set them too."""
    call = operations.call
    if process.oom_score_adj is not None:
        data = plan.bytes_of(str(process.oom_score_adj).encode())
        what = "set oom_score_adj"
        path = plan.text("/proc/self/oom_score_adj")
        operations.do(WRITE, AT_FDCWD, path, os.O_WRONLY, *data, ignore=[errno.EACCES, errno.EPERM], what=what)
    scheduler = process.scheduler
    if scheduler is not None:
        attributes = _SCHED_ATTR.pack(
            _SCHED_ATTR.size, scheduler.policy, scheduler.flags, scheduler.nice, scheduler.priority, scheduler.runtime,
            scheduler.deadline, scheduler.period,
        )  # fmt: skip
        call("sched_setattr", 0, plan.blob(attributes), 0, what="set the scheduling policy")
    if process.io_priority is not None:
        call("ioprio_set", _IOPRIO_WHO_PROCESS, 0, process.io_priority, what="set the I/O priority")


def add_keyring(plan: Plan, identity: str) -> None:
    """A session keyring of its own: the caller's keys are not the container's."""
    name = plan.text(f"_ses.{identity}")
    plan.child.call("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, name, ignore=[errno.ENOSYS, errno.EPERM], what="make a session keyring")


def prepare_to_join(plan: Plan, order: Order) -> None:
    """Before users of a container are joined: who has rights among them may not look into us, and may open /dev/stdout later."""
    if not any(use.kind == "user" for use in order.config.linux.namespaces):
        return
    plan.before.call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0, what="keep the container from looking into us")
    uid, gid = root_outside(order.config.linux)
    for number in order.owned:
        plan.before.call("fchown", number, uid, gid, what="give the standard streams to the container's root")


def become_root(plan: Plan) -> None:
    """Be the root of the user namespace that this process is in."""
    plan.child.call("setresgid", 0, 0, 0, what="become the container's root")
    plan.child.call("setresuid", 0, 0, 0, what="become the container's root")


def add_seccomp(plan: Plan, program: bytes, flags: int, control: int) -> None:
    """Install a filter; `program` is an array of struct sock_filter.

    Where there is a listener, who asked fetches it from this process while it waits: execve would close it.
    """
    what = "install the system call filter"
    code = plan.blob(program)
    description = plan.blob(struct.pack("<HHIQ", len(program) // 8, 0, 0, 0))
    plan.address(Offset(description + 8), code)
    listener = plan.slot()
    plan.child.call("seccomp", SECCOMP_SET_MODE_FILTER, flags, description, into=listener, what=what)
    if flags & SECCOMP_FILTER_FLAG_NEW_LISTENER:
        plan.child.do(REPORT, NOTIFY, listener, what="hand the listener over")
        plan.child.do(WAIT, control, plan.blob(bytes(8)), 1, what="hand the listener over")


def add_identity(plan: Plan, process: Process, *, may_set_groups: bool) -> None:
    """Bounding set, user, groups and capabilities; from here on the process is no longer privileged."""
    call, user, wanted = plan.child.call, process.user, process.capabilities
    plan.child.do(BOUNDING, wanted.bounding, ignore=[errno.EPERM] if not may_set_groups else [], what="drop capabilities")
    call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0, what="keep capabilities across the change of user")
    groups = plan.blob(b"".join(group.to_bytes(4, "little") for group in user.groups) + bytes(4))
    ignored = [] if may_set_groups or user.groups else [errno.EPERM]
    call("setgroups", len(user.groups), groups, ignore=ignored, what="set the additional groups")
    call("setresgid", user.gid, user.gid, user.gid, what=f"become group {user.gid}")
    call("setresuid", user.uid, user.uid, user.uid, what=f"become user {user.uid}")
    call("prctl", PR_SET_KEEPCAPS, 0, 0, 0, 0, what="keep capabilities across the change of user")
    call("umask", 0o022 if user.umask is None else user.umask, what="set the umask")
    header = plan.blob(struct.pack("<Ii", LINUX_CAPABILITY_VERSION_3, 0))
    low = [mask & 0xFFFFFFFF for mask in (wanted.effective, wanted.permitted, wanted.inheritable)]
    high = [mask >> 32 for mask in (wanted.effective, wanted.permitted, wanted.inheritable)]
    call("capset", header, plan.blob(struct.pack("<6I", *low, *high)), what="set capabilities")
    call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, ignore=[errno.EINVAL], what="clear ambient capabilities")
    for number in range(64):
        # As the kernel has it, only what is permitted and inheritable can be ambient.
        if wanted.ambient & wanted.permitted & wanted.inheritable & 1 << number:
            call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0, what="raise ambient capabilities")
    if process.no_new_privileges:
        call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, what="set no_new_privs")


def program_candidates(process: Process) -> list[str]:
    """Where the program may be: its own path, or its name in each folder of PATH."""
    name = process.args[0]
    if "/" in name:
        return [name]
    path = next((entry[5:] for entry in reversed(process.env) if entry.startswith("PATH=")), DEFAULT_PATH)
    return [f"{folder or '.'}/{name}" for folder in path.split(":")]


def find_program(plan: Plan, process: Process) -> Slot:
    """Look for the program, so that its absence is known before anything waits for the start."""
    found = plan.slot()
    plan.child.do(FIND, plan.candidates(program_candidates(process)), into=found, what=f"execute {process.args[0]}")
    return found


def find_home(plan: Plan, process: Process) -> list[Offset]:
    """Where the environment names no HOME, a place for one, which the image's /etc/passwd decides."""
    if any(entry.startswith("HOME=") for entry in process.env):
        return []
    place = plan.room("HOME=/", LONGEST_HOME + 5)
    plan.child.do(HOME, plan.text("/etc/passwd"), process.user.uid, Offset(place + 5), what="look up the user's home")
    return [place]


def execute(plan: Plan, process: Process, found: Slot, more: Sequence[Offset]) -> None:
    """The last operation."""
    environment = plan.pointers(process.env, more)
    plan.child.do(EXECUTE, found, plan.pointers(process.args), environment, what=f"execute {process.args[0]}")
