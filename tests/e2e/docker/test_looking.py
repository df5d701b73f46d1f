"""Looking: ps, inspect, top, stats, events, info, version, df."""

from __future__ import annotations

import json
import re
import select
import time

import pytest

from support.engines.client import until
from support.engines.registry import free_port


@pytest.fixture
def running(docker, image, name):
    """A container that only waits."""
    docker("run", "-d", "--name", name, "--label", f"mine={name}", image, "sleep", "300")
    return name


def test_ps(docker, image, running):
    heading, *rows = docker("ps").lines
    assert heading.split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    (row,) = [row for row in rows if row.endswith(running)]
    assert row.split()[:2] == [docker.format(running, "{{.Id}}")[:12], image]
    assert '"sleep 300"' in row
    assert re.search(r"Up (Less than a second|\d+ seconds?|About a minute)", row)


def test_ps_of_all(docker, image, box):
    made, ended = box(), box()
    docker("create", "--name", made, image)
    docker("run", "--name", ended, image, "sh", "-c", "exit 3", code=3)
    until(lambda: not {made, ended} & set(docker("ps", "--format", "{{.Names}}").lines))
    shown = dict(line.split("|") for line in docker("ps", "-a", "--format", "{{.Names}}|{{.Status}}").lines)
    assert shown[made] == "Created"
    assert re.match(r"Exited \(3\) .* ago", shown[ended])
    assert docker("ps", "-a", "-n", "1", "--format", "{{.Names}}").lines == [ended]
    assert docker("ps", "-l", "-q", "--no-trunc").text == docker.format(ended, "{{.Id}}")


def test_sizes(docker, image, name):
    docker("run", "--name", name, image, "sh", "-c", "head -c 2000000 /dev/zero > /big")
    assert re.match(r"2MB \(virtual \d.*MB\)", docker("ps", "-a", "-s", "--filter", f"name={name}", "--format", "{{.Size}}").text)
    shown = json.loads(docker("inspect", "-s", name).out)[0]
    assert 2_000_000 <= shown["SizeRw"] < 2_100_000
    assert shown["SizeRootFs"] > shown["SizeRw"]


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        ("name=NAME", True), ("name=^/?NAME$", True), ("name=other-", False),
        ("id=ID", True), ("label=mine", True), ("label=mine=NAME", True), ("label=mine=x", False),
        ("status=running", True), ("status=exited", False), ("ancestor=IMAGE", True), ("ancestor=no:such", False),
        ("network=bridge", True), ("network=none", False), ("health=none", True), ("volume=/none", False), ("publish=80", False),
    ],
)  # fmt: skip
def test_filters(docker, image, running, condition, matches):
    key = docker.format(running, "{{.Id}}")
    condition = condition.replace("NAME", running).replace("ID", key[:10]).replace("IMAGE", image)
    assert (running in docker("ps", "-a", "--filter", condition, "--format", "{{.Names}}").lines) == matches


def test_more_filters(docker, image, box):
    first, second, third = box(), box(), box()
    docker("run", "--name", first, image, "sh", "-c", "exit 4", code=4)
    docker("run", "--name", second, "-v", "/data", image, "true")
    docker("run", "--name", third, image, "true")

    def names(*conditions):
        options = [word for condition in conditions for word in ("--filter", condition)]
        return set(docker("ps", "-a", *options, "--format", "{{.Names}}").lines) & {first, second, third}

    assert names("exited=4") == {first}
    assert names(f"since={first}") == {second, third}
    assert names(f"before={second}") == {first}
    assert names("volume=/data") == {second}
    assert names("status=exited", "exited=0") == {second, third}
    assert names(f"name={first}", f"name={third}") == {first, third}
    assert "invalid filter" in docker("ps", "--filter", "nonsense=1", code=1).said.lower()


def test_filters_of_ports(docker, image, name):
    port = free_port()
    docker("run", "-d", "--name", name, "--expose", "81", "-p", f"127.0.0.1:{port}:80", image, "sleep", "60")
    for condition, matches in (
        ("expose=81", True),
        ("expose=80/tcp", True),
        ("expose=82", False),
        (f"publish={port}", True),
        ("publish=1", False),
    ):
        assert (name in docker("ps", "--filter", condition, "--format", "{{.Names}}").lines) == matches, condition


def test_inspect(docker, image, running):
    shown = docker.inspect(running)
    assert (shown["Name"], shown["Path"], shown["Args"]) == (f"/{running}", "sleep", ["300"])
    assert shown["Image"] == docker.inspect("image", image)["Id"]
    state = shown["State"]
    assert (state["Status"], state["Running"], state["Paused"], state["Restarting"], state["OOMKilled"], state["Dead"]) == (
        "running", True, False, False, False, False,
    )  # fmt: skip
    assert state["Pid"] > 1
    assert state["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$", shown["Created"])
    assert shown["Created"] <= state["StartedAt"]
    assert (shown["Driver"], shown["Platform"], shown["RestartCount"]) == (shown["Driver"] or "x", "linux", 0)
    host = shown["HostConfig"]
    assert host["NetworkMode"] in ("default", "bridge")
    assert (host["Privileged"], host["AutoRemove"], host["ReadonlyRootfs"]) == (False, False, False)
    assert host["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert host["ShmSize"] == 64 << 20
    assert "/proc/kcore" in host["MaskedPaths"]
    assert "/proc/sys" in host["ReadonlyPaths"]
    config = shown["Config"]
    assert (config["Image"], config["Cmd"], config["Tty"], config["OpenStdin"]) == (image, ["sleep", "300"], False, False)
    assert config["Hostname"] == shown["Id"][:12]
    assert config["Labels"] == {"mine": running}
    assert shown["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]


def test_a_missing_one_among_several(docker, running):
    done = docker("inspect", running, "nobody-here", code=1)
    assert len(json.loads(done.out)) == 1
    assert "No such object: nobody-here" in done.said


def test_top(docker, running):
    heading, row = docker("top", running).lines
    assert heading.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert row.endswith("sleep 300")
    assert row.split()[1] == docker.format(running, "{{.State.Pid}}")
    heading, row = docker("top", running, "-o", "pid,args").lines
    assert heading.split() == ["PID", "COMMAND"]
    assert "is not running" in docker("top", docker_created(docker, running), code=1).said


def docker_created(docker, running):
    """Another container that was created and never ran."""
    key = docker("create", "--label", f"with={running}", docker.format(running, "{{.Config.Image}}")).text
    docker_created.made = key
    return key


@pytest.fixture(autouse=True)
def _remove_created(docker):
    yield
    if key := getattr(docker_created, "made", ""):
        docker("rm", "-f", key)
        docker_created.made = ""


def test_stats(docker, running):
    shown = json.loads(docker("stats", "--no-stream", "--format", "json", running).out)
    assert shown["Name"] == running
    assert re.match(r"[\d.]+%$", shown["CPUPerc"])
    assert re.match(r"[\d.]+[kKM]?i?B / [\d.]+[GM]iB", shown["MemUsage"])
    assert shown["PIDs"] == "1"


def test_stats_go_on(docker, running):
    client = docker.open("stats", "--format", "{{.Name}}", running)
    seen = 0
    while seen < 2:
        seen += running.encode() in client.stdout.readline()
    client.kill()
    client.communicate()


def test_events(docker, image, name):
    begin = f"{time.time() - 0.001:.6f}"
    docker("run", "--rm", "--name", name, image, "true")
    until(lambda: docker("inspect", name, code=None).code)
    done = docker("events", "--since", begin, "--until", f"{time.time():.6f}", "--format", "{{.Type}} {{.Action}}")
    assert [line for line in done.lines if line.startswith("container")] == [
        f"container {action}" for action in ("create", "attach", "start", "die", "destroy")
    ]
    assert {"network connect", "network disconnect"} <= set(done.lines)


def test_events_as_they_happen(docker, image, name):
    client = docker.open("events", "--filter", f"container={name}", "--filter", "type=container", "--format", "json")
    try:
        # The client says nothing once it listens: repeat until it has seen one.
        docker("create", "--name", name, image)

        def heard():
            docker("rename", name, f"{name}x")
            docker("rename", f"{name}x", name)
            return select.select([client.stdout], [], [], 0.3)[0]

        until(heard)
        event = json.loads(client.stdout.readline())
    finally:
        client.kill()
        client.communicate()
    assert event["Type"] == "container"
    assert event["Actor"]["Attributes"]["image"] == image
    assert event["timeNano"] // 10**9 == event["time"]


def test_info(docker, running):
    shown = json.loads(docker("info", "--format", "json").out)
    assert shown["OSType"] == "linux"
    assert shown["ContainersRunning"] >= 1
    assert shown["Containers"] >= shown["ContainersRunning"]
    assert shown["Images"] >= 1
    assert shown["NCPU"] >= 1
    assert shown["MemTotal"] > 1 << 28
    assert "bridge" in shown["Plugins"]["Network"]
    assert shown["DefaultRuntime"] in shown["Runtimes"]
    text = docker("info").text
    for heading in ("Server Version:", "Storage Driver:", "Cgroup Version:", "Kernel Version:", "Docker Root Dir:", "Security Options:"):
        assert heading in text


def test_version(docker):
    shown = json.loads(docker("version", "--format", "json").out)
    assert shown["Server"]["Os"] == "linux"
    assert tuple(map(int, shown["Server"]["ApiVersion"].split("."))) >= (1, 41)
    assert shown["Server"]["MinAPIVersion"] in ("1.12", "1.24")


def test_older_api_versions(docker, running):
    docker.environment["DOCKER_API_VERSION"] = "1.30"
    try:
        assert running in docker("ps", "--format", "{{.Names}}").lines
        assert docker("exec", running, "echo", "old").text == "old"
        docker.environment["DOCKER_API_VERSION"] = "1.99"
        assert "is too new" in docker("ps", code=1).said
    finally:
        del docker.environment["DOCKER_API_VERSION"]


def test_df(docker, running):
    lines = docker("system", "df").lines
    assert lines[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert [line.split("  ")[0] for line in lines[1:]] == ["Images", "Containers", "Local Volumes", "Build Cache"]
    text = docker("system", "df", "-v").text
    assert running in text


def test_system_prune(docker, image, name, fresh):
    network = fresh("network")
    docker("network", "create", network)
    docker("run", "--name", name, image, "true")
    done = docker("system", "prune", "-f")
    assert "Total reclaimed space:" in done.text
    docker("inspect", name, code=1)
    docker("network", "inspect", network, code=1)
    docker("image", "inspect", image)


def test_port(docker, image, name):
    docker("run", "-d", "--name", name, "-p", "127.0.0.1:0:80", "-p", "127.0.0.1:0:90/udp", image, "sleep", "60")
    lines = docker("port", name).lines
    assert re.match(r"80/tcp -> 127\.0\.0\.1:\d+$", lines[0])
    assert re.match(r"90/udp -> 127\.0\.0\.1:\d+$", lines[1])
    assert re.match(r"127\.0\.0\.1:\d+$", docker("port", name, "80/tcp").text)
    assert "no public port" in docker("port", name, "81", code=1).said.lower()
