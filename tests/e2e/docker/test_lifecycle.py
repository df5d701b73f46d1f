"""From create to rm: states, signals, time limits, policies, names."""

from __future__ import annotations

import re

import pytest

from support.engines.client import until

ALLOWED = "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
STUBBORN = 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
POLITE = 'trap "echo bye; exit 0" TERM; echo ready; while :; do sleep 0.1; done'


def state(docker, name):
    return docker.format(name, "{{.State.Status}}")


def ready(docker, name):
    until(lambda: "ready" in docker("logs", name).text)


def test_create_start_wait(docker, image, name):
    key = docker("create", "--name", name, image, "sh", "-c", "exit 3").text
    assert (len(key), state(docker, name)) == (64, "created")
    assert docker("start", name).text == name
    assert docker("wait", name).text == "3"
    assert state(docker, name) == "exited"


def test_start_attached_gives_output_and_code(docker, image, name):
    docker("create", "--name", name, image, "sh", "-c", "echo hi; exit 4")
    assert docker("start", "-a", name, code=4).text == "hi"


def test_start_attached_with_input(docker, image, name):
    docker("create", "-i", "--name", name, image, "cat")
    assert docker("start", "-ai", name, typed=b"fed\n").out == b"fed\n"


def test_the_same_container_starts_again_with_its_files(docker, image, name):
    docker("run", "--name", name, image, "sh", "-c", "echo x >> /count; wc -l < /count")
    assert docker("start", "-a", name).text == "2"
    assert docker("logs", name).lines == ["1", "2"]


def test_start_of_a_running_one_is_fine(docker, image, name):
    docker("run", "-d", "--name", name, image, "sleep", "60")
    assert docker("start", name).text == name


def test_attach_to_what_runs(docker, image, name):
    docker("run", "-d", "-i", "--name", name, image, "sh", "-c", "read line; echo got $line; exit 8")
    # Input stays open: where it ends, and the container was not started with this client, Docker gives up the output too.
    client = docker.open("attach", name)
    client.stdin.write(b"words\n")
    client.stdin.flush()
    assert client.stdout.readline() == b"got words\n"
    assert client.wait(20) == 8


def test_attach_to_what_does_not_run(docker, image, name):
    docker("create", "--name", name, image)
    assert "cannot attach to a stopped container" in docker("attach", name, code=1).said.lower()


def test_stop_asks_first(docker, image, name):
    docker("run", "-d", "--name", name, image, "sh", "-c", POLITE)
    ready(docker, name)
    assert docker("stop", name).text == name
    assert docker.format(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 0"
    assert docker("logs", name).lines == ["ready", "bye"]


def test_stop_kills_after_its_time(docker, image, name):
    docker("run", "-d", "--name", name, image, "sh", "-c", STUBBORN)
    ready(docker, name)
    docker("stop", "-t", "1", name)
    assert docker.format(name, "{{.State.ExitCode}}") == "137"


def test_stop_with_the_containers_own_signal_and_time(docker, image, name):
    script = 'trap "exit 11" USR1; echo ready; while :; do sleep 0.1; done'
    docker("run", "-d", "--name", name, "--stop-signal", "USR1", "--stop-timeout", "20", image, "sh", "-c", script)
    ready(docker, name)
    docker("stop", name)
    assert docker.format(name, "{{.State.ExitCode}}") == "11"
    assert docker.inspect(name)["Config"]["StopTimeout"] == 20


def test_stop_of_what_does_not_run_is_fine(docker, image, name):
    docker("create", "--name", name, image)
    assert docker("stop", name).text == name


def test_restart(docker, image, name):
    docker("run", "-d", "--name", name, image, "sh", "-c", POLITE)
    ready(docker, name)
    before = docker.inspect(name)["State"]
    docker("restart", "-t", "2", name)
    after = docker.inspect(name)["State"]
    assert after["Running"]
    assert after["Pid"] != before["Pid"]
    assert after["StartedAt"] > before["StartedAt"]


@pytest.mark.parametrize(("signal", "code"), [([], 137), (["-s", "KILL"], 137), (["-s", "SIGUSR1"], 138), (["-s", "12"], 140)])
def test_kill(docker, image, name, signal, code):
    docker("run", "-d", "--init", "--name", name, image, "sleep", "60")
    until(lambda: "sleep" in docker("top", name).text)
    assert docker("kill", *signal, name).text == name
    assert docker("wait", name).text == str(code)


def test_kill_of_what_does_not_run(docker, image, name):
    docker("create", "--name", name, image)
    assert "is not running" in docker("kill", name, code=1).said
    assert "nvalid signal" in docker("kill", "-s", "NOSUCH", name, code=1).said


def test_pause_and_unpause(docker, image, name):
    docker("run", "-d", "--name", name, image, "sh", "-c", "while :; do date +%s%N > /now; sleep 0.01; done")
    until(lambda: docker("exec", name, "cat", "/now", code=None).text)
    assert docker("pause", name).text == name
    assert docker.format(name, "{{.State.Status}} {{.State.Paused}} {{.State.Running}}") == "paused true true"
    assert "(Paused)" in docker("ps", "--filter", f"name={name}", "--format", "{{.Status}}").text
    assert "is paused, unpause the container before exec" in docker("exec", name, "true", code=1).said
    assert "is already paused" in docker("pause", name, code=1).said
    docker("unpause", name)
    assert state(docker, name) == "running"
    assert "is not paused" in docker("unpause", name, code=1).said


def test_rename(docker, image, box):
    old, new, other = box(), box(), box()
    docker("create", "--name", old, image)
    docker("create", "--name", other, image)
    docker("rename", old, new)
    assert docker.format(new, "{{.Name}}") == f"/{new}"
    docker("inspect", old, code=1)
    assert "already in use" in docker("rename", new, other, code=1).said
    assert ALLOWED in docker("rename", new, "bad name", code=1).said


def test_wait_for_several(docker, image, box):
    names = [box(), box()]
    for code, name in enumerate(names):
        docker("run", "-d", "--name", name, image, "sh", "-c", f"sleep 0.2; exit {code}")
    assert docker("wait", *names).lines == ["0", "1"]


def test_rm(docker, image, name):
    docker("run", "-d", "--name", name, image, "sleep", "60")
    done = docker("rm", name, code=1)
    assert re.search("container is running[:;] stop the container before removing or force remove", done.said)
    assert docker("rm", "-f", name).text == name
    assert f"No such container: {name}" in docker("rm", name, code=1).said


def test_names_and_short_ids(docker, image, name):
    key = docker("create", "--name", name, image).text
    for shorter in (key, key[:12], key[:7], name, f"/{name}"):
        assert docker.format(shorter, "{{.Id}}") == key


def test_names_are_checked(docker, image):
    done = docker("create", "--name", "a/b", image, code=1)
    assert "a/b" in done.said
    assert ALLOWED in done.said


def test_a_name_is_found_for_those_without(docker, image):
    key = docker("create", image).text
    try:
        given = docker.format(key, "{{.Name}}")
        assert given.startswith("/")
        assert "_" in given
    finally:
        docker("rm", key)


def test_restart_on_failure(docker, image, name):
    docker("run", "-d", "--name", name, "--restart", "on-failure:2", image, "sh", "-c", "echo again; exit 5")
    until(lambda: docker.format(name, "{{.State.Status}} {{.RestartCount}}") == "exited 2")
    assert docker.format(name, "{{.State.ExitCode}}") == "5"
    assert docker("logs", name).lines == ["again"] * 3


def test_restart_on_failure_not_after_success(docker, image, name):
    docker("run", "--name", name, "--restart", "on-failure", image, "true")
    assert docker.format(name, "{{.State.Status}} {{.RestartCount}}") == "exited 0"


def test_restart_always_until_stopped(docker, image, name):
    docker("run", "-d", "--name", name, "--restart", "always", image, "sh", "-c", "echo up; sleep 0.2")
    until(lambda: int(docker.format(name, "{{.RestartCount}}")) >= 1)
    docker("stop", "-t", "0", name)
    count = docker.format(name, "{{.RestartCount}}")
    assert state(docker, name) == "exited"
    assert docker.format(name, "{{.RestartCount}}") == count


def test_restart_policy_with_rm_is_refused_by_the_client(docker, image):
    assert "conflicting options" in docker("run", "--rm", "--restart", "always", image, code=125).said


def test_update(docker, image, name):
    docker("run", "-d", "--name", name, "-m", "64m", image, "sleep", "60")
    assert (
        docker(
            "update", "--memory", "128m", "--memory-swap", "128m", "--cpus", "0.5", "--pids-limit", "77", "--restart", "always", name
        ).text
        == name
    )
    host = docker.inspect(name)["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (128 << 20, 500_000_000, 77)
    assert host["RestartPolicy"]["Name"] == "always"


def test_container_prune(docker, image, box):
    stopped, running = box(), box()
    docker("run", "--name", stopped, "--label", "prune-me", image, "true")
    docker("run", "-d", "--name", running, "--label", "prune-me", image, "sleep", "60")
    done = docker("container", "prune", "-f", "--filter", "label=prune-me")
    assert "Deleted Containers:" in done.text
    assert "Total reclaimed space:" in done.text
    docker("inspect", stopped, code=1)
    assert state(docker, running) == "running"
