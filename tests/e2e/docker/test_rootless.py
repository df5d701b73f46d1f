"""The daemon of a user who is not root: with ranges of users of its own (newuidmap), and as the only user there is."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from gasang.host import rtnetlink
from gasang.host.netlink import ROUTE, Socket
from gasang.host.processes import start_of
from support.engines.client import Docker, until
from support.engines.echo import ECHO
from support.engines.engine import EngineError, remove, short_home
from support.engines.registry import Registry
from support.engines.rootfs import Image, layer
from support.engines.user import BASE, SIZE, USER, processes_of, users_gasang

pytestmark = pytest.mark.skipif(os.environ.get("GASANG_ENGINE", "gasang") != "gasang", reason="is about our daemon")


@pytest.fixture(scope="module")
def compiled():
    """The compiled code of such a user: it takes none that belongs to others."""
    folder = short_home("native")
    done = """
from gasang.daemon.rootless.keeper import keeper_program
from gasang.images.layers.library import load as unpacker
from gasang.kinds.container.library import load as spawn
from gasang.kinds.container.supervisor.executable import program_descriptor
for each in (keeper_program, unpacker, spawn, program_descriptor): each()
"""
    subprocess.run([sys.executable, "-c", done], env={**os.environ, "GASANG_NATIVE_CACHE": str(folder)}, check=True, timeout=140)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module", params=["ranges", "alone"])
def engine(request, compiled):
    """The daemon of a user with ranges of users, or alone."""
    if request.param == "ranges" and not shutil.which("newuidmap"):
        pytest.skip("not installed: uidmap")
    home = short_home("user")
    found = users_gasang(home, compiled, ranges=request.param == "ranges")
    try:
        found.start()
        yield found
        found.stop()
        assert processes_of(USER) == []
        assert served() == []
    finally:
        found.stop()
        for pid in processes_of(USER):
            os.kill(pid, signal.SIGKILL)
        if not os.environ.get("GASANG_KEEP"):
            remove(home)


@pytest.fixture(scope="module")
def docker(engine, tmp_path_factory):
    """The client, set to that daemon."""
    return Docker(engine, tmp_path_factory.mktemp("docker-config"))


@pytest.fixture(scope="module")
def image(docker, base):
    """The image with busybox."""
    docker("import", "--change", 'CMD ["sh"]', "--change", "ENV PATH=/bin", "-", "busybox:user", typed=base)
    return "busybox:user"


@pytest.fixture
def running(docker, image, name):
    """A container that waits."""
    docker("run", "-d", "--name", name, image, "sleep", "1000")
    return name


def keeper(engine):
    """The process that holds the namespaces."""
    return json.loads((engine.runtime / "gasang/keeper").read_text())["pid"]


def test_it_says_what_it_is(docker, engine):
    found = json.loads(docker("info", "--format", "{{json .}}").out)
    assert "name=rootless" in found["SecurityOptions"]
    assert (found["CgroupDriver"], found["MemoryLimit"], found["DockerRootDir"]) == ("none", False, str(engine.state))
    assert not any("no way out" in text for text in found["Warnings"])
    assert (engine.socket.stat().st_uid, engine.socket.stat().st_mode & 0o777) == (USER, 0o600)
    assert engine.state.stat().st_uid == USER


def test_the_root_of_a_container_is_the_user(docker, image, running, engine):
    pid = docker.format(running, "{{.State.Pid}}")
    assert Path(f"/proc/{pid}").stat().st_uid == USER
    mapped = [[str(0), str(USER), "1"], *([["1", str(BASE), str(SIZE)]] if engine.ranges else [])]
    assert [line.split() for line in docker("exec", running, "cat", "/proc/self/uid_map").lines] == mapped


def test_runs_and_exit_codes(docker, image):
    docker("run", "--rm", image, "true")
    docker("run", "--rm", image, "sh", "-c", "exit 3", code=3)
    docker("run", "--rm", image, "no-such-program", code=127)
    assert docker("run", "--rm", "-i", image, "wc", "-c", typed=b"x" * 100_000).text == "100000"
    assert docker("run", "--rm", "--init", "--read-only", "--tmpfs", "/tmp", image, "sh", "-c", "touch /tmp/x; id -u").text == "0"
    assert docker("run", "--rm", "--hostname", "box", image, "hostname").text == "box"


def test_terminals(docker, image, running):
    for words in (("run", "--rm", "-it", image), ("exec", "-it", running)):
        with docker.terminal(*words, "sh", "-c", "stat -L -c 'owner %u %F' /proc/self/fd/0; tty") as terminal:
            assert terminal.expect(rb"owner (\d+) character special file")[1] == b"0"
            terminal.expect(rb"/dev/")
            assert terminal.end() == 0


def test_devices_and_what_is_the_hosts(docker, image):
    text = "echo x > /dev/null; head -c 4 /dev/urandom | wc -c; head -c 4 /dev/zero | wc -c; ls /sys/class/net /proc/1/status"
    assert docker("run", "--rm", image, "sh", "-c", text).lines[:2] == ["4", "4"]
    docker("run", "--rm", "--privileged", image, "true")
    docker("run", "--rm", "--device", "/dev/null:/dev/nothing", image, "sh", "-c", "echo x > /dev/nothing")
    for option in ("--pid=host", "--ipc=host", "--uts=host", "--network=host", "--network=none"):
        docker("run", "--rm", option, image, "true")
    assert docker("run", "--rm", "--pid=host", image, "cat", "/proc/1/comm").text == Path("/proc/1/comm").read_text().strip()
    docker("run", "--rm", image, "sh", "-c", "echo 1 > /proc/sys/kernel/panic", code=1)
    docker("run", "--rm", "--privileged", image, "sh", "-c", "echo 1 > /proc/sys/kernel/panic", code=1)


def test_users_of_containers(docker, engine, image, name):
    if engine.ranges:
        assert docker("run", "--rm", "--user", "worker", image, "id", "-u").text == "1000"
        assert docker("run", "--rm", "--user", "1000:1000", "--group-add", "2000", image, "id", "-G").text == "1000 2000"
        assert docker("run", "--rm", image, "stat", "-c", "%u", "/home/worker").text == "1000"
        docker("run", "--name", name, image, "sh", "-c", "touch /made; chown 1000 /made")
        assert [path.stat().st_uid for path in engine.state.glob("containers/*/upper/made")] == [BASE + 999]
        said = docker("run", "--rm", "--user", "100000", image, "true", code=None)
    else:
        assert docker("run", "--rm", image, "stat", "-c", "%u", "/home/worker").text == "0"
        docker("run", "--rm", image, "chown", "1000", "/home", code=1)
        said = docker("run", "--rm", "--user", "1000", image, "true", code=None)
    assert said.code == 125
    assert "this daemon runs without root and has no number for it: users here are 0" in said.said
    assert "/etc/subuid" in said.said


def test_exec_and_logs(docker, running, image, name):
    assert docker("exec", "-e", "A=b", running, "sh", "-c", "echo $A; hostname").lines[0] == "b"
    docker("exec", running, "sh", "-c", "exit 4", code=4)
    assert docker("exec", "-i", running, "cat", typed=b"typed").out == b"typed"
    assert "sleep 1000" in docker("top", running).out.decode()
    assert docker("stats", "--no-stream", "--format", "{{.PIDs}}", running).text == "1"
    said = docker("pause", running, code=1).said
    assert "it takes control groups to stop all its processes at once" in said
    assert docker.format(running, "{{.State.Status}}") == "running"
    docker("rm", "-f", running)
    docker("run", "--name", name, image, "sh", "-c", "echo one; echo two >&2; exit 5", code=5)
    assert docker("logs", name).lines == ["one"]
    assert docker("inspect", "--format", "{{.State.ExitCode}}", name).text == "5"


def test_limits_are_told_of(docker, image):
    done = docker("run", "--rm", "-m", "64m", "--pids-limit", "50", image, "true")
    assert "limits of them are not kept (memory, pids)" in done.said
    docker("run", "--rm", "--ulimit", "nofile=100:200", image, "sh", "-c", "test $(ulimit -n) = 100")


def test_copies(docker, running, tmp_path):
    (tmp_path / "file").write_text("copied")
    docker("cp", tmp_path / "file", f"{running}:/home/file")
    assert docker("exec", running, "cat", "/home/file").text == "copied"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        info = tarfile.TarInfo("theirs")
        info.uid = info.gid = 1000
        archive.addfile(info)
    docker("cp", "-a", "-", f"{running}:/home", typed=data.getvalue())
    owner = "1000" if "\n" in docker("exec", running, "cat", "/proc/self/uid_map").text else "0"
    assert docker("exec", running, "stat", "-c", "%u", "/home/theirs").text == owner
    docker("cp", f"{running}:/home/file", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "copied"
    assert {"A /home/file", "A /home/theirs"} <= set(docker("diff", running).lines)


def test_what_was_removed_stays_so(docker, running, fresh):
    docker("exec", running, "sh", "-c", "rm -r /home /etc/hello; mkdir /home; touch /home/new")
    made = fresh("image")
    docker("commit", running, made)
    done = docker("run", "--rm", made, "sh", "-c", "ls /home; ls /etc/hello", code=1)
    assert done.lines == ["new"]
    saved = docker("save", made).out
    docker("rm", "-f", running)
    docker("rmi", made)
    docker("load", typed=saved)
    assert docker("run", "--rm", made, "ls", "/home").text == "new"


def test_volumes_and_binds(docker, image, fresh, engine):
    volume = fresh("volume")
    docker("run", "--rm", "-v", f"{volume}:/data", image, "sh", "-c", "echo kept > /data/file")
    assert docker("run", "--rm", "-v", f"{volume}:/data:ro", image, "cat", "/data/file").text == "kept"
    folder = engine.home / "home" / "bound"
    folder.mkdir()
    os.chown(folder, USER, USER)
    docker("run", "--rm", "-v", f"{folder}:/data", image, "sh", "-c", "echo mine > /data/file")
    assert (folder / "file").stat().st_uid == USER
    assert "denied" in docker("run", "--rm", "-v", "/etc/shadow:/shadow", image, "cat", "/shadow", code=1).said.lower()


def test_builds(docker, image, fresh, tmp_path, engine):
    made = fresh("image")
    (tmp_path / "note").write_text("note")
    steps = ("COPY --chown=1000:1000 note /note", "RUN echo more >> /note && rm /etc/hello", "USER 0", 'CMD ["cat", "/note"]')
    (tmp_path / "Dockerfile").write_text("\n".join([f"FROM {image}", *steps]))
    docker("build", "-t", made, tmp_path)
    assert docker("run", "--rm", made).lines == ["notemore"]
    owner = "1000" if engine.ranges else "0"
    assert docker("run", "--rm", made, "sh", "-c", "stat -c %u /note; ls /etc/hello", code=1).lines == [owner]


def test_pulls_and_pushes(docker, image, tmp_path, base):
    registry = Registry(tmp_path / "registry")
    try:
        hiding = {"etc/.wh.hello": b"", "home/.wh..wh..opq": b"", "home/own": b"x"}
        registry.put("layered:1", Image([base, layer(hiding)], {"Env": ["PATH=/bin"], "Cmd": ["sh"]}))
        docker("pull", f"{registry.host}/layered:1")
        assert docker("run", "--rm", f"{registry.host}/layered:1", "sh", "-c", "ls /home; ls /etc").lines[0] == "own"
        docker("tag", image, f"{registry.host}/pushed:1")
        docker("push", f"{registry.host}/pushed:1")
        docker("rmi", f"{registry.host}/pushed:1", f"{registry.host}/layered:1")
    finally:
        registry.close()


def answer(port: int) -> bytes:
    """What a published port says."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as client:
        client.settimeout(2)
        return client.recv(100)
    return b""


def test_published_ports(docker, image, name):
    serve = "while true; do echo hello | nc -l -p 80; done"
    docker("run", "-d", "--name", name, "-p", "18080:80", image, "sh", "-c", serve)
    assert until(lambda: answer(18080)) == b"hello\n"
    refused = docker("run", "--rm", "-p", "18080:80", image, "true", code=125)
    assert "port is already allocated" in refused.said
    docker("rm", "-f", name)
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", 18080), 2):
        pass
    assert "the host does not let us use it" in docker("run", "--rm", "-p", "80:80", image, "true", code=125).said


def test_networks(docker, image, box, fresh):
    network, one, other = fresh("network"), box(), box()
    docker("network", "create", network)
    docker("run", "-d", "--name", one, "--network", network, image, "sh", "-c", "while true; do echo hello | nc -l -p 80; done")
    docker("run", "-d", "--name", other, image, "sleep", "1000")
    assert docker("run", "--rm", "--network", network, image, "sh", "-c", f"sleep 0.2; nc {one} 80 < /dev/null").text == "hello"
    address = docker.format(one, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    docker("exec", other, "nc", "-w", "1", address, "80", code=1)
    docker("network", "connect", network, other)
    assert until(lambda: docker("exec", other, "nc", "-w", "2", one, "80", code=None).text == "hello")
    docker("network", "disconnect", network, other)
    assert docker("run", "--rm", "--network", f"container:{one}", image, "hostname", "-i").text == address
    docker("run", "-d", "--name", (host := box()), "--network", "host", image, "sleep", "1000")
    shared = docker("run", "--rm", "--network", f"container:{host}", image, "readlink", "/proc/self/ns/net").text
    assert shared == os.readlink("/proc/thread-self/ns/net")
    assert "no way out" not in docker("create", "--name", box(), image, "true").said
    docker("rm", "-f", one, other, host)


def served():
    """The processes of networks in user space in this network: they are nobody, if the user has a number for that."""
    found, ours = [], os.readlink("/proc/thread-self/ns/net")
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if b"network.user.served" in Path(f"/proc/{entry}/cmdline").read_bytes() and os.readlink(f"/proc/{entry}/ns/net") == ours:
                found.append(int(entry))
    return found


OUTSIDE = "198.51.100.1"


@pytest.fixture
def outside():
    """A server at an address that is not the host's loopback; what its callers send it sends back in capitals."""
    with Socket(ROUTE) as route:
        route.send([rtnetlink.new_address(rtnetlink.LOOPBACK_INDEX, socket.inet_aton(OUTSIDE), 32)])
    with socket.create_server((OUTSIDE, 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        client.sendall(client.makefile().readline().upper().encode())

        thread = threading.Thread(target=serve)
        thread.start()
        yield str(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    with Socket(ROUTE) as route:
        route.send([rtnetlink.delete_address(rtnetlink.LOOPBACK_INDEX, socket.inet_aton(OUTSIDE), 32)])


def test_networks_have_a_way_out(docker, image, fresh, box, outside):
    call = ("sh", "-c", f"echo hello | nc -w 5 {OUTSIDE} {outside}")
    assert docker("run", "--rm", image, *call).text == "HELLO"
    network, closed, one = fresh("network"), fresh("network"), box()
    docker("network", "create", network)
    docker("network", "create", "--internal", closed)
    docker("run", "-d", "--name", one, "--network", network, image, "sleep", "1000")
    assert docker("exec", one, *call).text == "HELLO"
    assert docker("run", "--rm", "--network", closed, image, *call, code=None).text == ""
    (found,) = served()
    os.kill(found, signal.SIGKILL)
    assert until(lambda: docker("run", "--rm", image, *call, code=None).text == "HELLO")  # who joins next has another at the latest
    assert docker("exec", one, *call).text == "HELLO"
    docker("rm", "-f", one)


def test_a_container_on_a_network_of_its_own_in_user_space(docker, image, name, outside):
    serve = "while true; do echo hello | nc -l -p 80; done"
    docker("run", "-d", "--name", name, "--network", "user", "-p", "18081:80", image, "sh", "-c", serve)
    assert until(lambda: answer(18081)) == b"hello\n"
    assert docker("exec", name, "sh", "-c", f"echo hello | nc -w 5 {OUTSIDE} {outside}").text == "HELLO"
    docker("rm", "-f", name)
    assert not answer(18081)


def answer_names(server, address):
    """Answer one question for an IPv4 address (RFC 1035, section 4)."""
    with contextlib.suppress(OSError):
        question, asker = server.recvfrom(512)
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x05\0\4" + socket.inet_aton(address)
        end = question.index(b"\0", 12) + 5
        server.sendto(question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question[12:end] + record, asker)


def test_names_of_the_outside_are_asked_from_the_host(docker, image):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.53", 53))
        server.settimeout(10)
        asked = threading.Thread(target=answer_names, args=(server, "192.0.2.7"))
        asked.start()
        done = docker("run", "--rm", "--dns", "127.0.0.53", image, "sh", "-c", "cat /etc/resolv.conf; nslookup -type=a outside.example")
        asked.join()
    assert "nameserver 127.0.0.11" in done.lines[0]
    assert "192.0.2.7" in done.text


def test_published_datagrams_and_the_other_family(docker, image, name):
    serve = "while true; do echo hello | nc -l -p 80; done"
    docker("run", "-d", "--name", name, "-p", "18083:80", "-p", "18084:90/udp", image, "sh", "-c", serve)
    until(lambda: answer(18083))
    command = (sys.executable, "-c", ECHO, docker.format(name, "{{.State.Pid}}"), "90")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        assert server.stdout.readline() == b"ready\n"
        client.settimeout(10)
        client.sendto(b"hello", ("127.0.0.1", 18084))
        assert client.recv(10) == b"HELLO"
    with socket.create_connection(("::1", 18083), 5) as client:
        assert client.recv(10) == b"hello\n"


def test_the_next_daemon_takes_over(docker, engine, image, box):
    serving, ending = box(), box()
    text = "while true; do echo hello | nc -l -p 80; done"
    docker("run", "-d", "--name", serving, "-p", "18081:80", image, "sh", "-c", text)
    docker("run", "-d", "--name", ending, image, "sh", "-c", "echo begun; sleep 2; echo ended; exit 7")
    held = keeper(engine)
    pid = docker.format(serving, "{{.State.Pid}}")
    engine.kill()
    assert Path(f"/proc/{pid}").exists()
    engine.start()
    assert keeper(engine) == held
    assert docker.format(serving, "{{.State.Pid}}") == pid
    assert docker("exec", serving, "cat", "/proc/self/uid_map").text
    assert until(lambda: answer(18081)) == b"hello\n"
    assert docker("wait", ending).text == "7"
    assert docker("logs", ending).lines == ["begun", "ended"]
    engine.stop()
    assert keeper(engine) == held
    engine.start()
    docker("run", "--rm", "--network", f"container:{serving}", image, "true")
    docker("rm", "-f", serving, ending)


def test_a_second_daemon_is_refused(engine):
    held = keeper(engine)
    said = as_user(engine, "daemon", "run", code=4, output="stderr")
    assert "another daemon" in said or "in use" in said, said
    assert keeper(engine) == held
    assert start_of(held) is not None


def test_a_keeper_that_was_killed(docker, engine, running):
    os.kill(keeper(engine), signal.SIGKILL)
    docker("exec", running, "true")
    engine.kill()
    engine.start()
    assert docker.format(running, "{{.State.Status}}") == "running"
    docker("stop", "-t", "0", running)
    assert docker.format(running, "{{.State.ExitCode}}") == "137"
    docker("start", running)
    docker("exec", running, "true")


def test_nothing_is_left(docker, engine, image):
    docker("run", "--rm", "-p", "18082:80", image, "true")
    held, mounts = keeper(engine), Path("/proc/self/mountinfo").read_text()
    engine.stop()
    try:
        assert processes_of(USER) == []
        assert start_of(held) is None
        assert not (engine.runtime / "gasang/keeper").exists()
        assert Path("/proc/self/mountinfo").read_text() == mounts
    finally:
        engine.start()
    assert keeper(engine) != held
    docker("run", "--rm", image, "true")


def as_user(engine, *words, code=0, output="stdout"):
    """The command of gasang itself, typed by that user; what it prints."""
    command = (*engine.command[:-1], *words)
    environment = {**os.environ, **engine.environment}
    given = {"env": environment, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run(command, preexec_fn=engine.become, check=False, **given)
    assert done.returncode == code, done.stderr
    return getattr(done, output)


def test_the_users_own_command(docker, engine, image):
    assert as_user(engine, "daemon", "status", "--format", "{docker_host}").strip() == engine.host
    assert as_user(engine, "run", "--rm", image, "echo", "hello") == "hello\n"
    engine.stop()
    try:
        assert as_user(engine, "run", "--rm", image, "sh", "-c", "exit 6", code=6) == ""
        assert as_user(engine, "info", "--format", "{SecurityOptions}").count("name=rootless") == 1
        as_user(engine, "daemon", "stop")
        assert processes_of(USER) == []
        assert "/systemd/user/gasang.service; systemctl --user daemon-reload" in as_user(engine, "daemon", "install")
    finally:
        engine.start()


def refusal(home: Path, compiled: Path, *, ranges: bool, **environment: str) -> str:
    """What the daemon of a user says instead of starting."""
    engine = users_gasang(home, compiled, ranges=ranges)
    engine.environment |= environment
    with pytest.raises(EngineError) as caught:
        engine.start()
    assert not (engine.runtime / "gasang/keeper").exists()
    return str(caught.value)


def test_settings_that_cannot_be_are_refused(compiled, engine):
    home = short_home("no")
    try:
        (home / "config/gasang").mkdir(parents=True)
        (home / "config/gasang/daemon.json").write_text('{"userns-remap": "root"}')
        said = refusal(home, compiled, ranges=engine.ranges, XDG_CONFIG_HOME=str(home / "config"))
        assert "userns-remap" in said
        assert until(lambda: len(processes_of(USER)) == 2)  # the engine's own daemon and keeper
    finally:
        remove(home)


def test_what_cannot_be_is_refused(compiled, engine):
    home = short_home("no")
    try:
        (theirs := home / "theirs").mkdir(mode=0o755)
        said = refusal(home, compiled, ranges=engine.ranges, XDG_RUNTIME_DIR=str(theirs))
        assert re.search(r"folder .*/theirs: it is not this user's alone; XDG_RUNTIME_DIR names it", said)
    finally:
        remove(home)
    home = short_home("no")
    try:
        (tools := home / "tools").mkdir(mode=0o755)
        for tool in ("newuidmap", "newgidmap"):
            (tools / tool).write_text(f"#!/bin/sh\necho '{tool}: no such range' >&2\nexit 1\n")
            (tools / tool).chmod(0o755)
        said = refusal(home, compiled, ranges=True, PATH=f"{tools}:/usr/bin:/bin")
        assert "newuidmap: it does not map this user's ranges (newuidmap: no such range); see that it is installed" in said
    finally:
        remove(home)
