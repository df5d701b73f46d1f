"""Configuring unpacked Debian packages in a container of their own: their scripts see the folder as their root, and nothing else.

No network, no devices but the standard ones, no way to gain rights (no_new_privs), bounded processes and memory, the default seccomp
rules. The container ends with the thread that made it, so nothing of it outlives a killed caller; its control group is named after the
folder's parent, so that whoever clears that away can remove it too (`forget`).
"""

from __future__ import annotations

import errno
import json
import os
import selectors
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

from gasang.core.errors import BadInputError, GasangError, PermissionDeniedError, TimedOutError
from gasang.core.progress import Progress
from gasang.host.syscalls import machine_name
from gasang.images.configuring import Unconfigured, script
from gasang.images.control import ControlPort, Counter, last_line
from gasang.images.spool import out_of_space
from gasang.kinds.container.cgroups.group import Cgroup
from gasang.kinds.container.cgroups.hierarchies import may_make_groups
from gasang.kinds.container.config.config import VERSION, Config, read_config
from gasang.kinds.container.container import Container, Streams
from gasang.kinds.container.planning.order import FolderRoot
from gasang.kinds.container.privileges import is_rootless
from gasang.kinds.container.seccomp.profile import default_profile

SILENCE: Final = 600.0
"""Seconds in which a script says nothing and gets nowhere until it counts as hung."""
MEMORY: Final = 1 << 30
PROCESSES: Final = 512
KEPT: Final = 4096
CAPABILITIES: Final = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP")
"""What maintainer scripts need to own files as they like. No devices are made: a root that the host sees must not gain any."""
MASKED: Final = ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/timer_list", "/sys/firmware")
READONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
NAMESPACES: Final = ("mount", "pid", "ipc", "uts", "network", "cgroup")
PARENT: Final = "/gasang"
MOUNTS: Final = (
    ("/proc", "proc", "nosuid", "noexec", "nodev"),
    ("/dev", "tmpfs", "nosuid", "mode=755", "size=1m"),
    ("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    ("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=64m"),  # noqa: S108  the container's own
    ("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
)
_SCRIPT: Final = 3
"""The descriptor that the script is read from; the one after it is what it tells by."""
_AGAIN = "pull it again, or report this"


class ContainerConfigurer:
    """Configures packages in containers."""

    def configure(self, order: Unconfigured, progress: Progress) -> None:
        """Configure the packages in a folder.

        Raises BadInputError, naming the package and the script; TimedOutError, OutOfSpaceError, PermissionDeniedError where this user
        cannot. Nothing runs any more then.
        """
        self.check(order.subject)
        with progress.step("configuring packages in a container", order.packages, "packages") as step:
            run = _Run(order, ControlPort(lambda stage: None, Counter(step).reached))
            code = run.run()
        if code != 0:
            cause = run.control.error or f"its packages were not configured (code {code}: {last_line(bytes(run.said))})"
            raise _full(order) or BadInputError(order.subject, cause, _AGAIN)

    def check(self, subject: str) -> None:
        """Raises PermissionDeniedError unless this process may own files as other users and make containers that do."""
        if is_rootless() or not may_make_groups():
            raise PermissionDeniedError(subject, "its packages are configured in a container with users of its own", "run as root")

    def forget(self, folder: Path) -> None:
        """End and remove what an interrupted `configure` of a root in `folder` has left."""
        if not is_rootless():
            Cgroup.at(_group(folder), folder.name).delete()


def _group(folder: Path) -> str:
    return f"{PARENT}/{folder.name}"


def _full(order: Unconfigured) -> GasangError | None:
    """What a script fails over where the disk is full, it does not say; so one looks."""
    left = os.statvfs(order.root)
    if left.f_bavail * left.f_frsize >= 1 << 20 and (left.f_favail or not left.f_files):
        return None
    return out_of_space(OSError(errno.ENOSPC, ""), order.root.parent)


class _Run:
    """One container, from its first process to its end."""

    def __init__(self, order: Unconfigured, control: ControlPort) -> None:
        self._order = order
        self.control = control
        self.said = bytearray()

    def run(self) -> int:
        """The script's exit code."""
        with ExitStack() as stack:
            output, inside_output = _pipe(stack)
            told, inside_told = _pipe(stack)
            nothing = stack.enter_context(open(os.devnull, "rb", buffering=0))
            container = Container.create(
                configuration(self._order),
                FolderRoot(str(self._order.root)),
                identity=self._order.root.parent.name,
                streams=Streams((nothing.fileno(), inside_output.fileno(), inside_output.fileno()), (_script(stack), inside_told.fileno())),
                dies_with_us=True,
            )
            try:
                container.start()
                inside_output.close()
                inside_told.close()
                self._listen(output, told)
                return container.wait().code
            finally:
                container.delete(force=True)

    def _listen(self, output: IO[bytes], told: IO[bytes]) -> None:
        """Until nobody inside can say anything more. Raises TimedOutError where nobody does."""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ, self._keep)
            selector.register(told, selectors.EVENT_READ, self.control.take)
            while selector.get_map():
                ready = selector.select(SILENCE)
                if not ready:
                    raise TimedOutError(self._order.subject, f"a package's script has hung for {SILENCE:g} s", _AGAIN)
                for key, _ in ready:
                    data = os.read(key.fd, 1 << 16)
                    key.data(data)
                    if not data:
                        selector.unregister(key.fd)

    def _keep(self, data: bytes) -> None:
        self.said += data
        del self.said[:-KEPT]


def _pipe(stack: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    """(the reading end, the writing end), closed in the end."""
    reading, writing = os.pipe()
    return stack.enter_context(open(reading, "rb", buffering=0)), stack.enter_context(open(writing, "wb", buffering=0))


def _script(stack: ExitStack) -> int:
    """A descriptor of the script, which thus needs no place in the root."""
    descriptor = os.memfd_create("configure", os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    os.write(descriptor, script())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def configuration(order: Unconfigured) -> Config:
    """What the container is to be."""
    config = read_config(json.dumps(_document(order)), "the configuration")
    assert config.process is not None, "the document has one"
    profile = default_profile(config.process.capabilities.bounding, machine_name())
    return replace(config, linux=replace(config.linux, seccomp=profile))


def _document(order: Unconfigured) -> dict[str, Any]:
    """The same as the runtime specification has it."""
    environment = ["HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    environment += [f"SOURCE_DATE_EPOCH={order.time}"] if order.time else []
    folder = order.root.parent
    return {
        "ociVersion": VERSION,
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/sh", f"/dev/fd/{_SCRIPT}", "machine" if order.services else "container"],
            "env": environment,
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
            "noNewPrivileges": True,
        },
        "root": {"path": str(order.root)},
        "hostname": "debian",
        "mounts": [_mount(*mount) for mount in MOUNTS],
        "linux": {
            "namespaces": [{"type": kind} for kind in NAMESPACES],
            "cgroupsPath": _group(folder),
            "resources": {
                "memory": {"limit": MEMORY},
                "pids": {"limit": PROCESSES},
                "devices": [{"allow": False, "access": "rwm"}],
            },
            "maskedPaths": MASKED,
            "readonlyPaths": READONLY,
        },
    }


def _mount(place: str, kind: str, *options: str) -> dict[str, Any]:
    return {"destination": place, "type": kind, "source": kind, "options": options}
