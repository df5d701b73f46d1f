"""A container for one run: made, started, waited for, removed.

    container = Container.create(config, FolderRoot("/srv/root"), identity="web")
    container.start()
    exit_code = container.wait()
    container.delete()

`create` makes the control groups and the first process, up to where it would execute its program; `start` lets it; nothing needs a daemon.
What the host does not let us do as asked, and may be passed over, is told in `warnings`.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from gasang.core.errors import StateError, UnsupportedError
from gasang.host.namespaces import NAMESPACES
from gasang.host.processes import SECCOMP_FILTER_FLAG_NEW_LISTENER
from gasang.host.syscalls import machine_name
from gasang.kinds.container.cgroups.group import Cgroup
from gasang.kinds.container.config.config import VERSION, Config
from gasang.kinds.container.config.process import Process
from gasang.kinds.container.config.seccomp import NOTIFY as ACTION_NOTIFY
from gasang.kinds.container.config.seccomp import Seccomp
from gasang.kinds.container.hooks import run_hooks, try_hooks
from gasang.kinds.container.launching import Child, LaunchError, launch
from gasang.kinds.container.layout import NOTIFY, RUNNING, STOPPED
from gasang.kinds.container.notify import hand_listener_over
from gasang.kinds.container.plan import Built
from gasang.kinds.container.planning.entering import EnteringPlanner
from gasang.kinds.container.planning.order import RUNTIME_STOP, START_STOP, CgroupUse, Order, OverlayRoot, Root
from gasang.kinds.container.planning.planner import Planner
from gasang.kinds.container.privileges import clamp, is_rootless
from gasang.kinds.container.rootcopy import copy_layers
from gasang.kinds.container.seccomp.compiler import compile_filter

NO_OVERLAY: Final = frozenset({errno.ENODEV, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
HOOK_POINTS: Final = ("prestart", "createRuntime", "createContainer", "startContainer")


@dataclass(frozen=True)
class Streams:
    """What a process is given: three standard descriptors, more from 3 on, and a socket for its terminal's other end (-1: none)."""

    stdio: tuple[int, int, int] = (0, 1, 2)
    preserved: Sequence[int] = ()
    console_socket: int = -1


@dataclass(frozen=True)
class Exit:
    """How a container's first process ended. `code` is 128 + the signal's number where a signal ended it."""

    code: int
    signal: int = 0
    out_of_memory: bool = False


class Container:
    """One container. Made by `create`."""

    def __init__(self, config: Config, root: Root, identity: str, cgroup: Cgroup | None, bundle: str) -> None:
        self.config = config
        self.root = root
        self.identity = identity
        self.cgroup = cgroup
        self.bundle = bundle
        self.status = "creating"
        self.warnings: list[str] = []
        self.child: Child | None = None
        self.exit: Exit | None = None
        self._entered: list[Child] = []
        self._more_entered = -1

    @classmethod
    def create(
        cls,
        config: Config,
        root: Root,
        *,
        identity: str,
        bundle: str = "",
        streams: Streams | None = None,
        cgroup: Cgroup | None = None,
        start_fifo: int = -1,
        may_pivot: bool = True,
        new_keyring: bool = True,
        dies_with_us: bool = False,
    ) -> Container:
        """Make a container whose program waits to be started; `dies_with_us` ends it when the thread that calls this ends.

        Raises LaunchError for what the host refuses, its subclasses ProgramMissingError and ProgramRefusedError for the program, and what
        hooks, control groups and the planner raise. Nothing is left behind then.
        """
        if config.process is None:
            raise UnsupportedError(f"container {identity}", "its configuration has no process", "add one")
        if config.process.terminal and (streams is None or streams.console_socket < 0):
            raise UnsupportedError(f"container {identity}", "its process wants a terminal, and there is no console socket", "give one")
        container = cls(config, root, identity, cgroup or _cgroup_for(config, identity), bundle)
        container._make(streams or Streams(), start_fifo, may_pivot, new_keyring, dies_with_us)
        return container

    def _make(self, streams: Streams, start_fifo: int, may_pivot: bool, new_keyring: bool, dies_with_us: bool) -> None:
        process = clamp(self._checked_process(), self.warnings, in_user_namespace=has_user_namespace(self.config))
        hooks = self.config.hooks
        use = CgroupUse()
        if self.cgroup is not None:
            self.cgroup.create(self.config.linux.resources)  # what it made it removes itself if it fails
            self.warnings += self.cgroup.warnings
            use = self.cgroup.use()
        try:
            program, flags = filter_of(self.config.linux.seccomp)
            order = Order(
                self.config, self.root, self.identity, use, streams.stdio, streams.preserved, streams.console_socket, start_fifo, True,
                any(hooks.get(point) for point in HOOK_POINTS), may_pivot, new_keyring, not is_rootless(), program, flags, dies_with_us,
            )  # fmt: skip
            self._launch(order, process)
            self._reach(START_STOP)
        except BaseException:
            self._clean_up()
            raise
        finally:
            if use.descriptor >= 0:
                os.close(use.descriptor)
        self.status = "created"

    def _launch(self, order: Order, process: Process) -> None:
        """Make the first process; where the kernel gives us no overlayfs, on a copy of the layers."""
        try:
            self._launch_once(order, process)
        except LaunchError as error:
            if not isinstance(order.root, OverlayRoot) or not error.phrase.startswith("mount the root") or error.error not in NO_OVERLAY:
                raise
            self.root = copy_layers(order.root)
            self.warnings.append(f"no overlayfs here ({os.strerror(error.error).lower()}): the layers were copied to {self.root.path}")
            self._launch_once(replace(order, root=self.root), process)

    def _launch_once(self, order: Order, process: Process) -> None:
        opened: list[int] = []

        def make(launcher: int, memory: int) -> Built:
            planner = Planner(order, process, launcher, memory)
            planner.opened = opened
            return planner.build()

        try:
            self.child = launch(self.identity, make)
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _checked_process(self) -> Process:
        assert self.config.process is not None, "create has looked"
        process = self.config.process
        for name, value in (("apparmorProfile", process.apparmor), ("selinuxLabel", process.selinux)):
            if value and value != "unconfined":
                self.warnings.append(f"process.{name} {value} is not applied")
        if self.config.linux.has_rdt:
            self.warnings.append("linux.intelRdt is not applied")
        if self.config.linux.mount_label:
            self.warnings.append(f"linux.mountLabel {self.config.linux.mount_label} is not applied")
        for mount in self.config.mounts:
            if "tmpcopyup" in mount.options:
                self.warnings.append(f"mount on {mount.destination}: tmpcopyup is not done, it begins empty")
        return process

    def _reach(self, stop: int) -> None:
        """Do our part at each stop of the child, up to `stop` (0: until its program runs)."""
        child = self._living_child()
        while not (child.event == STOPPED and child.value == stop):
            if child.event == RUNNING:
                if stop:
                    raise LaunchError(self.identity, "make the process: it ended before it was ready", 0)
                return
            if child.event == STOPPED and child.value == RUNTIME_STOP:
                for when in ("prestart", "createRuntime"):
                    run_hooks(when, self.config.hooks.get(when, ()), self.state_bytes())
                child.tell(self.state_bytes())
            elif child.event == NOTIFY:
                self.hand_over(child)
            child.follow()

    def hand_over(self, child: Child) -> None:
        """Send a process's seccomp listener to the agent."""
        seccomp = self.config.linux.seccomp
        assert seccomp is not None, "only a filter has a listener"
        hand_listener_over(child.pidfd, child.value, seccomp.listener, seccomp.listener_metadata, child.pid, self.state())
        child.tell(b"n")

    def _living_child(self) -> Child:
        if self.child is None:
            raise StateError(f"container {self.identity}", "it has no process", "create it first")
        return self.child

    @property
    def pid(self) -> int:
        """The first process, as the host numbers it; 0 where there is none."""
        return self.child.pid if self.child is not None and self.exit is None else 0

    def state(self) -> dict[str, Any]:
        """The state as the runtime specification has it."""
        state: dict[str, Any] = {"ociVersion": VERSION, "id": self.identity, "status": self.status, "bundle": self.bundle}
        if self.pid:
            state["pid"] = self.pid
        if self.config.annotations:
            state["annotations"] = dict(self.config.annotations)
        return state

    def state_bytes(self) -> bytes:
        """The state as hooks are given it."""
        return json.dumps(self.state()).encode()

    def start(self) -> None:
        """Let the program start. Raises LaunchError if it cannot, StateError if it was started before."""
        if self.status != "created":
            raise StateError(f"container {self.identity}", f"it is {self.status}", "only a created container can be started")
        child = self._living_child()
        try:
            child.tell(b"s")
            child.follow()
            self._reach(0)
        except LaunchError:
            self.status = "stopped"
            self._clean_up()
            raise
        self.status = "running"
        self.warnings += try_hooks("poststart", self.config.hooks.get("poststart", ()), self.state_bytes())

    def wait(self) -> Exit:
        """Wait for the first process's end; how it ended."""
        if self.exit is None:
            self._reap_entered()
            result = self._living_child().wait()
            killed = self.cgroup is not None and result == -signal.SIGKILL and self.cgroup.out_of_memory_kills() > 0
            self.exit = Exit(result if result >= 0 else 128 - result, max(0, -result), killed)
            self.status = "stopped"
        return self.exit

    def _reap_entered(self) -> None:
        """Until the first process has ended: reap others of ours that end, for unreaped they would keep it."""
        first = self._living_child().pidfd
        self._more_entered = os.eventfd(0, os.EFD_CLOEXEC)
        try:
            while True:
                poll = select.poll()
                others = {child.pidfd: child for child in self._entered if child.pidfd >= 0 and not child.reaped}
                for descriptor in (first, self._more_entered, *others):
                    poll.register(descriptor, select.POLLIN)
                ready = [descriptor for descriptor, _ in poll.poll()]
                for descriptor in ready:
                    if descriptor in others:
                        others[descriptor].wait()
                if first in ready:
                    return
                if self._more_entered in ready:
                    os.eventfd_read(self._more_entered)
        finally:
            descriptor, self._more_entered = self._more_entered, -1
            os.close(descriptor)

    def kill(self, number: int = signal.SIGTERM, *, everyone: bool = False) -> None:
        """Send a signal to the first process, or to every process. Raises StateError if it has ended."""
        if self.status not in ("created", "running", "paused"):
            raise StateError(f"container {self.identity}", f"it is {self.status}", "there is nothing to send a signal to")
        signal.pidfd_send_signal(self._living_child().pidfd, number)
        if everyone and self.cgroup is not None and number == signal.SIGKILL:
            self.cgroup.kill()

    def pause(self) -> None:
        """Stop all its processes in their tracks."""
        self._group().freeze()
        self.status = "paused"

    def resume(self) -> None:
        """Let them run on."""
        self._group().thaw()
        self.status = "running"

    def _group(self) -> Cgroup:
        if self.cgroup is None:
            raise UnsupportedError(f"container {self.identity}", "it has no control group", "run as root")
        return self.cgroup

    def execute(self, process: Process, streams: Streams | None = None, *, waits_for_start: bool = False) -> Child:
        """One more process in a container that runs; the caller waits for it and closes it, or `delete` ends it.

        Raises LaunchError as `create` does.
        """
        if self.status not in ("running", "created"):
            raise StateError(f"container {self.identity}", f"it is {self.status}", "only a running container takes more processes")
        child = enter(self, self._living_child().pidfd, process, streams or Streams(), waits_for_start=waits_for_start)
        self._entered = [other for other in self._entered if other.pidfd >= 0] + [child]
        if self._more_entered >= 0:
            os.eventfd_write(self._more_entered, 1)
        return child

    def delete(self, *, force: bool = False) -> None:
        """Remove what is left of it: control groups, descriptors. Raises StateError while it runs, unless `force`."""
        if self.status in ("running", "paused", "created") and self.exit is None:
            if not force:
                raise StateError(f"container {self.identity}", f"it is {self.status}", "stop it first, or delete it with force")
            self.kill(signal.SIGKILL)
            if self.cgroup is not None:
                self.cgroup.thaw()
            for child in self._entered:
                child.end()
            self.wait()
        self._clean_up()
        self.warnings += try_hooks("poststop", self.config.hooks.get("poststop", ()), self.state_bytes())

    def _clean_up(self) -> None:
        child, self.child = self.child, None
        if child is not None and child.pidfd >= 0:
            child.end()
            child.close()
        if self.cgroup is not None:
            self.cgroup.delete()


def _cgroup_for(config: Config, identity: str) -> Cgroup | None:
    return None if is_rootless() else Cgroup.at(config.linux.cgroups_path, identity)


def has_user_namespace(config: Config) -> bool:
    """Whether the container's root is not the host's."""
    return any(use.kind == "user" for use in config.linux.namespaces)


def filter_of(seccomp: Seccomp | None) -> tuple[bytes, int]:
    """A configuration's filter as a program, and the flags to install it with."""
    if seccomp is None:
        return b"", 0
    listens = any(rule.action == ACTION_NOTIFY for rule in seccomp.rules)
    return compile_filter(seccomp, machine_name()), seccomp.flags | (SECCOMP_FILTER_FLAG_NEW_LISTENER if listens else 0)


def enter(container: Container, target: int, process: Process, streams: Streams, *, waits_for_start: bool = False) -> Child:
    """Start a process in the namespaces of the process that the pidfd `target` names, under the container's limits."""
    process = clamp(process, container.warnings, in_user_namespace=has_user_namespace(container.config))
    config = replace(container.config, process=process, hooks={})
    namespaces = 0
    for use in config.linux.namespaces:
        namespaces |= NAMESPACES[use.kind].flag
    use_of_group = container.cgroup.use() if container.cgroup is not None else CgroupUse()
    try:
        program, flags = filter_of(config.linux.seccomp)
        order = Order(
            config, container.root, container.identity, use_of_group, streams.stdio, streams.preserved, streams.console_socket,
            waits_for_start=waits_for_start, privileged_limits=not is_rootless(), filter=program, filter_flags=flags,
        )  # fmt: skip
        child = launch(
            container.identity, lambda launcher, memory: EnteringPlanner(order, process, target, namespaces, launcher, memory).build()
        )
    finally:
        if use_of_group.descriptor >= 0:
            os.close(use_of_group.descriptor)
    while child.event == NOTIFY:
        container.hand_over(child)
        child.follow()
    return child
