"""What the plans of a container's first process and of a later one have in common: their descriptors, and how they end."""

from __future__ import annotations

import signal
from typing import Final

from gasang.host.processes import PR_SET_PDEATHSIG
from gasang.kinds.container.config.process import Process
from gasang.kinds.container.layout import CONTROL_END, HOOK, REPORT, STATUS_END, STOPPED, WAIT
from gasang.kinds.container.plan import Offset, Plan, Slot
from gasang.kinds.container.planning.order import START_STOP, Order
from gasang.kinds.container.planning.process import add_identity, add_rlimits, add_seccomp, execute, find_home, find_program

_HIGHEST: Final = (1 << 32) - 1
_EACCES: Final = 13


class PlanBase:
    """A plan in the making, and the numbers of its descriptors in the child."""

    def __init__(self, order: Order, process: Process, launcher: int, memory: int) -> None:
        self.order = order
        self.process = process
        self.config = order.config
        self.plan = Plan()
        self.state: tuple[Offset, Slot] | None = None
        self.opened: list[int] = []  # descriptors of ours that the plan uses; whoever does the plan closes them afterwards
        plan = self.plan
        for number, source in enumerate(order.stdio):
            plan.hand(source, number, keep=True)
        for source in order.preserved:
            plan.hand(source, len(plan.descriptors), keep=True)
        plan.status = self.hand(STATUS_END)
        self.control = self.hand(CONTROL_END)
        self.fifo = self.hand(order.start_fifo) if order.start_fifo >= 0 else self.control
        self.console = self.hand(order.console_socket) if order.console_socket >= 0 else -1
        if launcher >= 0:
            plan.launcher, plan.plan = self.hand(launcher), self.hand(memory)

    def hand(self, source: int) -> int:
        """Give the child a descriptor that the program does not keep; its number there."""
        return self.plan.hand(source, len(self.plan.descriptors))

    def add_hooks(self, when: str) -> None:
        """Hooks that run in the container's namespaces."""
        plan = self.plan
        for hook in self.config.hooks.get(when, ()):
            assert self.state is not None, "who has hooks waits for the state they are given"
            words = (plan.text(hook.path), plan.pointers(hook.args or (hook.path,)), plan.pointers(hook.env))
            plan.child.do(HOOK, *words, *self.state, hook.timeout * 1000, what=f"run the {when} hook {hook.path}")

    def add_end(self, *, may_set_groups: bool) -> None:
        """Nothing of the host is left open; then rights are given up, and the program starts."""
        plan, process, order = self.plan, self.process, self.order
        first = max(entry.target for entry in plan.descriptors) + 1
        plan.child.call("close_range", first, _HIGHEST, 0, what="close what the program must not see")
        add_rlimits(plan, process)
        if order.filter and not process.no_new_privileges:
            add_seccomp(plan, order.filter, order.filter_flags, self.control)
        self._change_folder()
        add_identity(plan, process, may_set_groups=may_set_groups and order.may_set_groups)
        self._change_folder()
        if order.dies_with_us:  # a change of user takes it away: now is the time
            plan.child.call("prctl", PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0, what="end with the supervisor")
        home = find_home(plan, process)
        found = find_program(plan, process)
        if order.waits_for_start:
            plan.child.do(REPORT, STOPPED, START_STOP, what="tell that all is ready")
            plan.child.do(WAIT, self.fifo, plan.blob(bytes(8)), 1, what="wait for the start")
        self.add_hooks("startContainer")
        if order.filter and process.no_new_privileges:
            add_seccomp(plan, order.filter, order.filter_flags, self.control)
        execute(plan, process, found, home)

    def _change_folder(self) -> None:
        """As root and again as the user: either may be the only one who can get there."""
        what = f"change to the working folder {self.process.cwd}"
        self.plan.child.call("chdir", self.plan.text(self.process.cwd), ignore=[_EACCES], what=what)
