"""Resources: what the kernel is told, and what happens at the limit. Control groups of version 1 and 2."""

from __future__ import annotations

import re

import pytest

FILES = {
    "memory": ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"),
    "pids": ("/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"),
    "cpuset": ("/sys/fs/cgroup/cpuset/cpuset.cpus", "/sys/fs/cgroup/cpuset.cpus"),
}


def seen(docker, image, what, *options):
    """What the container itself sees of a limit."""
    first, second = FILES[what]
    return docker("run", "--rm", *options, image, "sh", "-c", f"cat {first} 2>/dev/null || cat {second}").text


def test_memory(docker, image):
    assert seen(docker, image, "memory", "-m", "64m") == str(64 << 20)


def test_processes(docker, image):
    assert seen(docker, image, "pids", "--pids-limit", "33") == "33"


def test_processors(docker, image):
    assert seen(docker, image, "cpuset", "--cpuset-cpus", "0") == "0"


def test_share_of_processors(docker, image):
    script = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us 2>/dev/null || cat /sys/fs/cgroup/cpu.max"
    assert docker("run", "--rm", "--cpus", "0.5", image, "sh", "-c", script).text.split() == ["50000", "100000"]
    script = "cat /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null || cat /sys/fs/cgroup/cpu.weight"
    assert docker("run", "--rm", "--cpu-shares", "512", image, "sh", "-c", script).text in ("512", "20")


def test_a_share_of_a_processor_is_kept(docker, image):
    done = docker("run", "--rm", "--cpus", "0.2", image, "sh", "-c", "timeout 2 sh -c 'while :; do :; done'; times")
    minutes, seconds = done.lines[1].split()[0].rstrip("s").split("m")
    assert float(minutes) * 60 + float(seconds) < 1.0


def test_too_many_processes(docker, image):
    done = docker("run", "--rm", "--pids-limit", "5", image, "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait", code=None)
    assert done.code != 0
    assert "fork" in done.said


def test_out_of_memory_is_told(docker, image, name):
    docker("run", "--name", name, "-m", "32m", "--memory-swap", "32m", image, "sh", "-c", "exec tail < /dev/zero", code=137)
    assert docker.format(name, "{{.State.OOMKilled}} {{.State.ExitCode}}") == "true 137"


def test_memory_of_a_running_container_changes(docker, image, name):
    docker("run", "-d", "--name", name, "-m", "64m", image, "sleep", "60")
    docker("update", "-m", "96m", "--memory-swap", "96m", name)
    first, second = FILES["memory"]
    assert docker("exec", name, "sh", "-c", f"cat {first} 2>/dev/null || cat {second}").text == str(96 << 20)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["-m", "1k"], r"6 ?Mi?B"),
        (["--cpus", "1000"], r"CPUs"),
        (["-m", "64m", "--memory-swap", "32m"], r"emory ?(and )?swap limit.*(larger|smaller) than (the )?memory limit"),
        (["--cpuset-cpus", "4000"], r"(?i)cpu"),
    ],
)
def test_what_cannot_be_is_refused(docker, image, options, sentence):
    assert re.search(sentence, docker("run", "--rm", *options, image, "true", code=125).said)


def test_limits_are_shown(docker, image, name):
    docker("create", "--name", name, "-m", "64m", "--cpus", "1.5", "--pids-limit", "10", "--memory-reservation", "32m", image)
    host = docker.inspect(name)["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"], host["MemoryReservation"]) == (64 << 20, 1_500_000_000, 10, 32 << 20)
