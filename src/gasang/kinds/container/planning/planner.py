"""The plan of a container's first process, from an Order."""

from __future__ import annotations

import os
import struct
from typing import Final

from gasang.core.errors import BadInputError, UnsupportedError
from gasang.host.mounts import AT_FDCWD
from gasang.host.namespaces import CLONE_NEWCGROUP, CLONE_NEWTIME, NAMESPACES
from gasang.host.processes import SIOCSIFFLAGS
from gasang.kinds.container import target
from gasang.kinds.container.config.config import Mount
from gasang.kinds.container.config.linux import IdMapping
from gasang.kinds.container.config.process import Process
from gasang.kinds.container.idmap import mapping_lines, user_namespace
from gasang.kinds.container.layout import PROC, REPORT, SIGNALS, STOPPED, TARGET, WAIT, WRITE
from gasang.kinds.container.plan import Built, Operations, Slot
from gasang.kinds.container.planning.base import PlanBase
from gasang.kinds.container.planning.devices import add_devices, add_terminal, has_own_dev
from gasang.kinds.container.planning.order import RUNTIME_STOP, MadeRoot, Order
from gasang.kinds.container.planning.process import add_keyring, add_priorities, become_root, prepare_to_join
from gasang.kinds.container.planning.root import enter_root, finish_root, put_root
from gasang.kinds.container.planning.tree import add_mounts, hide_paths

_IFF_UP: Final = 1
_LONGEST_STATE: Final = 65536


class Planner(PlanBase):
    """Makes the plan of a container's first process."""

    def __init__(self, order: Order, process: Process, launcher: int = -1, memory: int = -1) -> None:
        super().__init__(order, process, launcher, memory)
        self.own = {use.kind: use for use in order.config.linux.namespaces}
        self.new = {kind for kind, use in self.own.items() if not use.path}
        self.joins_users = "user" in self.own and "user" not in self.new

    def build(self) -> Built:
        """The plan."""
        if "mount" not in self.new:
            raise UnsupportedError("the container", "it has no mount namespace of its own", 'add {"type": "mount"} to linux.namespaces')
        flags = self._namespaces()
        self._settle()
        self._network()
        self._settings()
        root, nothing = put_root(self.plan, self.order)
        add_mounts(self.plan, self.order, root, self._mapped)
        if has_own_dev(self.config):
            add_devices(self.plan, self.order, root)
        hide_paths(self.plan, self.order, root, nothing)
        if self.process.terminal:
            add_terminal(self.plan, self.order, root, self.process.user.uid, self.console)
        if not self.joins_users:
            add_priorities(self.plan, self.plan.child, self.process)
        self._make_cwd(root)
        self._runtime_hooks()
        enter_root(self.plan, self.order, root)
        finish_root(self.plan, self.order)
        rootless = "user" in self.new and not self.order.privileged_limits
        self.add_end(may_set_groups=not rootless)
        return self.plan.build(flags)

    def _mapped(self, mount: Mount) -> int:
        """A user namespace for a mount with mappings of its own, else those of the container."""
        linux = self.config.linux
        uids, gids = mount.uid_mappings or linux.uid_mappings, mount.gid_mappings or linux.gid_mappings
        if not uids or not gids:
            cause = "it is to have other owners, and nothing says which"
            raise BadInputError(f"mount on {mount.destination}", cause, "add uidMappings and gidMappings to it")
        self.opened.append(user_namespace(uids, gids))
        return self.hand(self.opened[-1])

    def _namespaces(self) -> int:
        """Which are made by the clone, and which are joined before it."""
        plan, flags = self.plan, 0
        joined: list[tuple[Slot, int, str]] = []
        for kind, namespace in NAMESPACES.items():
            use = self.own.get(kind)
            if use is None:
                continue
            if use.path:
                what = f"join the {kind} namespace {use.path}"
                found = plan.slot()
                plan.before.call("openat", AT_FDCWD, plan.text(use.path), os.O_RDONLY | os.O_CLOEXEC, 0, into=found, what=what)
                joined.append((found, namespace.flag, what))
            elif kind not in ("cgroup", "time"):
                flags |= namespace.flag
        if self.joins_users:
            self._as_host_root()
        for found, flag, what in joined:  # once all are open: who has joined other users may look at nobody's
            plan.before.call("setns", found, flag, what=what)
        if "time" in self.new:
            self._time()
        if "user" in self.new and not plan.before.phrases:
            plan.before.call("getpid", what="start the helper")
        joins = plan.before if plan.before.phrases else plan.child
        self._join_cgroup(joins)
        plan.cgroup = self.order.cgroup.descriptor
        return flags

    def _as_host_root(self) -> None:
        """What only the host's root may do, before the container's users are joined."""
        add_priorities(self.plan, self.plan.before, self.process)
        prepare_to_join(self.plan, self.order)
        if isinstance(self.order.root, MadeRoot):
            path = self.order.root.path
            self.plan.before.call("chdir", self.plan.text(path), what=f"change to the root folder {path}")

    def _time(self) -> None:
        plan = self.plan
        plan.before.call("unshare", CLONE_NEWTIME, what="make a time namespace")
        lines = "".join(f"{clock} {seconds} {nano}\n" for clock, (seconds, nano) in self.config.linux.time_offsets.items())
        if lines:
            data = plan.bytes_of(lines.encode())
            path = plan.text("/proc/self/timens_offsets")
            plan.before.do(WRITE, AT_FDCWD, path, os.O_WRONLY, *data, what="set the clocks of the time namespace")

    def _join_cgroup(self, operations: Operations) -> None:
        zero = self.plan.bytes_of(b"0")
        for path in self.order.cgroup.join_files:
            operations.do(WRITE, AT_FDCWD, self.plan.text(path), os.O_WRONLY, *zero, what=f"join the control group {path}")

    def _settle(self) -> None:
        """First things in the child: signals, session, mappings, names."""
        plan, call = self.plan, self.plan.child.call
        plan.child.do(SIGNALS, plan.blob(bytes(32)), what="reset signals")
        call("setsid", what="start a session", ignore=[1])
        if "user" in self.new:
            self._map_users()
        if self.joins_users or "user" in self.new:
            become_root(plan)
        if "cgroup" in self.new:
            call("unshare", CLONE_NEWCGROUP, what="make a control group namespace")
        call("umask", 0, what="clear the umask")
        for name, value in (("sethostname", self.config.hostname), ("setdomainname", self.config.domainname)):
            if value:
                call(name, plan.text(value), len(value.encode()), what=f"name the host {value}")
        if self.config.linux.personality is not None:
            call("personality", self.config.linux.personality, what="set the personality")
        if self.order.new_keyring:
            add_keyring(plan, self.order.identity)

    def _map_users(self) -> None:
        """The parent writes the mappings while the child waits."""
        plan = self.plan
        linux = self.config.linux
        plan.child.do(WAIT, self.control, plan.blob(bytes(8)), 1, what="wait for the user mappings")
        if not self.order.privileged_limits and not _can_set_groups(linux.gid_mappings):
            data = plan.bytes_of(b"deny")
            plan.parent.do(PROC, plan.pid_slot, plan.text("/setgroups"), *data, what="deny setgroups")
        for name, mappings in (("uid", linux.uid_mappings), ("gid", linux.gid_mappings)):
            if mappings:
                data = plan.bytes_of(mapping_lines(mappings))
                plan.parent.do(PROC, plan.pid_slot, plan.text(f"/{name}_map"), *data, what=f"map the {name}s")
        plan.parent.call("write", plan.control_slot, plan.text("u"), 1, what="let the child go on")

    def _network(self) -> None:
        """A new network namespace has its loopback down."""
        if "network" not in self.new:
            return
        plan, call, what = self.plan, self.plan.child.call, "bring the loopback up"
        socket = plan.slot()
        call("socket", 2, 2 | os.O_CLOEXEC, 0, into=socket, what=what)
        call("ioctl", socket, SIOCSIFFLAGS, plan.blob(struct.pack("<16sH22x", b"lo", _IFF_UP)), what=what)
        call("close", socket, what=what)

    def _settings(self) -> None:
        """Settings of the namespaces, through the host's /proc: the image has no part in it."""
        plan = self.plan
        for path, value in self.config.linux.sysctl.items():
            data = plan.bytes_of(value.encode())
            plan.child.do(WRITE, AT_FDCWD, plan.text(f"/proc/sys/{path}"), os.O_WRONLY, *data, what=f"set {path} to {value}")

    def _make_cwd(self, root: Slot) -> None:
        place = self.plan.slot()
        what = f"make the working folder {self.process.cwd}"
        self.plan.child.do(TARGET, root, self.plan.text(self.process.cwd), target.FOLDER, 0o755, into=place, ignore=[30], what=what)

    def _runtime_hooks(self) -> None:
        if self.order.waits_for_hooks:
            state, length = self.plan.blob(bytes(_LONGEST_STATE)), self.plan.slot()
            self.plan.child.do(REPORT, STOPPED, RUNTIME_STOP, what="tell that the namespaces are there")
            self.plan.child.do(WAIT, self.control, state, _LONGEST_STATE, into=length, what="wait for the hooks")
            self.state = (state, length)
        self.add_hooks("createContainer")


def _can_set_groups(mappings: tuple[IdMapping, ...]) -> bool:
    return sum(mapping.size for mapping in mappings) > 1


