"""`kill -9` of the daemon in the middle of everything it does, and of a supervisor: nothing is lost and nothing is left. Ours alone.

Moments are spread over the time that a command takes; GASANG_KILLS (3) says how many to try of each.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from support.engines.client import until
from support.engines.http import call
from support.engines.leftovers import counts, grown
from support.engines.rootfs import Image, layer

MOMENTS = int(os.environ.get("GASANG_KILLS", "3"))
LINES = "i=0; while [ $i -lt 40 ]; do echo $i; i=$((i+1)); usleep 20000; done; exit 7"


@pytest.fixture(autouse=True)
def _ours_alone(engine):
    if engine.name != "gasang":
        pytest.skip("dockerd ends its containers with itself")


@pytest.fixture
def witness(docker, image, box):
    """A container that runs all the while, says forty lines and ends with 7."""
    name = box()
    docker("run", "-d", "--name", name, image, "sh", "-c", LINES)
    return name


@pytest.fixture
def nothing_left(docker, engine, image):
    """After the test, and after all its containers are gone, the host has nothing of them."""
    docker("run", "--rm", image, "true")
    before = counts(engine)
    yield
    keys = docker("ps", "-aq").lines
    if keys:
        docker("rm", "-fv", *keys)
    docker("volume", "prune", "-f", "-a")
    try:
        until(lambda: not grown(engine, before), 15)
    except AssertionError:
        raise AssertionError(f"left (before, now): {grown(engine, before)}") from None


def killed_in(docker, engine, words, fraction, took, typed=None):
    """Begin a command, kill the daemon after a part of the time that it takes, start the next one."""
    client = docker.open(*words)
    if typed is not None:
        client.stdin.write(typed)
    client.stdin.close()
    time.sleep(took * fraction)
    engine.kill()
    client.wait(30)
    engine.start()


def timed(docker, *words, **options):
    begin = time.monotonic()
    docker(*words, **options)
    return time.monotonic() - begin


def check_witness(docker, name):
    """It was neither disturbed nor forgotten."""
    assert docker("wait", name).text == "7"
    assert docker("logs", name).lines == [str(number) for number in range(40)]
    assert docker.format(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 7"


def moments(count=MOMENTS):
    return [(index + 0.5) / count for index in range(count)]


def _is_true(state):
    """Whether what is told as running has a process."""
    return state["Status"] != "running" or Path(f"/proc/{state['Pid']}").exists()


def each_is_whole(docker):
    """Every container that is shown can be looked at, started or stopped, and removed."""
    for key in docker("ps", "-aq", "--no-trunc").lines:
        shown = docker.inspect(key)
        assert shown["State"]["Status"] in ("created", "running", "exited", "paused"), shown["State"]
        if shown["State"]["Status"] == "running":
            until(lambda key=key: _is_true(docker.inspect(key)["State"]))  # it may end by itself between the two looks
        docker("logs", key)
        docker("diff", key)


@pytest.mark.usefixtures("nothing_left")
def test_in_create(docker, engine, image, witness):
    words = ("create", "-v", "/data", image, "true")
    took = timed(docker, *words)
    for part in moments():
        killed_in(docker, engine, words, part, took)
        each_is_whole(docker)
    check_witness(docker, witness)


@pytest.mark.usefixtures("nothing_left")
def test_in_start(docker, engine, image, box, witness):
    first = box()
    docker("create", "--name", first, image, "true")
    took = timed(docker, "start", first)
    for part in moments():
        name = box()
        docker("create", "--name", name, "-p", "7080", image, "sh", "-c", "echo said; exec sleep 100")
        killed_in(docker, engine, ("start", name), part, took)
        each_is_whole(docker)
        docker("start", name)
        until(lambda name=name: docker("logs", name).lines[-1:] == ["said"])
        docker("exec", name, "true")
        docker("rm", "-f", name)
    check_witness(docker, witness)


@pytest.mark.usefixtures("nothing_left")
def test_in_run(docker, engine, image, witness):
    words = ("run", "--rm", "-v", "/data", image, "sh", "-c", "echo hello; exit 3")
    took = timed(docker, *words, code=3)
    for part in moments():
        killed_in(docker, engine, words, part, took)
        each_is_whole(docker)
    check_witness(docker, witness)


@pytest.mark.usefixtures("nothing_left")
def test_in_stop(docker, engine, image, box, witness):
    for part in moments():
        name = box()
        script = "trap 'usleep 200000; echo bye; exit 4' TERM; echo up; while :; do usleep 10000; done"
        docker("run", "-d", "--name", name, image, "sh", "-c", script)
        until(lambda name=name: docker("logs", name).text == "up")
        killed_in(docker, engine, ("stop", name), part, 0.3)
        docker("stop", name)
        assert docker.format(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 4"
        assert docker("logs", name).lines == ["up", "bye"]
    check_witness(docker, witness)


@pytest.mark.usefixtures("nothing_left")
def test_in_rm(docker, engine, image, box, witness):
    script = "mkdir /many; for i in $(seq 2000); do : >/many/$i; done; exec sleep 100"
    first = box()
    docker("run", "-d", "--name", first, "-v", "/data", image, "sh", "-c", "exec sleep 100")
    took = timed(docker, "rm", "-fv", first)
    for part in moments():
        name = box()
        docker("run", "-d", "--name", name, "-v", "/data", image, "sh", "-c", script)
        killed_in(docker, engine, ("rm", "-fv", name), part, took)
        each_is_whole(docker)
        docker("rm", "-fv", name)
    check_witness(docker, witness)


@pytest.mark.usefixtures("nothing_left")
def test_in_exec(docker, engine, image, name, witness):
    docker("run", "-d", "--name", name, image, "sleep", "1000")
    took = timed(docker, "exec", name, "true")
    for part in moments():
        killed_in(docker, engine, ("exec", name, "sh", "-c", "echo x >>/seen; sleep 0.2; exit 5"), part, took)
        each_is_whole(docker)
        docker("exec", name, "sh", "-c", "exit 6", code=6)
    until(lambda: docker("top", name).text.count("sleep") == 1)
    check_witness(docker, witness)


@pytest.mark.usefixtures("nothing_left")
def test_in_build(docker, engine, image, fresh, witness):
    tag = fresh("image")
    file = f"FROM {image}\nRUN echo one >/one && usleep 100000\nWORKDIR /new\nRUN echo two >/two\n".encode()
    words = ("build", "--no-cache", "-t", tag, "-")
    took = timed(docker, *words, typed=file)
    containers = docker("ps", "-aq").lines
    for part in moments():
        killed_in(docker, engine, words, part, took, file)
        assert docker("ps", "-aq").lines == containers
        assert docker("run", "--rm", tag, "cat", "/one", "/two").lines == ["one", "two"]
    docker(*words, typed=file)
    check_witness(docker, witness)


@pytest.mark.usefixtures("nothing_left")
def test_in_commit(docker, engine, image, name, fresh, witness):
    tag = fresh("image")
    script = "dd if=/dev/urandom of=/big bs=1M count=8 2>/dev/null; echo x >/x; exec sleep 1000"
    docker("run", "-d", "--name", name, image, "sh", "-c", script)
    until(lambda: docker("exec", name, "cat", "/x", code=None).text == "x")
    took = timed(docker, "commit", name, tag)
    for part in moments():
        killed_in(docker, engine, ("commit", name, tag), part, took)
        assert docker.format(name, "{{.State.Status}}") in ("running", "paused")
        docker("unpause", name, code=None)
        docker("exec", name, "true")
        assert docker("run", "--rm", tag, "cat", "/x").text == "x"
    check_witness(docker, witness)


@pytest.mark.usefixtures("nothing_left")
def test_in_pull(docker, engine, image, base, registry, fresh, witness):
    layers = [base, *(layer({f"file{index}": os.urandom(3 << 20)}) for index in range(3))]
    registry.put("killed:1", Image(layers, {"Cmd": ["sh"], "Env": ["PATH=/bin"]}))
    whole = f"{registry.host}/killed:1"
    took = timed(docker, "pull", whole)
    for part in moments():
        docker("rmi", whole)
        killed_in(docker, engine, ("pull", whole), part, took)
        docker("pull", whole)
        assert len(docker("run", "--rm", whole, "cat", "/file2").out) == 3 << 20
    docker("rmi", whole)
    check_witness(docker, witness)


def test_of_an_exec_leaves_its_exit_code(docker, engine, image, name):
    """What an exec that outlives the daemon ended with can be asked of the next one."""
    docker("run", "-d", "--name", name, image, "sleep", "1000")
    _, _, body = call(engine, "POST", f"/containers/{name}/exec", {"Cmd": ["sh", "-c", "sleep 0.5; exit 9"]})
    key = json.loads(body)["Id"]
    assert call(engine, "POST", f"/exec/{key}/start", {"Detach": True})[0] == 200
    engine.kill()
    engine.start()
    shown = until(lambda: (found := json.loads(call(engine, "GET", f"/exec/{key}/json")[2])) and not found["Running"] and found)
    assert shown["ExitCode"] == 9


def supervisor_of(docker, name):
    """The process id of a container's supervisor."""
    pid = int(docker.format(name, "{{.State.Pid}}"))
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert "gasang-superv" in Path(f"/proc/{fields[1]}/comm").read_text()
    return int(fields[1])


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("space", ["private", "host"])
def test_of_a_supervisor(docker, engine, image, name, space):
    """Its container is reported as ended, its processes are ended, its log is kept."""
    mode = ["--pid", "host"] if space == "host" else []
    docker("run", "-d", "--name", name, *mode, image, "sh", "-c", "echo said; sleep 1000 & (setsid sleep 1000 &); wait")
    until(lambda: len(docker("top", name).lines) == 4 and docker("logs", name).text)
    processes = [int(line.split()[1]) for line in docker("top", name).lines[1:]]
    os.kill(supervisor_of(docker, name), signal.SIGKILL)
    until(lambda: docker.format(name, "{{.State.Status}}") == "exited")
    assert docker.format(name, "{{.State.ExitCode}}") == "137"
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))
    assert docker("logs", name).text == "said"
    docker("start", name)
    until(lambda: docker("logs", name).lines == ["said", "said"])


@pytest.mark.usefixtures("nothing_left")
def test_of_daemon_and_supervisor(docker, engine, image, name):
    docker("run", "-d", "--name", name, "--pid", "host", image, "sh", "-c", "echo said; sleep 1000 & sleep 1000; true")
    until(lambda: len(docker("top", name).lines) == 4)
    processes = [int(line.split()[1]) for line in docker("top", name).lines[1:]]
    supervisor = supervisor_of(docker, name)
    engine.kill()
    os.kill(supervisor, signal.SIGKILL)
    engine.start()
    assert docker.format(name, "{{.State.Status}}") == "exited"
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))
    assert docker("logs", name).text == "said"
