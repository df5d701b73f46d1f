"""The plan of one more process in a running container: its namespaces are joined, and nothing is made."""

from __future__ import annotations

import errno
import os
import struct
from typing import Final

from gasang.host.mounts import AT_FDCWD, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS
from gasang.host.processes import TIOCGPTPEER, TIOCSPTLCK, TIOCSWINSZ
from gasang.kinds.container.config.process import Process
from gasang.kinds.container.layout import SIGNALS, WRITE
from gasang.kinds.container.plan import Built
from gasang.kinds.container.planning.base import PlanBase
from gasang.kinds.container.planning.devices import send_master, take_terminal
from gasang.kinds.container.planning.order import Order
from gasang.kinds.container.planning.process import add_keyring, add_priorities, become_root, prepare_to_join

_OPEN_TERMINAL: Final = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC


class EnteringPlanner(PlanBase):
    """Makes the plan. `target` is a pidfd of the container's first process, `namespaces` the flags of those it has of its own."""

    def __init__(self, order: Order, process: Process, target: int, namespaces: int, launcher: int = -1, memory: int = -1) -> None:
        super().__init__(order, process, launcher, memory)
        self.target = self.hand(target)
        self.namespaces = namespaces

    def build(self) -> Built:
        """The plan."""
        plan, order = self.plan, self.order
        zero = plan.bytes_of(b"0")
        for path in order.cgroup.join_files:
            plan.before.do(WRITE, AT_FDCWD, plan.text(path), os.O_WRONLY, *zero, what=f"join the control group {path}")
        plan.cgroup = order.cgroup.descriptor
        # Priorities are inherited: they are set while /proc is still the host's.
        add_priorities(plan, plan.before, self.process)
        prepare_to_join(plan, order)
        plan.before.call("setns", self.target, self.namespaces, what="join the container's namespaces")
        plan.child.do(SIGNALS, plan.blob(bytes(32)), what="reset signals")
        plan.child.call("setsid", what="start a session", ignore=[errno.EPERM])
        if any(use.kind == "user" for use in self.config.linux.namespaces):
            become_root(plan)
        if self.config.linux.personality is not None:
            plan.child.call("personality", self.config.linux.personality, what="set the personality")
        if order.new_keyring:
            add_keyring(plan, order.identity)
        if self.process.terminal:
            self._terminal()
        rootless = any(use.kind == "user" for use in self.config.linux.namespaces) and not order.privileged_limits
        self.add_end(may_set_groups=not rootless)
        return plan.build(0)

    def _terminal(self) -> None:
        """A terminal of the container's devpts; no link may lead to another."""
        plan, call, what = self.plan, self.plan.child.call, "make the terminal"
        master, slave = plan.slot(), plan.slot()
        how = plan.blob(struct.pack("<QQQ", _OPEN_TERMINAL, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS))
        call("openat2", AT_FDCWD, plan.text("/dev/pts/ptmx"), how, 24, into=master, what=what)
        call("ioctl", master, TIOCSPTLCK, plan.blob(bytes(8)), what=what)
        call("ioctl", master, TIOCGPTPEER, _OPEN_TERMINAL, into=slave, what=what)
        if self.process.console_size is not None:
            call("ioctl", slave, TIOCSWINSZ, plan.blob(struct.pack("<HHHH", *self.process.console_size, 0, 0)), what=what)
        if self.process.user.uid:
            call("fchown", slave, self.process.user.uid, (1 << 32) - 1, ignore=[errno.EPERM, errno.EINVAL], what=what)
        take_terminal(plan, slave, what)
        send_master(plan, master, self.console)
