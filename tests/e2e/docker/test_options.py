"""What the options of `docker run` and `docker update` do, beyond streams, limits, networks and volumes; and which are refused."""

from __future__ import annotations

import json
import os
import stat

import pytest

from support.engines.client import until
from support.engines.http import call


def told(docker, image, *words, script="true", code=0):
    """What a script in a container with these options says."""
    return docker("run", "--rm", *words, image, "sh", "-c", script, code=code).text


def test_an_environment_file(docker, image, tmp_path):
    (tmp_path / "file").write_text("A=1\n# a comment\nB=two words\n\nC=\n")
    lines = told(docker, image, "--env-file", tmp_path / "file", "-e", "A=3", "-e", "B", script="env").splitlines()
    assert {"A=3", "B=two words", "C="} <= set(lines)


def test_the_order_of_variables(docker, image):
    shown = docker("run", "--rm", "-e", "Z=1", "-e", "HOME=", "--hostname", "web", image, "cat", "/proc/1/environ")
    assert shown.text.split("\0") == ["PATH=/bin", "HOSTNAME=web", "Z=1", "HOME=/root", ""]


def test_mounts_of_memory(docker, image):
    options = "type=tmpfs,destination=/x,tmpfs-size=1m,tmpfs-mode=1770"
    shown = told(docker, image, "--mount", options, "--tmpfs", "/y:size=64k,noexec", script="stat -c %a /x; grep -E ' /[xy] ' /proc/mounts")
    mode, *lines = shown.splitlines()
    mounts = {line.split()[1]: set(line.split()[3].split(",")) for line in lines}
    assert mode == "1770"
    assert "size=1024k" in mounts["/x"]
    assert {"noexec", "size=64k"} <= mounts["/y"]


def test_limits_of_processes(docker, image):
    shown = told(docker, image, "--ulimit", "nofile=100:200", "--ulimit", "core=0", script="cat /proc/self/limits")
    limits = {line[:25].strip(): line[25:].split()[:2] for line in shown.splitlines()}
    assert limits["Max open files"] == ["100", "200"]
    assert limits["Max core file size"] == ["0", "0"]


def test_a_device_under_another_name(docker, image):
    assert told(docker, image, "--device", "/dev/zero:/dev/mine:r", script="head -c 3 /dev/mine | od -An -tx1").split() == ["00"] * 3


def test_capabilities(docker, image):
    shown = told(docker, image, "--cap-add", "SYS_TIME", "--cap-drop", "CHOWN", script="grep CapEff /proc/self/status")
    assert int(shown.split()[1], 16) == (0xA80425FB | 1 << 25) & ~1


def test_a_filter_of_system_calls(docker, image, tmp_path):
    rules = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]
    (tmp_path / "filter.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    done = docker("run", "--rm", "--security-opt", f"seccomp={tmp_path}/filter.json", image, "mkdir", "/made", code=1)
    assert "Operation not permitted" in done.said
    assert told(docker, image, "--security-opt", "seccomp=unconfined", script="grep Seccomp: /proc/self/status").split() == [
        "Seccomp:",
        "0",
    ]


@pytest.mark.parametrize(("option", "shown"), [((), "0"), (("no-new-privileges",), "1"), (("no-new-privileges:false",), "0")])
def test_new_privileges(docker, image, option, shown):
    words = [word for value in option for word in ("--security-opt", value)]
    assert told(docker, image, *words, script="grep NoNewPrivs /proc/self/status").split()[1] == shown


def test_settings_of_the_kernel(docker, image):
    script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"
    assert told(docker, image, "--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=9999", script=script).split() == [
        "1",
        "9999",
    ]


def test_names_and_resolvers(docker, image):
    words = ("--dns", "9.9.9.9", "--dns-search", "example.org", "--dns-option", "ndots:2", "--add-host", "other:10.0.0.1")
    lines = told(docker, image, *words, script="cat /etc/resolv.conf /etc/hosts").splitlines()
    assert {"nameserver 9.9.9.9", "search example.org", "options ndots:2", "10.0.0.1\tother"} <= set(lines)


def test_nothing_can_be_written_but_what_is_mounted(docker, image):
    script = "touch /x 2>/dev/null || echo refused; touch /dev/shm/x /mem/x && echo written"
    assert told(docker, image, "--read-only", "--tmpfs", "/mem", script=script).split() == ["refused", "written"]


def test_other_options(docker, image):
    script = "pwd; stat -c %a .; cat /proc/self/oom_score_adj; grep Cpus_allowed_list /proc/self/status; grep -o 'size=.*k' /proc/mounts"
    words = ("-w", "/new/folder", "--oom-score-adj", "500", "--cpuset-cpus", "1", "--shm-size", "1m")
    lines = told(docker, image, *words, script=script).splitlines()
    assert lines[:3] == ["/new/folder", "755", "500"]
    assert lines[3].split() == ["Cpus_allowed_list:", "1"]
    assert any(line.startswith("size=1024k") for line in lines[4:])


@pytest.mark.parametrize(
    "options",
    [
        ("--security-opt", "bogus=1"),
        ("--runtime", "bogus"),
        ("--isolation", "bogus"),
        ("--health-cmd", "true", "--health-interval", "1ns"),
        ("--cap-add", "BOGUS"),
        ("--oom-score-adj", "5000"),
        ("--stop-signal", "BOGUS"),
        ("-w", "relative"),
        ("--ipc", "bogus"),
        ("--sysctl", "kernel.panic=1"),
        ("--net", "host", "--sysctl", "net.ipv4.ip_forward=1"),
        ("--mount", "type=bogus,dst=/v"),
        ("-v", "/tmp:/"),
        ("-v", "/tmp:/x", "-v", "/var:/x"),
        ("-v", "name:/x:bogus"),
        ("-u", "nobody-here"),
        ("--log-opt", "bogus=1"),
        ("-m", "64m", "--memory-reservation", "128m"),
        ("--cpu-period", "10"),
        ("--cpu-quota", "10"),
        ("--storage-opt", "size=1g"),
        ("--network", "not-here"),
        ("--network", "container:not-here"),
        ("--volumes-from", "not-here"),
        ("--link", "not-here:x"),
    ],
    ids=lambda options: " ".join(options),
)
def test_what_is_refused(docker, image, options):
    done = docker("run", "--rm", *options, image, "true", code=125)
    assert "Unable to find image" not in done.said  # a client that is told 404 pulls


def test_a_device_that_is_not_there(docker, image, name):
    words = 'error gathering device information while adding custom device "/dev/nope": no such file or directory'
    assert words in docker("run", "--name", name, "--device", "/dev/nope", image, "true", code=127).said
    state = docker.inspect(name)["State"]
    assert (state["Status"], state["ExitCode"]) == ("created", 128)
    assert words in state["Error"]
    assert words in docker("start", name, code=1).said
    assert '"/etc/passwd": not a device node' in docker("run", "--rm", "--device", "/etc/passwd", image, "true", code=125).said
    said = docker("run", "--rm", "--device-read-bps", "/dev/nope:1mb", image, "true", code=127).said
    assert "stat /dev/nope: no such file or directory" in said


def test_the_devices_of_a_folder(docker, image, tmp_path):
    (tmp_path / "in").mkdir()
    os.mknod(tmp_path / "zero", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    os.mknod(tmp_path / "in" / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    (tmp_path / "file").touch()
    script = "cd /dev/mine; find . -type c | sort; head -c 3 zero | od -An -tx1; echo gone > in/null"
    assert told(docker, image, "--device", f"{tmp_path}:/dev/mine", script=script).split() == ["./in/null", "./zero", "00", "00", "00"]


def test_a_folder_without_devices(docker, image, tmp_path):
    assert "not a device node" in docker("run", "--rm", "--device", tmp_path, image, "true", code=125).said


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"Count": -1, "Capabilities": [["gpu"]]}, 'could not select device driver "" with capabilities: [[gpu]]'),
        ({"Driver": "x", "Capabilities": [["gpu", "utility"], ["a"]]}, 'device driver "x" with capabilities: [[gpu utility] [a]]'),
        ({"Driver": "nvidia", "Count": 1}, 'could not select device driver "nvidia" with capabilities: []'),
    ],
)
def test_gpus(engine, docker, image, name, request_, words):
    """Whoever asks for what nobody can give is told so at the start, and nothing runs without it."""
    body = {"Image": image, "Cmd": ["true"], "HostConfig": {"DeviceRequests": [request_]}}
    assert call(engine, "POST", f"/containers/create?name={name}", body)[0] == 201
    status, _, answer = call(engine, "POST", f"/containers/{name}/start")
    assert status == 500
    assert words in json.loads(answer)["message"]
    assert docker.format(name, "{{.State.Status}} {{.State.ExitCode}}") == "created 128"


def test_weights_of_block_devices(docker, image, name):
    """They are kept, or the client is warned: dockerd looks for those of another scheduler than the one that Linux has now."""
    done = docker("create", "--name", name, "--blkio-weight", "300", image, "true")
    kept = docker.format(name, "{{.HostConfig.BlkioWeight}}")
    assert kept == ("0" if "Block I/O weight or the cgroup is not mounted. Weight discarded." in done.said else "300")
    docker("start", "-a", name)
    if kept == "300":
        assert "range of blkio weight is from 10 to 1000" in docker("create", "--blkio-weight", "5", image, code=1).said


def test_a_warning_of_the_memory_that_runs_out(docker, image):
    words = "OOM killer is disabled for the container, but no memory limit is set"
    assert words in docker("run", "--rm", "--oom-kill-disable", image, "true").said
    assert words not in docker("run", "--rm", "--oom-kill-disable", "-m", "64m", image, "true").said


def test_a_command_without_a_name(docker, image):
    assert "executable file not found in $PATH" in docker("run", "--rm", image, "", code=127).said


@pytest.fixture
def running(docker, image, name):
    """A container that only waits."""
    docker("run", "-d", "--name", name, "-m", "64m", image, "sleep", "300")
    return name


def test_update_of_what_runs(docker, running):
    docker("update", "-m", "128m", "--memory-swap", "256m", "--cpus", "0.5", "--pids-limit", "77", "--cpu-shares", "512", running)
    host = docker.inspect(running)["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (128 << 20, 256 << 20, 500_000_000)
    assert (host["PidsLimit"], host["CpuShares"], host["CpuPeriod"], host["CpuQuota"]) == (77, 512, 0, 0)


def test_update_of_the_policy(docker, running):
    docker("update", "--restart", "on-failure:3", running)
    assert docker.inspect(running)["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    docker("update", "--restart", "always", running)
    assert docker.inspect(running)["HostConfig"]["RestartPolicy"] == {"Name": "always", "MaximumRetryCount": 0}


@pytest.mark.parametrize("options", [("--restart", "bogus"), ("-m", "1m"), ("--cpus", "900"), ("--cpuset-cpus", "999")], ids=" ".join)
def test_update_that_cannot_be(docker, running, options):
    before = docker.inspect(running)["HostConfig"]
    docker("update", *options, running, code=1)
    assert docker.inspect(running)["HostConfig"] == before


def test_update_of_what_removes_itself(docker, image, name):
    docker("run", "-d", "--rm", "--name", name, image, "sleep", "60")
    docker("update", "--restart", "always", name, code=1)


def test_wait_for_several(docker, image, box):
    first, second = box(), box()
    for name, code in ((first, 3), (second, 4)):
        docker("run", "-d", "--name", name, image, "sh", "-c", f"exit {code}")
    until(lambda: docker.format(first, "{{.State.Status}}") == "exited")
    done = docker("wait", first, "nobody-here", second, code=1)
    assert done.lines == ["3", "4"]
    assert "No such container: nobody-here" in done.said
