"""User namespaces for mounts whose owners are shifted (mount_setattr(2), "ID-mapped mounts"): held by a descriptor, entered by nobody."""

from __future__ import annotations

import os
from collections.abc import Sequence

from gasang.host.namespaces import CLONE_NEWUSER
from gasang.kinds.container.config.linux import IdMapping
from gasang.kinds.container.launching import launch
from gasang.kinds.container.layout import CONTROL_END, PROC, REPORT, STATUS_END, STOPPED, WAIT
from gasang.kinds.container.plan import Built, Plan

_IDENTITY = "of mapped mounts"


def mapping_lines(mappings: Sequence[IdMapping]) -> bytes:
    """A mapping as /proc/PID/uid_map takes it."""
    return "".join(f"{line.inside} {line.outside} {line.size}\n" for line in mappings).encode()


def user_namespace(uids: Sequence[IdMapping], gids: Sequence[IdMapping]) -> int:
    """A descriptor of a new user namespace with these mappings; the caller closes it. Raises LaunchError if the host refuses."""

    def make(launcher: int, memory: int) -> Built:
        plan = Plan()
        plan.status, control = plan.hand(STATUS_END, 3), plan.hand(CONTROL_END, 4)
        plan.launcher, plan.plan = plan.hand(launcher, 5), plan.hand(memory, 6)
        for name, mappings in (("uid", uids), ("gid", gids)):
            data = plan.bytes_of(mapping_lines(mappings))
            plan.parent.do(PROC, plan.pid_slot, plan.text(f"/{name}_map"), *data, what=f"map the {name}s of a mount")
        plan.child.do(REPORT, STOPPED, 0, what="hold the user namespace")
        plan.child.do(WAIT, control, plan.blob(bytes(8)), 1, what="hold the user namespace")
        return plan.build(CLONE_NEWUSER)

    child = launch(_IDENTITY, make)
    try:
        return os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        child.end()
        child.close()
