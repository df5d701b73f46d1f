"""From a container's record to the OCI runtime specification of its process (runtime-spec 1.2, config.md).

Pure: everything that depends on the host or the image's files (user and group ids, mounts' sources, the network) is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import UsageError
from gasang.daemon.containers import devices
from gasang.daemon.containers.process import NOT_FOUND, StartError
from gasang.daemon.containers.record import Container, Mount
from gasang.daemon.containers.users import Mapped

PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CAPABILITIES_TEXT: Final = """
CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE
"""
CAPABILITIES: Final = tuple(_CAPABILITIES_TEXT.split())
"""What a container has where nobody says otherwise: Docker's fourteen."""
_ALL_CAPABILITIES_TEXT: Final = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST
NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE
SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
ALL_CAPABILITIES: Final = tuple(_ALL_CAPABILITIES_TEXT.split())
"""capabilities(7)."""
MASKED: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
CPU_PERIOD: Final = 100_000
_MOST_GROUPS: Final = (1 << 31) - 1
_TTY: Final = 5
"""The group of terminals."""
VERSION: Final = "1.2.0"
INIT: Final = "/sbin/gasang-init"
"""Where the init program of a container that asks for one is."""


@dataclass(frozen=True)
class Surroundings:
    """What the host and the image give: computed before, passed in."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    cgroup: str
    namespaces: dict[str, str] = field(default_factory=dict)
    """kind → path of a namespace to join; "" for the host's own (none is made)."""
    files: dict[str, Path] = field(default_factory=dict)
    """path inside → file of the daemon mounted there: /etc/hosts, /etc/hostname, /etc/resolv.conf."""
    init: Path | None = None
    """The program of an init, for a container that asks for one."""
    host_devices: tuple[dict[str, Any], ...] = ()
    hostname: str = ""
    variables: tuple[str, ...] = ()
    """NAME=value, what links tell; the container's own go before them."""
    users: Mapped | None = None
    """Those of the container, where they are not the host's."""
    is_rootless: bool = False
    """Whether the daemon is root in namespaces of a user's own only: what belongs to the host can be shown there, not made anew."""
    groups_known: int = 1 << 32
    """How many groups there are, from 0 on."""


def specification(container: Container, around: Surroundings) -> dict[str, Any]:
    """The config.json of a container."""
    host = container.host
    linux: dict[str, Any] = {
        "namespaces": _namespaces(container, around),
        "resources": resources(host),
        "cgroupsPath": around.cgroup,
        "sysctl": _sysctls(container, around),
        "maskedPaths": [] if host["Privileged"] else list(MASKED if host["MaskedPaths"] is None else host["MaskedPaths"]),
        "readonlyPaths": [] if host["Privileged"] else list(READONLY if host["ReadonlyPaths"] is None else host["ReadonlyPaths"]),
        "devices": [*around.host_devices, *([] if _binds_devices(around) else (found.device for found in devices.asked(host)))],
        "rootfsPropagation": "rslave" if any("slave" in mount.propagation for mount in container.mounts) else "private",
    }
    linux["resources"]["devices"] = devices.rules(host)
    linux.update(_mappings(around))
    return {
        "ociVersion": VERSION,
        "process": process(container, around, container.command(), container.config["Tty"]),
        "root": {"path": "rootfs", "readonly": host["ReadonlyRootfs"]},
        "hostname": around.hostname,
        "domainname": container.config["Domainname"],
        "mounts": _mounts(container, around),
        "annotations": host["Annotations"] or {},
        "linux": linux,
    }


def exec_specification(container: Container, around: Surroundings, process_: dict[str, Any]) -> dict[str, Any]:
    """The configuration of one more process in a container that runs."""
    return {
        "ociVersion": VERSION,
        "process": process_,
        "linux": {"namespaces": _namespaces(container, around), "cgroupsPath": around.cgroup, **_mappings(around)},
    }


def _mappings(around: Surroundings) -> dict[str, Any]:
    if around.users is None:
        return {}
    sides = {"uidMappings": around.users.uids, "gidMappings": around.users.gids}
    return {
        name: [{"containerID": line.inside, "hostID": line.outside, "size": line.size} for line in lines] for name, lines in sides.items()
    }


def process(container: Container, around: Surroundings, command: list[str], terminal: bool, **changes: Any) -> dict[str, Any]:
    """A process of a container: its first, or one of an exec. `changes` replaces env, cwd, privileged."""
    host = container.host
    privileged = changes.get("privileged", False) or host["Privileged"]
    names = sorted(capabilities(host, privileged))
    full = [f"CAP_{name}" for name in names]
    held = full if around.uid == 0 else []
    if not command[0]:
        raise StartError('exec: ""', "executable file not found in $PATH", "give a command", guest_code=NOT_FOUND)
    words = [*([INIT, "--"] if around.init and not changes else []), *command]
    return {
        "terminal": terminal,
        "user": {"uid": around.uid, "gid": around.gid, "additionalGids": list(around.groups)},
        "args": words,
        "env": environment(container, around, terminal, changes.get("env", [])),
        "cwd": changes.get("cwd") or container.config["WorkingDir"] or "/",
        "capabilities": {"bounding": full, "effective": held, "permitted": held, "inheritable": [], "ambient": []},
        "rlimits": [_limit(entry) for entry in host["Ulimits"] or []],
        "noNewPrivileges": any(
            option.startswith("no-new-privileges") and not option.endswith("false") for option in host["SecurityOpt"] or []
        ),
        "oomScoreAdj": host["OomScoreAdj"],
    }


def environment(container: Container, around: Surroundings, terminal: bool, more: list[str]) -> list[str]:
    """PATH, HOSTNAME and TERM, those of the container, those given on top, and HOME where none of them says it."""
    result = [PATH, f"HOSTNAME={around.hostname}", *(["TERM=xterm"] if terminal else []), *around.variables]
    for given in (container.config["Env"], more):
        result = _with_variables(result, given)
    at_home = any(entry.startswith("HOME=") and entry != "HOME=" for entry in result)
    return result if at_home else [*(entry for entry in result if entry != "HOME="), f"HOME={around.home}"]


def _with_variables(before: list[str], given: list[str]) -> list[str]:
    """`given` in the places of those of the same name, the rest behind; a bare name takes away what was there `before` (Docker's rule)."""
    bare = {entry for entry in given if "=" not in entry}
    last = {entry.partition("=")[0]: entry for entry in before if entry.partition("=")[0] not in bare}
    last.update({entry.partition("=")[0]: entry for entry in given if "=" in entry})
    return list(last.values())


def capabilities(host: dict[str, Any], privileged: bool) -> set[str]:
    """The capabilities of a container, without CAP_. Raises UsageError for one that does not exist."""
    if privileged:
        return set(ALL_CAPABILITIES)
    added, dropped = (_named(host[name] or []) for name in ("CapAdd", "CapDrop"))
    base = set(ALL_CAPABILITIES) if "ALL" in added else set() if "ALL" in dropped else set(CAPABILITIES)
    return (base | (added - {"ALL"})) - (dropped - {"ALL"})


def _named(names: list[str]) -> set[str]:
    found = {name.upper().removeprefix("CAP_") for name in names}
    for name in found - {"ALL"}:
        if name not in ALL_CAPABILITIES:
            raise UsageError(f"capability {name[:40]!r}", "there is none of this name", "capabilities(7) lists them")
    return found


def resources(host: dict[str, Any]) -> dict[str, Any]:
    """The limits of a container as runtime-spec has them ("Control groups"); devices are not among them."""
    memory = {
        "limit": host["Memory"] or None,
        "reservation": host["MemoryReservation"] or None,
        "swap": host["MemorySwap"] or (2 * host["Memory"] if host["Memory"] else None),
        "swappiness": None if host["MemorySwappiness"] in (None, -1) else host["MemorySwappiness"],
        "disableOOMKiller": host["OomKillDisable"] or None,
    }
    quota = host["NanoCpus"] * CPU_PERIOD // 1_000_000_000 if host["NanoCpus"] else host["CpuQuota"]
    cpu = {
        "shares": host["CpuShares"] or None,
        "quota": quota or None,
        "period": CPU_PERIOD if host["NanoCpus"] else host["CpuPeriod"] or None,
        "realtimePeriod": host["CpuRealtimePeriod"] or None,
        "realtimeRuntime": host["CpuRealtimeRuntime"] or None,
        "cpus": host["CpusetCpus"] or None,
        "mems": host["CpusetMems"] or None,
    }
    block = {
        "weight": host["BlkioWeight"] or None,
        "weightDevice": devices.block_rates(host["BlkioWeightDevice"], "Weight", "weight"),
        "throttleReadBpsDevice": devices.block_rates(host["BlkioDeviceReadBps"], "Rate", "rate"),
        "throttleWriteBpsDevice": devices.block_rates(host["BlkioDeviceWriteBps"], "Rate", "rate"),
        "throttleReadIOPSDevice": devices.block_rates(host["BlkioDeviceReadIOps"], "Rate", "rate"),
        "throttleWriteIOPSDevice": devices.block_rates(host["BlkioDeviceWriteIOps"], "Rate", "rate"),
    }
    parts = {"memory": memory, "cpu": cpu, "blockIO": block}
    result: dict[str, Any] = {}
    for name, part in parts.items():
        if said := {key: value for key, value in part.items() if value is not None}:
            result[name] = said
    if host["PidsLimit"]:
        result["pids"] = {"limit": host["PidsLimit"]}
    return result


def _limit(entry: dict[str, Any]) -> dict[str, Any]:
    name, soft, hard = entry.get("Name"), entry.get("Soft"), entry.get("Hard")
    if not isinstance(name, str) or not isinstance(soft, int) or not isinstance(hard, int):
        raise UsageError("ulimit", "it is not a name and two numbers", "write NAME=SOFT:HARD")
    return {"type": f"RLIMIT_{name.upper()}", "soft": soft & (2**64 - 1), "hard": hard & (2**64 - 1)}


def _namespaces(container: Container, around: Surroundings) -> list[dict[str, str]]:
    host = container.host
    made = ["mount"]
    made += ["cgroup"] if host["CgroupnsMode"] != "host" and not host["Privileged"] else []
    result = [{"type": name} for name in made]
    result += [{"type": "user", "path": around.users.path}] if around.users else []
    for name in ("pid", "ipc", "uts", "network"):
        path = around.namespaces.get(name)
        if path is None:
            result.append({"type": name})
        elif path:
            result.append({"type": name, "path": path})
    return result


def _sysctls(container: Container, around: Surroundings) -> dict[str, str]:
    own_network = around.namespaces.get("network") != ""
    own_pid = around.namespaces.get("pid") != ""
    basic: dict[str, str] = {}
    if own_network and around.users is None:
        basic["net.ipv4.ip_unprivileged_port_start"] = "0"
        if own_pid:
            basic["net.ipv4.ping_group_range"] = f"0 {min(_MOST_GROUPS, around.groups_known - 1)}"
    return {**basic, **(container.host["Sysctls"] or {})}


def _mounts(container: Container, around: Surroundings) -> list[dict[str, Any]]:
    host = container.host
    privileged = host["Privileged"]
    own_network = around.namespaces.get("network") != ""
    sys_options = ["nosuid", "noexec", "nodev", *([] if privileged else ["ro"])]
    plain = ["nosuid", "noexec", "nodev"]
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *(["gid=5"] if around.groups_known > _TTY else [])]
    result: list[dict[str, Any]] = [
        _kernels("/proc", "proc", plain, shown=around.is_rootless and around.namespaces.get("pid") == ""),
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": terminals},
        _kernels("/sys", "sysfs", sys_options, shown=not own_network),
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": sys_options},
    ]
    if not (around.is_rootless and around.namespaces.get("ipc") == ""):  # else the host's message queues, which only its root mounts
        result.append({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": plain})
    shift = ["idmap"] if around.users else []
    if host["IpcMode"] != "none" and not _covered(container, "/dev/shm"):  # noqa: S108  the container's own
        source = {"destination": "/dev/shm", "type": "tmpfs", "source": "shm"}  # noqa: S108
        result.append({**source, "options": ["nosuid", "noexec", "nodev", "mode=1777", f"size={host['ShmSize']}"]})
    result += [
        {"destination": inside, "type": "bind", "source": str(outside), "options": ["rbind", "rprivate", *shift]}
        for inside, outside in around.files.items()
        if not _covered(container, inside)
    ]
    if _binds_devices(around):  # who is not the host's root makes no device nodes: the host's own are bound
        result += [
            {"destination": found.device["path"], "type": "bind", "source": found.source, "options": ["bind"]}
            for found in devices.asked(host)
        ]
    if around.init is not None:
        result.append({"destination": INIT, "type": "bind", "source": str(around.init), "options": ["bind", "ro"]})
    ordered = sorted(container.mounts, key=lambda mount: mount.target.count("/"))
    return [*result, *(_mount(mount, shift if mount.kind == "volume" else []) for mount in ordered)]


def _kernels(path: str, kind: str, options: list[str], *, shown: bool) -> dict[str, Any]:
    """A file system that shows a namespace of this container; where it has the host's, and may make none of it, the host's own mount."""
    if shown:
        return {"destination": path, "type": "bind", "source": path, "options": ["rbind", *options]}
    return {"destination": path, "type": kind, "source": kind, "options": options}


def _binds_devices(around: Surroundings) -> bool:
    return around.users is not None or around.is_rootless


def _covered(container: Container, path: str) -> bool:
    return any(mount.target.rstrip("/") == path for mount in container.mounts)


def _mount(mount: Mount, more: list[str]) -> dict[str, Any]:
    access = "rw" if mount.writable else "ro"
    if mount.kind == "tmpfs":
        return {
            "destination": mount.target,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "nodev", "noexec", access, *mount.options],
        }
    recursion = [] if "bind-nonrecursive" in mount.options else ["rbind"]
    options = [option for option in mount.options if option != "bind-nonrecursive"]
    return {
        "destination": mount.target,
        "type": "bind",
        "source": str(mount.part.folder / mount.part.path),
        "options": [*(recursion or ["bind"]), access, mount.propagation or "rprivate", *options, *more],
    }
