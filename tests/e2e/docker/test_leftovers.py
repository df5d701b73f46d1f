"""Nothing is left: mounts, interfaces, control groups, rules, namespaces and files are counted before and after."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support.engines.client import until
from support.engines.leftovers import counts, settled
from support.engines.registry import free_port


def test_of_containers_that_ended(docker, engine, image):
    docker("run", "--rm", image, "true")
    before = counts(engine)
    clients = [docker.open("run", "--rm", "-v", "/data", "-p", f"{free_port()}:80", image, "true") for _ in range(5)]
    for client in clients:
        assert client.communicate(timeout=60)[1] == b""
    until(lambda: settled(engine, before))


def test_of_containers_that_were_killed(docker, engine, image, box):
    before = counts(engine)
    names = [box() for _ in range(3)]
    for name in names:
        docker("run", "-d", "--name", name, "--tmpfs", "/x", image, "sh", "-c", "sleep 100 & sleep 100")
        docker("exec", "-d", name, "sleep", "100")
    docker("rm", "-f", *names)
    until(lambda: settled(engine, before))


def test_of_starts_that_failed(docker, engine, image):
    before = counts(engine)
    docker("run", "--rm", image, "no-such-command", code=127)
    docker("run", "--rm", "-v", "/dev/null:/etc", image, "true", code=None)
    docker("run", "--rm", "--user", "nobody-here", image, "true", code=125)
    until(lambda: settled(engine, before))


def test_of_networks(docker, engine, image, fresh):
    before = counts(engine)
    network = fresh("network")
    docker("network", "create", network)
    docker("run", "--rm", "--network", network, image, "true")
    docker("network", "rm", network)
    until(lambda: settled(engine, before))


def test_of_builds(docker, engine, image):
    before = counts(engine)
    containers = docker("ps", "-aq").lines
    docker("build", "--no-cache", "-", typed=f"FROM {image}\nRUN true\nRUN false\n".encode(), code=1)
    until(lambda: settled(engine, before))
    left = set(docker("ps", "-aq").lines) - set(containers)
    for key in left:
        docker("rm", key)
    assert len(left) <= 1


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_the_daemon_comes_back(docker, engine, image, name, fresh, way):
    """Ours alone: a container, its log and its exit code outlive the daemon, however it ends."""
    if engine.name != "gasang":
        pytest.skip("dockerd ends its containers")
    volume = fresh("volume")
    docker(
        "run", "-d", "--name", name, "-v", f"{volume}:/data", image, "sh", "-c", "for i in $(seq 30); do echo $i; sleep 0.1; done; exit 5"
    )
    until(lambda: docker("logs", name).lines)
    pid = docker.format(name, "{{.State.Pid}}")
    engine.kill() if way == "kill" else engine.stop()
    assert Path(f"/proc/{pid}").exists()
    engine.start()
    assert docker("wait", name).text == "5"
    assert docker("logs", name).lines == [str(number) for number in range(1, 31)]
    assert docker.format(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 5"


def test_what_ended_while_no_daemon_was_there(docker, engine, image, name):
    """Ours alone."""
    if engine.name != "gasang":
        pytest.skip("dockerd ends its containers")
    docker("run", "-d", "--name", name, image, "sh", "-c", "sleep 0.7; echo last words; exit 9")
    pid = docker.format(name, "{{.State.Pid}}")
    engine.kill()
    until(lambda: not Path(f"/proc/{pid}").exists())
    engine.start()
    assert docker.format(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 9"
    assert docker("logs", name).text == "last words"


def test_a_second_daemon_is_refused(engine):
    """On the same state there is one."""
    if engine.name != "gasang":
        pytest.skip("dockerd's own words differ")
    done = subprocess.run(engine.command, env={**os.environ, **engine.environment}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "daemon" in done.stderr.lower()
