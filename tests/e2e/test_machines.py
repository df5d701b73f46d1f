"""Virtual machines behind a daemon: the verbs of containers, snapshots, twins, and what outlives what."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from gasang.core.errors import StateError
from gasang.kinds.vm.process.client import ask
from gasang.kinds.vm.process.jail import PARTS
from gasang.native.cache import default_directory
from support.engines.verbs import IMAGE, Gasang, serving
from support.seat import Seat
from support.supervised import eventually as eventually_within
from support.talking import talking

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox-static"),
]

eventually = partial(eventually_within, limit=60.0)


@pytest.fixture(scope="module")
def gasang() -> Iterator[Gasang]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GASANG_NATIVE_CACHE", str(default_directory()))
        with serving() as command:
            yield command


class Room:
    """A machine, and seats at it and its twins."""

    def __init__(self, gasang: Gasang) -> None:
        self.gasang = gasang
        self.seats: list[Seat] = []

    def seat(self, name: str = "web") -> Seat:
        made = Seat(self.gasang.home, name)
        self.seats.append(made)
        return made

    def run(self, *options: str) -> str:
        """A machine called web whose guest has said that it is up; its id."""
        kernel = self.gasang.home / "talking"
        kernel.write_bytes(talking())
        key = self.gasang("run", "-d", "--name", "web", "--memory", "64M", "--kernel", str(kernel), *options).strip()
        eventually(lambda: "up" in self.gasang("logs", "web"))
        return key

    def pid(self, name: str = "web") -> int:
        return int(self.gasang.inspect(name, "State.Pid"))


@pytest.fixture
def room(gasang: Gasang) -> Iterator[Room]:
    made = Room(gasang)
    yield made
    for seat in made.seats:
        seat.close()
    left = gasang("ps", "-aq").split()
    if left:
        gasang("rm", "-f", *left)
    assert gasang("ps", "-aq") == ""


def daemon_killed(gasang: Gasang) -> None:
    """The daemon gets kill -9; another is started."""
    pid = int(gasang("daemon", "status", "--format", "{process}"))
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{pid}") or "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3])
    with gasang.inside():
        gasang("daemon", "start")


def test_the_verbs_of_containers(gasang: Gasang, room: Room) -> None:
    key = room.run("--require-jail")
    assert gasang("ps", "--format", "{name} {kind} {state}") == "web vm running\n"
    assert [gasang.inspect("web", f"Jail.{part}") for part in PARTS] == [""] * len(PARTS)
    assert gasang.inspect("web", "Kind") == "vm"
    assert gasang.inspect(key[:12], "Machine.memory") == str(64 << 20)
    seat = room.seat()
    assert seat.type(b"a") == b"a1"
    gasang("pause", "web")
    assert gasang.inspect("web", "State.Status") == "paused"
    seat.socket.sendall(b"b")
    gasang("resume", "web")
    assert seat.line() == b"b2"
    gasang("rename", "web", "other")
    found = json.loads(gasang("stats", "--no-stream", "--format", "json", "other"))[0]
    assert (found["memory_limit"], found["pids"]) == (64 << 20, 1)
    assert 0 < found["shared"] < found["memory"]
    gasang("kill", "-s", "USR1", "other")
    assert seat.type(b"c") == b"c3"
    assert gasang("stop", "other") == "other\n"
    assert gasang.inspect("other", "State.ExitCode") == "143"
    assert gasang("logs", "other").replace("\r", "") == "up\na1\nb2\nc3\n"
    assert gasang("container", "prune", "-f") == ""
    gasang("start", "other")
    eventually(lambda: gasang("logs", "other").count("up") == 2)
    gasang("restart", "other")
    eventually(lambda: gasang("logs", "other").count("up") == 3)
    gasang("kill", "other")
    assert gasang("wait", "other") == "137\n"
    assert gasang("rm", "other") == "other\n"
    assert list((gasang.home / "data" / "containers").iterdir()) == []


def test_its_own_end_is_its_exit_code(gasang: Gasang, room: Room) -> None:
    room.run("--rm")
    seat = room.seat()
    seat.socket.sendall(b"q")
    eventually(lambda: not gasang("ps", "-aq"))


def test_a_name_is_taken_once(gasang: Gasang, room: Room) -> None:
    room.run()
    assert b'The container name "/web" is already in use' in gasang.run("run", "-d", "--name", "web", IMAGE, "sleep", "9").stderr
    gasang("run", "-d", "--name", "box", "--network", "none", IMAGE, "sleep", "1000")
    kernel = str(gasang.home / "talking")
    assert b"already in use" in gasang.run("run", "-d", "--name", "box", "--kernel", kernel).stderr
    assert sorted(gasang("ps", "--format", "{name} {kind}").split("\n")) == ["", "box container", "web vm"]


def test_what_only_containers_have(gasang: Gasang, room: Room) -> None:
    room.run()
    done = gasang.run("diff", "web")
    assert (done.returncode, b"machine web: its kernel was given by hand" in done.stderr) == (6, True), done


def test_a_guest_that_can_have_no_agent(gasang: Gasang, room: Room) -> None:
    room.run()
    others = ("cp", "web:/etc/passwd", "-"), ("top", "web"), ("export", "web"), ("commit", "web", "x")
    for words, code in ((("exec", "web", "ls"), 126), *((words, 6) for words in others)):
        done = gasang.run(*words)
        assert b"machine web: its kernel was given by hand" in done.stderr
        assert done.returncode == code
    assert b"; and no shell is at its serial console; what is there" in gasang.run("exec", "web", "ls").stderr
    assert b"private (none) mode" in gasang.run("network", "connect", "bridge", "web").stderr
    kernel = str(gasang.home / "talking")
    assert b"only machines of images have a network card" in gasang.run("run", "-d", "--network", "bridge", "--kernel", kernel).stderr


def test_what_only_machines_have(gasang: Gasang, room: Room) -> None:
    gasang("run", "-d", "--name", "web", "--network", "none", IMAGE, "sleep", "1000")
    for words in (("fork", "web"), ("snapshot", "create", "web", "x"), ("snapshot", "ls", "web"), ("restore", "web", "x")):
        assert b"only virtual machines" in gasang.run(*words).stderr


def test_snapshots_and_restore(gasang: Gasang, room: Room) -> None:
    key = room.run()
    seat = room.seat()
    seat.type(b"a")
    assert gasang("snapshot", "create", "web", "base") == "base\n"
    assert seat.type(b"b") == b"b2"
    assert b"there is one of this name" in gasang.run("snapshot", "create", "web", "base").stderr
    assert gasang("snapshot", "ls", "web", "--format", "{name} {memory}") == f"base {64 << 20}\n"
    assert gasang.run("restore", "web", "none").returncode == 3
    assert seat.type(b"c") == b"c3"
    gasang("restore", "web", "base")
    assert gasang("inspect", "--format", "{Id}", "web") == f"{key}\n"
    assert room.seat().type(b"x") == b"x2"
    gasang("stop", "web")
    gasang("restore", "web", "base")
    assert room.seat().type(b"y") == b"y2"
    gasang("snapshot", "rm", "web", "base")
    assert gasang("snapshot", "ls", "web", "--format", "{name}") == ""


def standing(gasang: Gasang, key: str) -> list[int]:
    """The process that stands ready for the next restore of a machine, if there is one."""
    try:
        (folder,) = (gasang.home / "data" / "containers").glob(f"family-*/{key}.standing")
        return [ask(folder, "status")["pid"]]
    except (StateError, ValueError):
        return []


def test_restores_are_forks_of_one_that_stands_ready(gasang: Gasang, room: Room) -> None:
    key = room.run()
    room.seat().type(b"a")
    gasang("snapshot", "create", "web", "base")
    gasang("restore", "web", "base")
    (ready,) = eventually(lambda: standing(gasang, key))
    for key_pressed in (b"x", b"y"):
        gasang("restore", "web", "base")
        seat = room.seat()
        assert seat.type(key_pressed) == key_pressed + b"2"
        assert seat.type(b"z") == b"z3"
        assert standing(gasang, key) == [ready]
    twin = gasang("fork", "web", "--format", "{name}").strip()
    assert room.seat(twin).type(b"t") == b"t4"
    os.kill(ready, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{ready}"))
    gasang("restore", "web", "base")  # as the first time
    assert room.seat().type(b"k") == b"k2"
    (again,) = eventually(lambda: [pid for pid in standing(gasang, key) if pid != ready])
    gasang("snapshot", "rm", "web", "base")
    eventually(lambda: not os.path.exists(f"/proc/{again}"))
    assert not list((gasang.home / "data" / "containers").glob("family-*/*.standing"))


def test_a_machine_killed_in_the_middle_of_a_snapshot_or_a_restore(gasang: Gasang, room: Room) -> None:
    key = room.run()
    room.seat().type(b"a")
    gasang("snapshot", "create", "web", "base")
    gasang("fork", "web")
    [store] = (gasang.home / "data" / "containers").glob(f"family-*/{key}/snapshots")
    command = [sys.executable, "-m", "gasang"]
    with subprocess.Popen([*command, "snapshot", "create", "web", "second"], env=gasang.environment, stderr=subprocess.PIPE) as making:
        eventually(lambda: list(store.glob(".new-*")) or making.poll() is not None)
        os.kill(room.pid(), signal.SIGKILL)
        making.communicate(timeout=60)
    assert gasang("snapshot", "ls", "web", "--format", "{name}").split() in (["base"], ["base", "second"])
    eventually(lambda: gasang.inspect("web", "State.ExitCode") == "137")
    with subprocess.Popen([*command, "restore", "web", "base"], env=gasang.environment, stderr=subprocess.PIPE) as restoring:
        born = eventually(lambda: born_of(gasang) or restoring.poll() is not None)
        for pid in born if isinstance(born, list) else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _, said = restoring.communicate(timeout=60)
    assert restoring.returncode == 0 or b"cannot start" in said, said
    assert room.seat("web-1").type(b"o") == b"o2"
    gasang("restore", "web", "base")
    seat = room.seat()
    assert seat.type(b"b") == b"b2"
    gasang("snapshot", "create", "web", "third")
    assert not list(store.glob(".new-*"))


def born_of(gasang: Gasang) -> list[int]:
    """What is alive of what the daemon's nurseries have born, but for twins of others: the second process of each family."""
    found = [pid for nursery in nurseries(gasang) for first in children(nursery) for pid in children(first)]
    return [pid for pid in found if re.search(r"^NSpid:.*\t2$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_damaged_snapshot_is_refused_and_the_machine_goes_on(gasang: Gasang, room: Room) -> None:
    key = room.run()
    gasang("snapshot", "create", "web", "base")
    [document] = (gasang.home / "data" / "containers").glob(f"*/{key}/snapshots/base/snapshot.json")
    index, kept = document.with_name("index"), document.read_bytes()
    content = index.read_bytes()
    index.write_bytes(content[:-1])
    assert b"its index of memory is damaged" in gasang.run("restore", "web", "base").stderr
    index.write_bytes(content)
    body = kept.partition(b"\n")[2].replace(b'"riscv64"', b'"amd64"')
    document.write_bytes(b"gasang snapshot 1 %s\n%s" % (hashlib.sha256(body).hexdigest().encode(), body))
    assert b"it is of a machine of amd64, this one is of riscv64" in gasang.run("restore", "web", "base").stderr
    document.write_bytes(kept.replace(b"riscv64", b"riscv65"))
    assert b"snapshot base" in gasang.run("restore", "web", "base").stderr
    assert b"snapshot base" in gasang.run("snapshot", "ls", "web").stderr
    assert room.seat().type(b"a") == b"a1"


def test_twins(gasang: Gasang, room: Room) -> None:
    room.run("--label", "a=b")
    room.seat().type(b"a")
    assert gasang("fork", "-n", "3", "web", "--format", "{name}").split() == ["web-1", "web-2", "web-3"]
    for name in ("web-1", "web-2", "web-3"):
        assert room.seat(name).type(b"x") == b"x2"
    assert room.seats[0].type(b"b") == b"b2"
    assert len({room.pid(name) for name in ("web", "web-1", "web-2", "web-3")}) == 4
    gasang("run", "-d", "--name", "box", "--network", "none", IMAGE, "sleep", "1000")
    [seen] = Path(f"/proc/{room.pid('web-1')}/root/{gasang.home}/data/containers").iterdir()
    assert len(list(seen.iterdir())) == 4  # its family, and nobody else
    gasang("kill", "web")
    gasang("snapshot", "create", "web-1", "own")
    assert gasang("fork", "web-1", "--format", "{name}") == "web-1-1\n"
    assert room.seat("web-1-1").type(b"y") == b"y3"
    gasang("stop", "web-2")
    gasang("start", "web-2")
    assert gasang("logs", "web-2").replace("\r", "").startswith("x2\n")
    os.kill(room.pid("web-3"), signal.SIGKILL)
    eventually(lambda: gasang.inspect("web-3", "State.ExitCode") == "137")


def test_a_daemon_that_is_killed_loses_no_machine(gasang: Gasang, room: Room) -> None:
    room.run()
    seat = room.seat()
    seat.type(b"a")
    gasang("fork", "web")
    gasang("pause", "web-1")
    pid = room.pid()
    daemon_killed(gasang)
    assert gasang("ps", "--format", "{name} {state}") == "web-1 paused\nweb running\n"
    assert room.pid() == pid
    assert seat.type(b"b") == b"b2"  # its connection was never the daemon's
    gasang("resume", "web-1")
    assert room.seat("web-1").type(b"c") == b"c2"
    gasang("snapshot", "create", "web", "later")
    assert gasang("stop", "web", "web-1") == "web\nweb-1\n"


def test_an_end_while_no_daemon_runs_is_told_by_the_next(gasang: Gasang, room: Room) -> None:
    room.run()
    pid = room.pid()
    daemon = int(gasang("daemon", "status", "--format", "{process}"))
    os.kill(daemon, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))
    eventually(lambda: not _listens(gasang))
    with gasang.inside():
        gasang("daemon", "start")
    assert gasang.inspect("web", "State.ExitCode") == "137"
    gasang("start", "web")
    eventually(lambda: gasang("logs", "web").count("up") == 2)


def _listens(gasang: Gasang) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(os.fspath(gasang.home / "run" / "docker.sock")) == 0


def test_one_that_cannot_start_says_why(gasang: Gasang, room: Room, tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"no kernel" * 99)
    done = gasang.run("run", "-d", "--name", "web", "--kernel", str(tmp_path / "odd"))
    assert b"kernel" in done.stderr
    assert done.returncode != 0
    assert gasang("ps", "-a", "--format", "{name} {state}") == "web created\n"


def test_a_policy_starts_it_again(gasang: Gasang, room: Room) -> None:
    room.run("--restart", "always")
    os.kill(room.pid(), signal.SIGKILL)
    eventually(lambda: gasang("logs", "web").count("up") == 2)
    gasang("stop", "web")
    assert gasang.inspect("web", "State.Status") == "exited"


@pytest.mark.skipif(not shutil.which("docker"), reason="needs the docker client")
def test_the_docker_client_sees_them(gasang: Gasang, room: Room) -> None:
    key = room.run()
    gasang("run", "-d", "--name", "box", "--network", "none", IMAGE, "sleep", "1000")

    def docker(*words: str) -> str:
        environment = {**gasang.environment, "DOCKER_HOST": f"unix://{gasang.home}/run/docker.sock"}
        done = subprocess.run(["docker", *words], env=environment, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    assert set(docker("ps", "--format", "{{.Names}} {{.State}}").split("\n")) == {"", "web running", "box running"}
    assert docker("ps", "-s", "--filter", "name=web", "--format", "{{.ID}}") == f"{key[:12]}\n"
    assert json.loads(docker("inspect", "web"))[0]["Config"]["Tty"] is True
    assert "up" in docker("logs", "web")
    assert docker("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "web") == "web 1\n"
    docker("pause", "web")
    docker("unpause", "web")
    assert "web" in docker("system", "df", "-v")
    docker("stop", "web")
    assert docker("wait", "web") == "143\n"
    docker("start", "web")
    docker("rm", "-f", "web", "box")


def test_without_the_process_that_machines_are_born_in(gasang: Gasang, room: Room) -> None:
    room.run()
    nursery = eventually(lambda: nurseries(gasang))[0]
    gasang("rm", "-f", "web")
    room.run()  # of it, if it was ready in time
    os.kill(nursery, signal.SIGKILL)
    assert room.seat().type(b"a") == b"a1"
    gasang("rm", "-f", "web")
    room.run()
    assert room.seat().type(b"a") == b"a1"


def nurseries(gasang: Gasang) -> list[int]:
    """The processes of the daemon that bear machines."""
    daemon = int(gasang("daemon", "status", "--format", "{process}"))
    return [pid for pid in children(daemon) if b"nursery" in Path(f"/proc/{pid}/cmdline").read_bytes()]
