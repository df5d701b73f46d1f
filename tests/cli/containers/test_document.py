"""Every option of run and create ends up in its place of the API's document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gasang.cli.containers.document import Ends, document
from gasang.cli.containers.places import GPUS, GROUPS, PLACES
from gasang.cli.containers.values import no_gpu
from gasang.cli.parse import parse
from gasang.cli.verbs.create import SYNTAX
from gasang.core.errors import UnsupportedError, UsageError
from gasang.daemon.containers.settings import CONFIG, HEALTHCHECK, HOST_CONFIG, config_of, host_config_of

WORDS: dict[str, tuple[str, str, Any]] = {
    "rm": ("", "HostConfig.AutoRemove", True),
    "restart": ("on-failure:3", "HostConfig.RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 3}),
    "annotation": ("a=b", "HostConfig.Annotations", {"a": "b"}),
    "label": ("a=b=c", "Labels", {"a": "b=c"}),
    "hostname": ("h", "Hostname", "h"),
    "domainname": ("d", "Domainname", "d"),
    "workdir": ("/w", "WorkingDir", "/w"),
    "user": ("1:2", "User", "1:2"),
    "group-add": ("video", "HostConfig.GroupAdd", ["video"]),
    "entrypoint": ("/e", "Entrypoint", ["/e"]),
    "init": ("", "HostConfig.Init", True),
    "stop-signal": ("INT", "StopSignal", "INT"),
    "stop-timeout": ("0", "StopTimeout", 0),
    "log-driver": ("local", "HostConfig.LogConfig.Type", "local"),
    "log-opt": ("max-size=1m", "HostConfig.LogConfig.Config", {"max-size": "1m"}),
    "volume": ("data:/d", "HostConfig.Binds", ["data:/d"]),
    "mount": ("target=/d", "HostConfig.Mounts", [{"Type": "volume", "Target": "/d"}]),
    "volumes-from": ("web:ro", "HostConfig.VolumesFrom", ["web:ro"]),
    "tmpfs": ("/t:size=1m", "HostConfig.Tmpfs", {"/t": "size=1m"}),
    "read-only": ("", "HostConfig.ReadonlyRootfs", True),
    "shm-size": ("1M", "HostConfig.ShmSize", 1 << 20),
    "network": ("host", "HostConfig.NetworkMode", "host"),
    "publish": ("8080:80", "HostConfig.PortBindings", {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}),
    "publish-all": ("", "HostConfig.PublishAllPorts", True),
    "expose": ("80-81/udp", "ExposedPorts", {"80/udp": {}, "81/udp": {}}),
    "add-host": ("a:1.2.3.4", "HostConfig.ExtraHosts", ["a:1.2.3.4"]),
    "dns": ("1.1.1.1", "HostConfig.Dns", ["1.1.1.1"]),
    "dns-search": ("a", "HostConfig.DnsSearch", ["a"]),
    "dns-option": ("ndots:2", "HostConfig.DnsOptions", ["ndots:2"]),
    "link": ("db:d", "HostConfig.Links", ["db:d"]),
    "cpu-shares": ("512", "HostConfig.CpuShares", 512),
    "cpu-period": ("1000", "HostConfig.CpuPeriod", 1000),
    "cpu-quota": ("-1", "HostConfig.CpuQuota", -1),
    "cpuset-cpus": ("0", "HostConfig.CpusetCpus", "0"),
    "cpuset-mems": ("0", "HostConfig.CpusetMems", "0"),
    "memory-reservation": ("8M", "HostConfig.MemoryReservation", 8 << 20),
    "memory-swap": ("-1", "HostConfig.MemorySwap", -1),
    "pids-limit": ("9", "HostConfig.PidsLimit", 9),
    "blkio-weight": ("10", "HostConfig.BlkioWeight", 10),
    "memory-swappiness": ("0", "HostConfig.MemorySwappiness", 0),
    "oom-kill-disable": ("", "HostConfig.OomKillDisable", True),
    "oom-score-adj": ("-500", "HostConfig.OomScoreAdj", -500),
    "ulimit": ("core=0", "HostConfig.Ulimits", [{"Name": "core", "Soft": 0, "Hard": 0}]),
    "device-read-bps": ("/dev/a:1M", "HostConfig.BlkioDeviceReadBps", [{"Path": "/dev/a", "Rate": 1 << 20}]),
    "device-write-bps": ("/dev/a:1M", "HostConfig.BlkioDeviceWriteBps", [{"Path": "/dev/a", "Rate": 1 << 20}]),
    "device-read-iops": ("/dev/a:5", "HostConfig.BlkioDeviceReadIOps", [{"Path": "/dev/a", "Rate": 5}]),
    "device-write-iops": ("/dev/a:5", "HostConfig.BlkioDeviceWriteIOps", [{"Path": "/dev/a", "Rate": 5}]),
    "cgroup-parent": ("/p", "HostConfig.CgroupParent", "/p"),
    "privileged": ("", "HostConfig.Privileged", True),
    "cap-add": ("NET_ADMIN", "HostConfig.CapAdd", ["NET_ADMIN"]),
    "cap-drop": ("ALL", "HostConfig.CapDrop", ["ALL"]),
    "security-opt": ("no-new-privileges", "HostConfig.SecurityOpt", ["no-new-privileges"]),
    "device": ("/dev/fuse", "HostConfig.Devices",
               [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}]),
    "device-cgroup-rule": ("c 1:3 r", "HostConfig.DeviceCgroupRules", ["c 1:3 r"]),
    "pid": ("host", "HostConfig.PidMode", "host"),
    "ipc": ("none", "HostConfig.IpcMode", "none"),
    "uts": ("host", "HostConfig.UTSMode", "host"),
    "userns": ("host", "HostConfig.UsernsMode", "host"),
    "cgroupns": ("host", "HostConfig.CgroupnsMode", "host"),
    "sysctl": ("net.ipv4.ip_forward=1", "HostConfig.Sysctls", {"net.ipv4.ip_forward": "1"}),
    "health-cmd": ("true", "Healthcheck.Test", ["CMD-SHELL", "true"]),
    "no-healthcheck": ("", "Healthcheck.Test", ["NONE"]),
    "health-interval": ("5s", "Healthcheck.Interval", 5_000_000_000),
    "health-timeout": ("5s", "Healthcheck.Timeout", 5_000_000_000),
    "health-retries": ("2", "Healthcheck.Retries", 2),
    "health-start-period": ("5s", "Healthcheck.StartPeriod", 5_000_000_000),
    "health-start-interval": ("5s", "Healthcheck.StartInterval", 5_000_000_000),
}  # fmt: skip
"""option → its value, where it goes, and what it is there."""
NONE = Ends()
ELSEWHERE = {"name", "pull", "cidfile", "label-file", "network-alias", "ip", "ip6", "mac-address", "no-root", "gpus"}
"""Those with a test of their own."""


def made_of(*words: str, ends: Ends = NONE) -> dict[str, Any]:
    return document(parse("create", SYNTAX, [*words, "image"]), "image", ends, None)


def found_at(made: dict[str, Any], path: str) -> Any:
    found: Any = made
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


@pytest.mark.parametrize("name", WORDS)
def test_an_option_has_its_place(name: str) -> None:
    text, path, wanted = WORDS[name]
    made = made_of(f"--{name}={text}" if text else f"--{name}")
    assert found_at(made, path) == wanted
    assert found_at(made_of(), path) in (None, [], {})
    host_config_of(made["HostConfig"])  # and the daemon takes it
    config_of({field: found for field, found in made.items() if field in CONFIG})


def test_every_option_is_tested() -> None:
    assert {place.option.name for place in PLACES} == WORDS.keys() | ELSEWHERE
    assert sum(len(places) for places in GROUPS.values()) == len({place.option.name for place in PLACES})


def test_every_place_is_one_that_the_daemon_reads() -> None:
    tables = {"HostConfig": HOST_CONFIG, "Healthcheck": HEALTHCHECK}
    for place in PLACES:
        first, _, rest = place.path.partition(".")
        if rest:
            assert rest.partition(".")[0] in tables[first]
        elif first:
            assert first in CONFIG


def test_what_is_not_given_is_not_said() -> None:
    made = made_of("--init=false")
    assert made["HostConfig"] == {"Binds": [], "PortBindings": {}}
    assert "Healthcheck" not in made


def test_limits_and_networks() -> None:
    made = made_of("--cpus=.5", "-m8m", "--network=name=app,alias=a", "--network=other", "--network-alias=b", "--ip=10.0.0.2")
    assert (made["HostConfig"]["NanoCpus"], made["HostConfig"]["Memory"]) == (500_000_000, 8 << 20)
    assert made["HostConfig"]["NetworkMode"] == "app"
    endpoints = made["NetworkingConfig"]["EndpointsConfig"]
    assert endpoints == {"app": {"Aliases": ["a", "b"], "IPAMConfig": {"IPv4Address": "10.0.0.2"}}, "other": {}}
    made = made_of("--network=app", "--ip6=fd00::2", "--mac-address=02:00:00:00:00:01")
    endpoints = made["NetworkingConfig"]["EndpointsConfig"]
    assert endpoints == {"app": {"IPAMConfig": {"IPv6Address": "fd00::2"}, "MacAddress": "02:00:00:00:00:01"}}


def test_without_root_is_a_network_in_user_space_unless_another_is_named() -> None:
    assert made_of("--no-root")["HostConfig"]["NetworkMode"] == "user"
    assert made_of("--no-root", "--network=app")["HostConfig"]["NetworkMode"] == "app"


def test_a_word_of_its_own_wins_over_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTS", "here")
    path = tmp_path / "file"
    path.write_text("A=1\nHOSTS\n")
    made = made_of(f"--env-file={path}", "-e", "A=2", f"--label-file={path}", "--label", "A=3")
    assert made["Env"] == ["A=1", "HOSTS=here", "A=2"]
    assert made["Labels"] == {"A": "3", "HOSTS": ""}


def test_streams_are_those_that_are_joined() -> None:
    made = made_of("-i", ends=Ends(stdin=True, stderr=True))
    assert [made[name] for name in ("OpenStdin", "StdinOnce", "AttachStdin", "AttachStdout", "AttachStderr")] == [True] * 3 + [False, True]
    assert made_of("-i")["StdinOnce"] is False


def test_what_cannot_be() -> None:
    with pytest.raises(UnsupportedError, match="--gpus: GPUs are not passed on"):
        made_of("--gpus=all")
    assert GPUS.flag == "--gpus"
    with pytest.raises(UnsupportedError, match="--device"):
        no_gpu("", "--gpus")
    with pytest.raises(UsageError, match="--no-healthcheck: --health-cmd asks for a check"):
        made_of("--no-healthcheck", "--health-cmd=true")
    with pytest.raises(UsageError, match="add --network NETWORK"):
        made_of("--network-alias=a")
