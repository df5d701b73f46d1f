"""The control groups of one container: made, limited, joined, frozen, emptied and removed, in every hierarchy the host has."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Final

from gasang.core.errors import GasangError, PermissionDeniedError, TimedOutError, UsageError
from gasang.kinds.container.cgroups.devices import all_rules, attach_device_program, rule_text
from gasang.kinds.container.cgroups.hierarchies import Hierarchies, Hierarchy, find_hierarchies
from gasang.kinds.container.cgroups.settings import Setting, version_1, version_2
from gasang.kinds.container.config.resources import DeviceRule, Resources
from gasang.kinds.container.planning.order import CgroupUse

PATIENCE: Final = 10.0
"""Seconds in which processes that were killed are gone, and frozen ones are still."""


class Cgroup:
    """A container's groups. `folders` are hierarchy name → folder, "" the unified one's."""

    def __init__(self, hierarchies: Hierarchies, folders: dict[str, str]) -> None:
        self.hierarchies = hierarchies
        self.folders = folders
        self.warnings: list[str] = []
        self._made: list[str] = []

    @classmethod
    def at(cls, path: str, identity: str, hierarchies: Hierarchies | None = None) -> Cgroup:
        """The groups a configuration's cgroupsPath names: absolute from each hierarchy's root, else below this process's own groups."""
        hierarchies = hierarchies or find_hierarchies()
        folders = {}
        every: list[Hierarchy] = [*hierarchies.legacy, *([hierarchies.unified] if hierarchies.unified else [])]
        for hierarchy in every:
            below = path if path.startswith("/") else f"{hierarchy.own.rstrip('/')}/{path or identity}"
            folders[hierarchy.name] = hierarchy.folder.rstrip("/") + "/" + below.strip("/")
        return cls(hierarchies, folders)

    def create(self, limits: Resources) -> None:
        """Make the groups and set their limits; what was made is removed again if that fails.

        Raises UsageError where another container has processes in one of them, or a limit makes no sense.
        """
        try:
            for hierarchy in self.hierarchies.legacy:
                self._make(hierarchy)
            if self.hierarchies.unified is not None:
                self._make(self.hierarchies.unified)
            self.apply(limits, devices=True)
        except BaseException:
            for folder in reversed(self._made):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            raise

    def _make(self, hierarchy: Hierarchy) -> None:
        folder = self.folders[hierarchy.name]
        try:
            os.mkdir(folder)
            self._made.append(folder)
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)
            self._made.append(folder)
        except FileExistsError:
            if self._processes_in(folder):
                raise UsageError(f"control group {folder}", "another container has processes in it", "choose another cgroupsPath") from None
        except PermissionError as error:
            raise PermissionDeniedError(f"control group {folder}", (error.strerror or "").lower(), "run as root") from error
        if "cpuset" in hierarchy.controllers:
            _inherit_cpuset(folder, hierarchy.folder)
        if hierarchy.unified and self.hierarchies.unified_only:
            _enable_controllers(folder, hierarchy.folder)

    def apply(self, limits: Resources, *, devices: bool = False) -> None:
        """Write limits; those that an old kernel lacks are told in `warnings`, or refused if they matter."""
        if self.hierarchies.unified_only:
            for setting in version_2(limits):
                self._write(self.folders[""], setting)
            if devices:
                attach_device_program(self.folders[""], limits.devices)
            return
        for setting in _in_order(version_1(limits), self):
            hierarchy = self.hierarchies.holding(setting.controller)
            if hierarchy is None:
                self._absent(setting)
            else:
                self._write(self.folders[hierarchy.name], setting)
        if devices:
            self._write_devices(limits.devices)

    def _absent(self, setting: Setting) -> None:
        """A controller the host does not have (mounted)."""
        self.warnings.append(f"{setting.file}: this host has no controller {setting.controller}; the limit is not kept")

    def _write(self, folder: str, setting: Setting) -> None:
        try:
            write_text(f"{folder}/{setting.file}", setting.value)
        except OSError as error:
            if setting.optional or error.errno == errno.ENOENT:
                self.warnings.append(f"{setting.file}: {(error.strerror or '').lower()}; the limit is not kept")
                return
            hint = "choose another value"
            raise UsageError(f"limit {setting.file} = {setting.value}", (error.strerror or "").lower(), hint) from error

    def _write_devices(self, rules: Sequence[DeviceRule]) -> None:
        hierarchy = self.hierarchies.holding("devices")
        if hierarchy is None:
            return
        folder = self.folders[hierarchy.name]
        files = {allow: os.open(f"{folder}/devices.{'allow' if allow else 'deny'}", os.O_WRONLY | os.O_CLOEXEC) for allow in (True, False)}
        try:
            for rule in all_rules(rules):
                os.write(files[rule.allow], rule_text(rule).encode())
        except PermissionError as error:
            raise PermissionDeniedError(f"devices of {folder}", "a group above does not allow them", "allow fewer devices") from error
        finally:
            for descriptor in files.values():
                os.close(descriptor)

    def use(self) -> CgroupUse:
        """How a plan joins them: by writing "0" in version 1, where a process that moves itself holds nobody up, by clone3 in version 2."""
        unified = self.folders.get("")
        descriptor = -1 if unified is None else os.open(unified, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        legacy = {name: folder for name, folder in self.folders.items() if name}
        shown = {name.replace("name=", ""): folder for name, folder in legacy.items()}
        links = {part: name for name in shown for part in name.split(",") if "," in name}
        if self.hierarchies.unified_only:
            shown = {"": self.folders[""]}
        elif unified is not None:
            shown["unified"] = unified
        return CgroupUse(tuple(f"{folder}/tasks" for folder in legacy.values()), descriptor, shown, links, self.hierarchies.unified_only)

    def join_files(self) -> list[str]:
        """The files in which a process of one thread writes "0" to be in all of the groups."""
        return [f"{folder}/{'tasks' if name else 'cgroup.procs'}" for name, folder in self.folders.items()]

    def processes(self) -> list[int]:
        """Process ids of all in the groups and below."""
        folder = self._counting_folder()
        found: set[int] = set()
        for path, _, _ in os.walk(folder):
            found.update(self._processes_in(path))
        return sorted(found)

    def _counting_folder(self) -> str:
        for name in ("pids", "freezer", "devices"):
            hierarchy = self.hierarchies.holding(name)
            if hierarchy is not None:
                return self.folders[hierarchy.name]
        return self.folders.get("") or next(iter(self.folders.values()))

    @staticmethod
    def _processes_in(folder: str) -> list[int]:
        try:
            with open(f"{folder}/cgroup.procs", encoding="ascii") as file:
                return [int(line) for line in file.read().split()]
        except (FileNotFoundError, OSError):
            return []

    def kill(self) -> None:
        """End every process, and return when they are gone. Raises TimedOutError if they stay."""
        deadline = time.monotonic() + PATIENCE
        if "" in self.folders and self.hierarchies.unified_only:
            with contextlib.suppress(OSError):
                write_text(f"{self.folders['']}/cgroup.kill", "1")
        while processes := self.processes():
            descriptors = list(_pidfds(processes))
            for descriptor in descriptors:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            self.thaw()
            for descriptor in descriptors:
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
                os.close(descriptor)
            if time.monotonic() > deadline:
                raise TimedOutError("control group", f"its processes {processes} do not end", "see what they wait for in /proc/PID/stack")

    def freeze(self) -> None:
        """Stop every process in its tracks. Raises TimedOutError if some do not stop."""
        self._freeze(True)

    def thaw(self) -> None:
        """Let them run on."""
        self._freeze(False)

    def _freeze(self, still: bool) -> None:
        hierarchy = self.hierarchies.holding("freezer")
        if hierarchy is None and "" in self.folders:
            _freeze_unified(self.folders[""], still)
        elif hierarchy is not None:
            _freeze_legacy(self.folders[hierarchy.name], still)

    def frozen(self) -> bool:
        """Whether the processes are stopped."""
        hierarchy = self.hierarchies.holding("freezer")
        try:
            if hierarchy is not None:
                return read_text(f"{self.folders[hierarchy.name]}/freezer.state").strip() != "THAWED"
            return read_text(f"{self.folders['']}/cgroup.freeze").strip() == "1"
        except (FileNotFoundError, KeyError):
            return False

    def out_of_memory_kills(self) -> int:
        """How often the kernel has ended a process for want of memory."""
        hierarchy = self.hierarchies.holding("memory")
        if hierarchy is not None:
            path = f"{self.folders[hierarchy.name]}/memory.oom_control"
        elif "" in self.folders:
            path = f"{self.folders['']}/memory.events"
        else:
            return 0
        with contextlib.suppress(FileNotFoundError):
            return read_counters(path).get("oom_kill", 0)
        return 0

    def delete(self) -> None:
        """Remove the groups and all below; ends what still runs there. What is not there is no error."""
        for folder in self.folders.values():
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                continue
            except OSError:
                self._delete_tree(folder)

    def _delete_tree(self, folder: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            self.kill()
            try:
                for path, _, _ in os.walk(folder, topdown=False):
                    os.rmdir(path)
            except FileNotFoundError:
                return
            except OSError as error:
                # A process that has ended leaves its group a moment later, and nothing tells when.
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise GasangError(f"control group {folder}", f"it cannot be removed ({error.strerror})") from error
                os.sched_yield()
            else:
                return


def _in_order(settings: list[Setting], group: Cgroup) -> list[Setting]:
    """Memory before memory and swap, but not where the new limit of memory is above the old one of both."""
    names = [setting.file for setting in settings]
    if "memory.memsw.limit_in_bytes" not in names or "memory.limit_in_bytes" not in names:
        return settings
    hierarchy = group.hierarchies.holding("memory")
    first, second = names.index("memory.limit_in_bytes"), names.index("memory.memsw.limit_in_bytes")
    try:
        now = int(read_text(f"{group.folders[hierarchy.name]}/memory.memsw.limit_in_bytes")) if hierarchy else 0
    except OSError:
        return settings
    wanted = int(settings[first].value)
    if wanted == -1 or wanted > now:
        settings[first], settings[second] = settings[second], settings[first]
    return settings


def _inherit_cpuset(folder: str, root: str) -> None:
    """A new cpuset has no processors and no memory, and takes no process: give it its parent's."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if folder == root or read_text(f"{folder}/{name}").strip():
            continue
        parent = os.path.dirname(folder)
        value = read_text(f"{parent}/{name}").strip()
        if not value:
            _inherit_cpuset(parent, root)
            value = read_text(f"{parent}/{name}").strip()
        write_text(f"{folder}/{name}", value)


def _enable_controllers(folder: str, root: str) -> None:
    """Have every controller in the groups above, so that the container's own group has its files."""
    available = read_text(f"{root}/cgroup.controllers").split()
    parent = root
    for part in os.path.relpath(os.path.dirname(folder), root).split("/"):
        parent = os.path.normpath(f"{parent}/{part}")
        enabled = read_text(f"{parent}/cgroup.subtree_control").split()
        for controller in available:
            if controller not in enabled:
                with contextlib.suppress(OSError):  # a group that has processes of its own keeps some controllers to itself
                    write_text(f"{parent}/cgroup.subtree_control", f"+{controller}")


def _pidfds(processes: Sequence[int]) -> Iterator[int]:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            yield os.pidfd_open(process)


def _freeze_legacy(folder: str, still: bool) -> None:
    """Version 1 tells nothing: its state is asked again until all have stopped."""
    wanted = "FROZEN" if still else "THAWED"
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            write_text(f"{folder}/freezer.state", wanted)
            if read_text(f"{folder}/freezer.state").strip() == wanted:
                return
        except FileNotFoundError:
            return
        if time.monotonic() > deadline:
            write_text(f"{folder}/freezer.state", "THAWED")
            raise TimedOutError(f"control group {folder}", "its processes do not stop", "try again when they are less busy")
        os.sched_yield()


def _freeze_unified(folder: str, still: bool) -> None:
    """Version 2 changes cgroup.events, which can be waited for."""
    try:
        with open(f"{folder}/cgroup.events", encoding="ascii") as events:
            write_text(f"{folder}/cgroup.freeze", str(int(still)))
            poll = select.poll()
            poll.register(events, select.POLLPRI)
            deadline = time.monotonic() + PATIENCE
            while f"frozen {int(still)}" not in events.read():
                if time.monotonic() > deadline:
                    raise TimedOutError(f"control group {folder}", "its processes do not stop", "try again when they are less busy")
                poll.poll(1000)
                events.seek(0)
    except FileNotFoundError:
        return


def read_text(path: str) -> str:
    """A small file."""
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def read_counters(path: str) -> dict[str, int]:
    """A file of lines `name number`."""
    found = {}
    for line in read_text(path).splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdigit():
            found[name] = int(value)
    return found


def write_text(path: str, text: str) -> None:
    """Write a value in one call, as the kernel's files want it; raise OSError if it refuses."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
