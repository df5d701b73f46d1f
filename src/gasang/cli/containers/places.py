"""The options of ``run`` and ``create`` that containers alone have, as tables: how each is written, and where its value goes.

Adding one is one line here: the parser, the help, completion and the reference take it from the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from gasang.cli.containers import amounts
from gasang.cli.containers import values as convert
from gasang.cli.containers.attachments import attachment
from gasang.cli.containers.lines import pairs_in
from gasang.cli.containers.mounts import mount
from gasang.cli.containers.options import USER, WORKDIR
from gasang.cli.containers.ports import exposed, publication
from gasang.cli.options import Option, plain_text, switch, value, values
from gasang.core.config import one_of


def _same(found: Any) -> Any:
    return found


class Place(NamedTuple):
    """Where a value goes in the body of POST /containers/create: ``HostConfig.Init`` or ``Hostname``; "": document.py says."""

    option: Option[Any]
    path: str
    shape: Callable[[Any], Any] = _same


NAME = value("name", "NAME", "what to call it; two words by default", plain_text)
PULL = value("pull", "WHEN", "missing (default), always or never", plain_text, choices=("missing", "always", "never"))
CIDFILE = value("cidfile", "FILE", "write its id to a file, which must not be there yet", plain_text, files=True)
REMOVE = switch("rm", "remove it when it ends, with its anonymous volumes")
LABELS = values("label", "NAME=VALUE", "a note on the machine", convert.pair, short="l")
LABEL_FILE = values("label-file", "FILE", "notes, one a line", pairs_in, files=True)
VOLUMES = values("volume", "[SOURCE:]TARGET[:MODE]", "a folder of the host (./… or /…) or a volume, and where", convert.bind, short="v")
MOUNTS = values("mount", "WORDS", "as in type=bind,source=./data,target=/data,readonly", mount)
NETWORKS = values(
    "network", "NETWORK", "one of gasang network ls, host, none, container:MACHINE or user; name=NETWORK,alias=…,ip=…", attachment
)
NO_ROOT = switch("no-root", "a network of its own in user space, which needs no root: --network user unless another is named")
ALIASES = values("network-alias", "NAME", "another name in the first network", plain_text)
IP = value("ip", "IP", "its address in the first network", plain_text)
IP6 = value("ip6", "IP", "its IPv6 address there", plain_text)
MAC = value("mac-address", "MAC", "its hardware address there", plain_text)
PUBLISH = values("publish", "[[IP:]HOST:]PORT", "reach a port from the host; without IP from the host alone", publication, short="p")
EXPOSE = values("expose", "PORT", "a port that it offers, for --publish-all", exposed)
HEALTH_COMMAND = value("health-cmd", "COMMAND", "a shell's command that tells whether it is well", plain_text)
NO_HEALTHCHECK = switch("no-healthcheck", "leave out the image's own check")
GPUS = value("gpus", "WHICH", "refused: GPUs are not passed on; see --device", convert.no_gpu)

RESTART = Place(
    value("restart", "POLICY", "no, always, unless-stopped, on-failure or on-failure:N", convert.restart_policy),
    "HostConfig.RestartPolicy",
)
_ITSELF: Final = (
    Place(NAME, ""),
    Place(PULL, ""),
    Place(CIDFILE, ""),
    Place(REMOVE, "HostConfig.AutoRemove"),
    RESTART,
    Place(LABELS, ""),
    Place(LABEL_FILE, ""),
    Place(values("annotation", "NAME=VALUE", "a note in its OCI configuration", convert.pair), "HostConfig.Annotations", dict),
    Place(value("hostname", "NAME", "the name it has for itself", plain_text), "Hostname"),
    Place(value("domainname", "NAME", "the domain it has for itself", plain_text), "Domainname"),
    Place(WORKDIR, "WorkingDir"),
    Place(USER, "User"),
    Place(values("group-add", "GROUP", "one more group of the user", plain_text), "HostConfig.GroupAdd", list),
    Place(
        value("entrypoint", "PROGRAM", 'the program, instead of the image\'s; "" for none', convert.any_text),
        "Entrypoint",
        lambda program: [program],
    ),
    Place(switch("init", "have a small init as process 1, which reaps and passes signals on"), "HostConfig.Init"),
    Place(value("stop-signal", "SIGNAL", "what asks it to end (default: the image's, or TERM)", plain_text), "StopSignal"),
    Place(
        value("stop-timeout", "SECONDS", "how long stop waits before it kills; -1: for ever", amounts.number_or_unlimited), "StopTimeout"
    ),
    Place(value("log-driver", "DRIVER", "json-file (default), local or none", plain_text), "HostConfig.LogConfig.Type"),
    Place(
        values("log-opt", "NAME=VALUE", "max-size (default 10m; -1: no bound), max-file (default 3)", convert.pair),
        "HostConfig.LogConfig.Config",
        dict,
    ),
)
_FILES: Final = (
    Place(VOLUMES, ""),
    Place(MOUNTS, "HostConfig.Mounts", list),
    Place(values("volumes-from", "MACHINE[:ro]", "mount what that one mounts", plain_text), "HostConfig.VolumesFrom", list),
    Place(values("tmpfs", "TARGET[:OPTIONS]", "files in memory at TARGET", convert.target_of_tmpfs), "HostConfig.Tmpfs", dict),
    Place(switch("read-only", "its files cannot be written, but for volumes and tmpfs"), "HostConfig.ReadonlyRootfs"),
    Place(value("shm-size", "SIZE", "the size of /dev/shm (default 64M)", convert.size), "HostConfig.ShmSize"),
)
_NETWORK: Final = (
    Place(NETWORKS, ""),
    Place(NO_ROOT, ""),
    Place(ALIASES, ""),
    Place(IP, ""),
    Place(IP6, ""),
    Place(MAC, ""),
    Place(PUBLISH, ""),
    Place(switch("publish-all", "publish all ports of the image on free ones of the host", short="P"), "HostConfig.PublishAllPorts"),
    Place(EXPOSE, ""),
    Place(values("add-host", "NAME:IP", "a line more for /etc/hosts", plain_text), "HostConfig.ExtraHosts", list),
    Place(values("dns", "IP", "a name server, instead of the host's", plain_text), "HostConfig.Dns", list),
    Place(values("dns-search", "DOMAIN", "where short names are looked for", plain_text), "HostConfig.DnsSearch", list),
    Place(values("dns-option", "OPTION", "of resolv.conf", plain_text), "HostConfig.DnsOptions", list),
    Place(values("link", "MACHINE[:ALIAS]", "know that machine by its name (Docker's old way)", plain_text), "HostConfig.Links", list),
)
CHANGEABLE: Final = (
    Place(value("cpu-shares", "N", "its weight where processors are short (default 1024)", convert.whole_number), "HostConfig.CpuShares"),
    Place(value("cpu-period", "MICROSECONDS", "what --cpu-quota is counted in", convert.whole_number), "HostConfig.CpuPeriod"),
    Place(value("cpu-quota", "MICROSECONDS", "how long it may run in each period; -1: no limit", amounts.number_or_unlimited),
          "HostConfig.CpuQuota"),
    Place(value("cpuset-cpus", "LIST", "which processors, as in 0-2,4", plain_text), "HostConfig.CpusetCpus"),
    Place(value("cpuset-mems", "LIST", "which memory nodes", plain_text), "HostConfig.CpusetMems"),
    Place(value("memory-reservation", "SIZE", "what it is left with where memory is short", convert.size), "HostConfig.MemoryReservation"),
    Place(value("memory-swap", "SIZE", "memory and swap together; -1: no limit", amounts.size_or_unlimited), "HostConfig.MemorySwap"),
    Place(value("pids-limit", "N", "how many processes and threads it may have; -1: no limit", amounts.number_or_unlimited),
          "HostConfig.PidsLimit"),
    Place(value("blkio-weight", "N", "its weight at the disks, 10 to 1000", convert.whole_number), "HostConfig.BlkioWeight"),
)  # fmt: skip
"""Limits that ``update`` changes as well."""
_LIMITS: Final = (
    *CHANGEABLE,
    Place(value("memory-swappiness", "PERCENT", "how readily its memory is swapped", amounts.percent), "HostConfig.MemorySwappiness"),
    Place(switch("oom-kill-disable", "kill nothing in it where its memory is exhausted"), "HostConfig.OomKillDisable"),
    Place(value("oom-score-adj", "N", "-1000 (killed last) to 1000", amounts.integer), "HostConfig.OomScoreAdj"),
    Place(values("ulimit", "NAME=SOFT[:HARD]", "a limit of each process, such as nofile=1024", amounts.resource_limit),
          "HostConfig.Ulimits", list),
    Place(values("device-read-bps", "DEVICE:SIZE", "bytes read a second", amounts.rate(convert.size)),
          "HostConfig.BlkioDeviceReadBps", list),
    Place(values("device-write-bps", "DEVICE:SIZE", "bytes written a second", amounts.rate(convert.size)),
          "HostConfig.BlkioDeviceWriteBps", list),
    Place(values("device-read-iops", "DEVICE:N", "reads a second", amounts.rate(convert.whole_number)),
          "HostConfig.BlkioDeviceReadIOps", list),
    Place(values("device-write-iops", "DEVICE:N", "writes a second", amounts.rate(convert.whole_number)),
          "HostConfig.BlkioDeviceWriteIOps", list),
    Place(value("cgroup-parent", "PATH", "the control group that its own is made in", plain_text), "HostConfig.CgroupParent"),
)  # fmt: skip
_RIGHTS: Final = (
    Place(switch("privileged", "all capabilities and devices; it can harm the host"), "HostConfig.Privileged"),
    Place(values("cap-add", "CAPABILITY", "one more capability, such as NET_ADMIN, or ALL", plain_text), "HostConfig.CapAdd", list),
    Place(values("cap-drop", "CAPABILITY", "one less, or ALL", plain_text), "HostConfig.CapDrop", list),
    Place(values("security-opt", "OPTION", "no-new-privileges, or seccomp=FILE", convert.security), "HostConfig.SecurityOpt", list),
    Place(values("device", "PATH[:TARGET[:rwm]]", "give it a device of the host", convert.device), "HostConfig.Devices", list),
    Place(values("device-cgroup-rule", "RULE", "devices it may use, as in 'c 10:229 rwm'", plain_text),
          "HostConfig.DeviceCgroupRules", list),
    Place(GPUS, ""),
    Place(value("pid", "WHOSE", "host, or container:MACHINE: whose processes it sees", plain_text), "HostConfig.PidMode"),
    Place(value("ipc", "WHOSE", "private, shareable, none, host or container:MACHINE", plain_text), "HostConfig.IpcMode"),
    Place(value("uts", "WHOSE", "host: the host's name is its own", one_of("host"), choices=("host",)), "HostConfig.UTSMode"),
    Place(value("userns", "WHOSE", "host: users have the host's numbers", one_of("host"), choices=("host",)), "HostConfig.UsernsMode"),
    Place(value("cgroupns", "WHOSE", "private or host", plain_text), "HostConfig.CgroupnsMode"),
    Place(values("sysctl", "NAME=VALUE", "a setting of its kernel namespaces", convert.pair), "HostConfig.Sysctls", dict),
)  # fmt: skip
_HEALTH: Final = (
    Place(HEALTH_COMMAND, "Healthcheck.Test", lambda command: ["CMD-SHELL", command]),
    Place(NO_HEALTHCHECK, "Healthcheck.Test", lambda _: ["NONE"]),
    Place(value("health-interval", "TIME", "between two checks (default 30s)", amounts.nanoseconds), "Healthcheck.Interval"),
    Place(value("health-timeout", "TIME", "how long one may take (default 30s)", amounts.nanoseconds), "Healthcheck.Timeout"),
    Place(value("health-retries", "N", "failures in a row until it is unhealthy (default 3)", convert.whole_number), "Healthcheck.Retries"),
    Place(value("health-start-period", "TIME", "failures at the beginning that do not count", amounts.nanoseconds),
          "Healthcheck.StartPeriod"),
    Place(value("health-start-interval", "TIME", "between two checks in that time", amounts.nanoseconds), "Healthcheck.StartInterval"),
)  # fmt: skip

GROUPS: Final[Mapping[str, tuple[Place, ...]]] = {
    "The container": _ITSELF,
    "Its files": _FILES,
    "Its network": _NETWORK,
    "Its limits": _LIMITS,
    "Its rights": _RIGHTS,
    "Its health": _HEALTH,
}
"""By the heading of the help page."""
PLACES: Final = tuple(place for places in GROUPS.values() for place in places)
OWN: Final[tuple[Option[Any], ...]] = tuple(place.option for place in PLACES)
"""The options of all of them."""


def headings() -> tuple[tuple[str, tuple[Option[Any], ...]], ...]:
    """The groups as a help page takes them."""
    return tuple((title, tuple(place.option for place in places)) for title, places in GROUPS.items())
