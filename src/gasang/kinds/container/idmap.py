"""User namespaces held by a descriptor: for mounts whose owners are shifted (mount_setattr(2)), and for containers to join."""

from __future__ import annotations

import os
from collections.abc import Sequence

from gasang.host.namespaces import CLONE_NEWNET, CLONE_NEWUSER
from gasang.kinds.container.config.linux import IdMapping, Linux
from gasang.kinds.container.launching import launch
from gasang.kinds.container.layout import CONTROL_END, PROC, REPORT, STATUS_END, STOPPED, WAIT
from gasang.kinds.container.plan import Built, Plan

_IDENTITY = "of mapped mounts"


def mapping_lines(mappings: Sequence[IdMapping]) -> bytes:
    """A mapping as /proc/PID/uid_map takes it."""
    return "".join(f"{line.inside} {line.outside} {line.size}\n" for line in mappings).encode()


def root_outside(linux: Linux) -> tuple[int, int]:
    """The numbers that a container's root has on the host; what is not mapped is 0."""
    return number_outside(0, linux.uid_mappings), number_outside(0, linux.gid_mappings)


def number_outside(number: int, mappings: Sequence[IdMapping]) -> int:
    """What a number of a container is on the host; the same where nothing maps it."""
    found = (line for line in mappings if line.inside <= number < line.inside + line.size)
    return next((line.outside + number - line.inside for line in found), number)


def number_inside(number: int, mappings: Sequence[IdMapping]) -> int:
    """What a number of the host is in a container; the same where nothing maps it."""
    found = (line for line in mappings if line.outside <= number < line.outside + line.size)
    return next((line.inside + number - line.outside for line in found), number)


def user_namespace(uids: Sequence[IdMapping], gids: Sequence[IdMapping]) -> int:
    """A descriptor of a new user namespace with these mappings; the caller closes it. Raises LaunchError if the host refuses."""
    return _namespaces(uids, gids, CLONE_NEWUSER, ("user",))[0]


def user_and_network(uids: Sequence[IdMapping], gids: Sequence[IdMapping]) -> tuple[int, int]:
    """Descriptors of a new user namespace and of a network that belongs to it, with its lo down; else as `user_namespace`."""
    user, network = _namespaces(uids, gids, CLONE_NEWUSER | CLONE_NEWNET, ("user", "net"))
    return user, network


def _namespaces(uids: Sequence[IdMapping], gids: Sequence[IdMapping], flags: int, files: Sequence[str]) -> list[int]:

    def make(launcher: int, memory: int) -> Built:
        plan = Plan()
        plan.status, control = plan.hand(STATUS_END, 3), plan.hand(CONTROL_END, 4)
        plan.launcher, plan.plan = plan.hand(launcher, 5), plan.hand(memory, 6)
        for name, mappings in (("uid", uids), ("gid", gids)):
            data = plan.bytes_of(mapping_lines(mappings))
            plan.parent.do(PROC, plan.pid_slot, plan.text(f"/{name}_map"), *data, what=f"map the {name}s of a mount")
        plan.child.do(REPORT, STOPPED, 0, what="hold the user namespace")
        plan.child.do(WAIT, control, plan.blob(bytes(8)), 1, what="hold the user namespace")
        return plan.build(flags)

    child = launch(_IDENTITY, make)
    try:
        return [os.open(f"/proc/{child.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in files]
    finally:
        child.end()
        child.close()
