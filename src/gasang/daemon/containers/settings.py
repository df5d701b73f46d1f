"""What a client may say of a container: the Docker Engine API's Config and HostConfig, and what an image adds to them."""

from __future__ import annotations

import os
import re
import shlex
from typing import Any, Final

from gasang.core.errors import UsageError
from gasang.daemon.containers.fields import Field, mapping, maps, name_set, read, text, text_map, text_or_texts, texts, truth, whole

CONFIG: Final[dict[str, Field]] = {
    "Hostname": text(),
    "Domainname": text(),
    "User": text(),
    "AttachStdin": truth(),
    "AttachStdout": truth(),
    "AttachStderr": truth(),
    "ExposedPorts": name_set(),
    "Tty": truth(),
    "OpenStdin": truth(),
    "StdinOnce": truth(),
    "Env": texts(),
    "Cmd": text_or_texts(),
    "Healthcheck": mapping(),
    "ArgsEscaped": truth(),
    "Image": text(),
    "Volumes": name_set(),
    "WorkingDir": text(),
    "Entrypoint": text_or_texts(),
    "NetworkDisabled": truth(),
    "OnBuild": texts(),
    "Labels": text_map(),
    "StopSignal": text(),
    "StopTimeout": whole(None),
    "Shell": texts(),
}
"""Docker Engine API, ContainerConfig."""

HOST_CONFIG: Final[dict[str, Field]] = {
    "CpuShares": whole(),
    "Memory": whole(),
    "CgroupParent": text(),
    "BlkioWeight": whole(),
    "BlkioWeightDevice": maps(),
    "BlkioDeviceReadBps": maps(),
    "BlkioDeviceWriteBps": maps(),
    "BlkioDeviceReadIOps": maps(),
    "BlkioDeviceWriteIOps": maps(),
    "CpuPeriod": whole(),
    "CpuQuota": whole(),
    "CpuRealtimePeriod": whole(),
    "CpuRealtimeRuntime": whole(),
    "CpusetCpus": text(),
    "CpusetMems": text(),
    "Devices": maps(),
    "DeviceCgroupRules": texts(),
    "DeviceRequests": maps(),
    "MemoryReservation": whole(),
    "MemorySwap": whole(),
    "MemorySwappiness": whole(None),
    "NanoCpus": whole(),
    "OomKillDisable": truth(None),
    "Init": truth(None),
    "PidsLimit": whole(None),
    "Ulimits": maps(),
    "Binds": texts(),
    "ContainerIDFile": text(),
    "LogConfig": mapping({}),
    "NetworkMode": text("default"),
    "PortBindings": mapping({}),
    "RestartPolicy": mapping({"Name": "no", "MaximumRetryCount": 0}),
    "AutoRemove": truth(),
    "VolumeDriver": text(),
    "VolumesFrom": texts(),
    "Mounts": maps(),
    "ConsoleSize": Field("two whole numbers", lambda value: isinstance(value, list), None),
    "Annotations": text_map(),
    "CapAdd": texts(),
    "CapDrop": texts(),
    "CgroupnsMode": text(),
    "Dns": texts(),
    "DnsOptions": texts(),
    "DnsSearch": texts(),
    "ExtraHosts": texts(),
    "GroupAdd": texts(),
    "IpcMode": text(),
    "Cgroup": text(),
    "Links": texts(),
    "OomScoreAdj": whole(),
    "PidMode": text(),
    "Privileged": truth(),
    "PublishAllPorts": truth(),
    "ReadonlyRootfs": truth(),
    "SecurityOpt": texts(),
    "StorageOpt": text_map(),
    "Tmpfs": text_map(),
    "UTSMode": text(),
    "UsernsMode": text(),
    "ShmSize": whole(),
    "Sysctls": text_map(),
    "Runtime": text(),
    "Isolation": text(),
    "MaskedPaths": texts(),
    "ReadonlyPaths": texts(),
}
"""Docker Engine API, HostConfig."""

HEALTHCHECK: Final[dict[str, Field]] = {
    "Test": texts(),
    "Interval": whole(),
    "Timeout": whole(),
    "Retries": whole(),
    "StartPeriod": whole(),
    "StartInterval": whole(),
}
RESTART: Final[dict[str, Field]] = {"Name": text("no"), "MaximumRetryCount": whole()}
RESTART_NAMES: Final = ("", "no", "always", "unless-stopped", "on-failure")
LOG: Final[dict[str, Field]] = {"Type": text("json-file"), "Config": text_map({})}
LOG_DEFAULTS: Final = {"max-size": "10m", "max-file": "3"}
"""Logs are bounded unless told otherwise; Docker lets them grow without end. `max-size=-1` is Docker's way."""
LOG_OPTIONS: Final = frozenset(
    {"max-size", "max-file", "labels", "labels-regex", "env", "env-regex", "tag", "compress", "mode", "max-buffer-size"}
)
SHM_SIZE: Final = 64 << 20
MEMORY_MIN: Final = 6 << 20
BLOCK_WEIGHT_MIN, BLOCK_WEIGHT_MAX = 10, 1000
CPU_PERIOD_MIN, CPU_PERIOD_MAX = 1000, 1_000_000
RUNTIMES: Final = ("gasang", "runc", "io.containerd.runc.v2")
"""Names of the one runtime that there is: clients ask for Docker's by its names."""
SECURITY: Final = frozenset({"label", "apparmor", "seccomp", "no-new-privileges"})
SHORTEST_CHECK: Final = 1_000_000
"""Nanoseconds: Docker's least for the times of a health check."""
NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


def config_of(document: Any) -> dict[str, Any]:
    """The Config of a client's document. Raises UsageError."""
    config = read(document, CONFIG, "container config")
    for name in ("Cmd", "Entrypoint"):
        if isinstance(config[name], str):
            config[name] = shlex.split(config[name])
    for entry in config["Env"] or ():
        if entry.startswith("=") or not entry:
            raise UsageError(f"environment variable {entry[:40]!r}", "it has no name", "write NAME=value")
    if config["WorkingDir"] and not config["WorkingDir"].startswith("/"):
        raise UsageError(f"working directory {config['WorkingDir'][:80]!r}", "it is not absolute", "begin it with /")
    if config["Healthcheck"] is not None:
        config["Healthcheck"] = read(config["Healthcheck"], HEALTHCHECK, "health check")
        _check_health(config["Healthcheck"])
    return config


def _check_health(check: dict[str, Any]) -> None:
    for name in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
        if check[name] and check[name] < SHORTEST_CHECK:
            raise UsageError(f"{name} in Healthcheck cannot be less than 1ms", f"it is {check[name]} ns", "give more, or 0 for the default")
    if check["Retries"] < 0:
        raise UsageError("Retries in Healthcheck cannot be negative", f"they are {check['Retries']}", "give more, or 0 for the default")


def host_config_of(document: Any) -> dict[str, Any]:
    """The HostConfig of a client's document. Raises UsageError."""
    host = read({} if document is None else document, HOST_CONFIG, "host config")
    host["RestartPolicy"] = read(host["RestartPolicy"], RESTART, "restart policy")
    host["LogConfig"] = read(host["LogConfig"], LOG, "log config")
    host["NetworkMode"] = host["NetworkMode"] or "default"
    host["IpcMode"] = host["IpcMode"] or "private"
    host["CgroupnsMode"] = host["CgroupnsMode"] or "private"
    host["ShmSize"] = host["ShmSize"] or SHM_SIZE
    host["Runtime"] = host["Runtime"] or RUNTIMES[0]
    host["LogConfig"]["Type"] = host["LogConfig"]["Type"] or "json-file"
    if host["LogConfig"]["Type"] == "json-file":
        host["LogConfig"]["Config"] = {**LOG_DEFAULTS, **host["LogConfig"]["Config"]}
    if host["UsernsMode"] not in ("", "host"):
        mode = host["UsernsMode"][:40]
        raise UsageError(f"user namespace mode {mode!r}", "there is none of this name", "leave it out, or use host")
    _check_host(host)
    return host


def _check_host(host: dict[str, Any]) -> None:
    """What a type alone does not say. Raises UsageError with Docker's meaning."""
    _check_policy(host)
    _check_names(host)
    _check_limits(host)


def _check_policy(host: dict[str, Any]) -> None:
    policy = host["RestartPolicy"]
    if policy["Name"] not in RESTART_NAMES:
        raise UsageError(
            f"restart policy {policy['Name'][:40]!r}", "there is none of this name", f"use one of {', '.join(RESTART_NAMES[1:])}"
        )
    if policy["MaximumRetryCount"] and policy["Name"] != "on-failure":
        raise UsageError(f"restart policy {policy['Name']!r}", "a count of retries belongs to on-failure", "leave the count out")
    if host["AutoRemove"] and policy["Name"] not in ("", "no"):
        raise UsageError("container", "it can't be removed when it ends and restarted as well", "choose --rm or --restart")


def _check_names(host: dict[str, Any]) -> None:
    if host["Runtime"] not in RUNTIMES:
        raise UsageError("unknown or invalid runtime name", host["Runtime"][:40], f"use one of {', '.join(RUNTIMES)}")
    if host["Isolation"] not in ("", "default"):
        raise UsageError(f"Invalid isolation {host['Isolation'][:40]!r}", "linux only supports 'default'", "leave it out")
    if host["StorageOpt"]:
        raise UsageError("storage options", "--storage-opt needs a file system that counts what each container has", "leave it out")
    for option in host["SecurityOpt"] or []:
        if re.split("[=:]", option)[0] not in SECURITY:
            raise UsageError(f"invalid --security-opt {option[:60]!r}", "there is none of this name", f"use {', '.join(sorted(SECURITY))}")
    log = host["LogConfig"]
    if log["Type"] not in ("json-file", "none", "local"):
        raise UsageError(f"log driver {log['Type'][:40]!r}", "there is none of this name", "use json-file, local or none")
    for name in log["Config"]:
        if name not in LOG_OPTIONS:
            raise UsageError(f"log option {name[:40]!r}", f"the {log['Type']} driver has none of this name", "leave it out")


def _check_limits(host: dict[str, Any]) -> None:
    if host["BlkioWeight"] and not BLOCK_WEIGHT_MIN <= host["BlkioWeight"] <= BLOCK_WEIGHT_MAX:
        least = f"range of blkio weight is from {BLOCK_WEIGHT_MIN} to {BLOCK_WEIGHT_MAX}"
        raise UsageError(least, f"it is {host['BlkioWeight']}", "give another")
    if 0 < host["Memory"] < MEMORY_MIN:
        raise UsageError("Minimum memory limit allowed is 6MB", f"{host['Memory']} bytes are less", "give at least 6m")
    if host["Memory"] < 0 or host["NanoCpus"] < 0 or host["ShmSize"] < 0:
        raise UsageError("resources", "a limit is negative", "give a positive number, or 0 for none")
    if host["MemorySwap"] > 0 and not host["Memory"]:
        raise UsageError("memory and swap limit", "it needs a memory limit", "give --memory as well")
    if 0 < host["MemorySwap"] < host["Memory"]:
        raise UsageError(
            "Minimum memoryswap limit should be larger than memory limit", "it is both of them together", "give more, or -1 for no limit"
        )
    if host["CpuPeriod"] and not CPU_PERIOD_MIN <= host["CpuPeriod"] <= CPU_PERIOD_MAX:
        raise UsageError("CPU cfs period can not be less than 1ms or larger than 1s", f"it is {host['CpuPeriod']} us", "give another")
    if 0 < host["CpuQuota"] < CPU_PERIOD_MIN:
        raise UsageError("CPU cfs quota can not be less than 1ms", f"it is {host['CpuQuota']} us", "give more")
    processors = os.cpu_count() or 1
    if host["NanoCpus"] and not 10_000_000 <= host["NanoCpus"] <= processors * 1_000_000_000:
        least = "Range of CPUs is from 0.01 to"
        raise UsageError(f"{least} {processors}.00, as there are only {processors} CPUs available", "more cannot be had", "give less")
    for name, kind in (("CpusetCpus", "CPUs"), ("CpusetMems", "memory nodes")):
        _check_set(host[name], processors if kind == "CPUs" else 1, kind)
    if host["NanoCpus"] and (host["CpuQuota"] or host["CpuPeriod"]):
        raise UsageError("cpu limit", "--cpus and --cpu-quota or --cpu-period say the same thing twice", "give one of them")


def check_reservation(host: dict[str, Any]) -> None:
    """What Docker looks at where a container is made, and not where its limits change. Raises UsageError."""
    if host["Memory"] and host["MemoryReservation"] > host["Memory"]:
        raise UsageError("Minimum memory limit can not be less than memory reservation limit", "it is the greater of both", "give more")


def _check_set(text: str, count: int, kind: str) -> None:
    """Raise UsageError unless a list such as "0-2,4" names only what there is."""
    for part in filter(None, text.split(",")):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise UsageError(f"Invalid value {text[:40]} for cpuset", "it is no list of numbers", "for example 0-1,3")
        if int(last or first) >= count:
            available = f"0-{count - 1}" if count > 1 else "0"
            raise UsageError(f"Requested {kind} are not available", f"requested {text[:40]}, available: {available}", "name others")


def merged(config: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """`config` with what the image's own config says where the client says nothing (Docker's rules)."""
    result = dict(config)
    own = {entry.partition("=")[0] for entry in config["Env"] or ()}
    inherited = [entry for entry in image.get("Env") or [] if entry.partition("=")[0] not in own]
    result["Env"] = [*inherited, *(config["Env"] or [])]
    if not config["Entrypoint"]:
        if config["Entrypoint"] is None and not config["Cmd"]:
            result["Cmd"] = image.get("Cmd")
        if config["Entrypoint"] is None:
            result["Entrypoint"] = image.get("Entrypoint")
    if result["Entrypoint"] == [""]:
        result["Entrypoint"] = None
    for name in ("User", "WorkingDir", "StopSignal"):
        result[name] = config[name] or image.get(name) or ""
    for name in ("ExposedPorts", "Volumes", "Labels"):
        both = {**(image.get(name) or {}), **(config[name] or {})}
        result[name] = both or (None if name != "Labels" else {})
    result["Healthcheck"] = _health(config["Healthcheck"], image.get("Healthcheck"))
    result["Shell"] = config["Shell"] or image.get("Shell")
    return result


def _health(own: dict[str, Any] | None, image: Any) -> dict[str, Any] | None:
    if not isinstance(image, dict):
        return own
    inherited = read(image, HEALTHCHECK, "the image's health check")
    if own is None:
        return inherited
    return {name: own[name] or inherited[name] for name in HEALTHCHECK}


def checked_name(name: str) -> str:
    """A container's name without its slash. Raises UsageError."""
    bare = name.removeprefix("/")
    if not NAME.fullmatch(bare):
        raise UsageError(
            f"Invalid container name ({bare[:80]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", "it has other signs", "choose another"
        )
    return bare
