"""Users of containers as other users of the host (userns-remap): an engine of its own, with ranges that only it sees in /etc/subuid."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engines.client import Docker
from support.engines.engine import ENGINES, Engine, remove, short_home

BASE, SIZE = 231072, 65536
WITH_RANGES = 'mount --bind "$1" /etc/subuid && mount --bind "$1" /etc/subgid && shift && exec "$@"'

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The engine, with userns-remap."""
    if not all(Path(path).exists() for path in ("/etc/subuid", "/etc/subgid")):
        pytest.skip("there is no /etc/subuid to put ranges over")
    name = os.environ.get("GASANG_ENGINE", "gasang")
    home = short_home(name)
    (home / "ranges").write_text(f"# of tests\nother:1:1\ndaemon:{BASE}:{SIZE}\n")
    (home / "daemon.json").write_text('{"userns-remap": "daemon"}')
    found = ENGINES[name](home)
    options: tuple[str, ...] = ()
    if name == "dockerd":
        options = ("--userns-remap", "daemon")
        home.chmod(0o711)  # its containers' root must get there
    inside = ("unshare", "--mount", "--propagation", "slave", "sh", "-c", WITH_RANGES, "sh", str(home / "ranges"))
    found.command = (*inside, *found.command, *options)
    try:
        found.start()
        yield found
    finally:
        found.stop()
        remove(home)


@pytest.fixture(scope="module")
def docker(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Docker:
    """The client of this engine."""
    return Docker(engine, tmp_path_factory.mktemp("userns-config"))


@pytest.fixture(scope="module")
def image(docker: Docker, base: bytes) -> str:
    """The image of these tests, in this engine."""
    docker("import", "--change", 'CMD ["sh"]', "--change", "ENV PATH=/bin", "-", "busybox:e2e", typed=base)
    return "busybox:e2e"


@pytest.fixture
def running(docker: Docker, image: str, name: str) -> str:
    """A container that runs."""
    docker("run", "-d", "--name", name, image, "sleep", "1000")
    return name


def host_owner(docker: Docker, container: str) -> int:
    """Whose the container's first process is on the host."""
    pid = docker("inspect", "-f", "{{.State.Pid}}", container).text
    return os.stat(f"/proc/{pid}").st_uid


def test_root_is_nobody_of_the_host(docker, running):
    assert docker("exec", running, "cat", "/proc/self/uid_map").text.split() == ["0", str(BASE), str(SIZE)]
    assert docker("exec", running, "cat", "/proc/self/gid_map").text.split() == ["0", str(BASE), str(SIZE)]
    assert host_owner(docker, running) == BASE
    assert docker("exec", running, "id", "-u").text == "0"
    assert "userns" in docker("info", "-f", "{{.SecurityOptions}}").text


def test_files_of_the_image_and_new_ones_belong_to_its_users(docker, image):
    there = "stat -c %u:%g /bin/busybox /etc /etc/hosts /home/worker"
    new = "touch /new; mkdir /etc/more; stat -c %u /new /etc/more; chown 1000 /new /etc/passwd; stat -c %u /new /etc/passwd"
    done = docker("run", "--rm", image, "sh", "-c", f"{there}; {new}")
    assert done.lines == ["0:0", "0:0", "0:0", "1000:1000", "0", "0", "1000", "1000"]


def test_devices_and_kernel_file_systems(docker, image):
    kernel = "echo x > /dev/null && head -c 4 /dev/zero | wc -c; grep -c ' / ' /proc/mounts; ls /sys/class/net"
    done = docker("run", "--rm", image, "sh", "-c", f"{kernel}; echo out > /dev/stdout; echo err > /dev/stderr")
    assert done.lines == ["4", "1", "eth0", "lo", "out"]
    assert done.said == "err\n"
    assert "not permitted" in docker("run", "--rm", image, "mknod", "/node", "c", "1", "3", code=1).said
    assert docker("run", "--rm", "-i", image, "sh", "-c", "cat /dev/stdin", typed=b"typed").text == "typed"


def test_a_device_of_the_host_under_another_name(docker, engine, image):
    if engine.name == "dockerd":
        pytest.skip("dockerd looks for the host's device under the container's name")
    text = "stat -c '%t:%T %F' /dev/mine; head -c 3 /dev/mine | wc -c"
    done = docker("run", "--rm", "--device", "/dev/zero:/dev/mine", image, "sh", "-c", text)
    assert done.lines == ["1:5 character special file", "3"]


def test_users_who_are_not_root(docker, image, running):
    assert docker("run", "--rm", "-u", "1000", image, "sh", "-c", "id -u; id -g").lines == ["1000", "1000"]
    assert docker("exec", "-u", "1000:1000", running, "sh", "-c", "id -u; touch /mine", code=1).lines == ["1000"]


def test_networks(docker, image, running):
    docker("network", "create", "usernet")
    try:
        docker("network", "connect", "usernet", running)
        assert "eth1" in docker("exec", running, "ls", "/sys/class/net").lines
        assert docker("run", "--rm", "--network", "usernet", image, "ping", "-c1", "-W5", running).code == 0
    finally:
        docker("network", "disconnect", "usernet", running)
        docker("network", "rm", "usernet")
    assert docker("run", "--rm", "--network", "none", image, "ls", "/sys/class/net").text == "lo"
    docker("run", "--rm", "--cap-add", "NET_ADMIN", image, "ip", "link", "set", "eth0", "mtu", "1400")


def test_a_published_port(docker, image, name):
    docker("run", "-d", "--name", name, "-p", "127.0.0.1:18099:80", image, "sh", "-c", "while true; do echo hello | nc -l -p 80; done")
    assert docker("exec", name, "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do nc -w 1 127.0.0.1 80 && break; done").text == "hello"


def test_namespaces_of_another_container(docker, image, running):
    text = "readlink /proc/self/ns/user; ls /sys/class/net; ps | grep -c 'sleep 1000'"
    done = docker("run", "--rm", "--network", f"container:{running}", "--pid", f"container:{running}", image, "sh", "-c", text)
    assert done.lines[0] == docker("exec", running, "readlink", "/proc/self/ns/user").text
    assert done.lines[1:3] == ["eth0", "lo"]
    assert int(done.lines[3]) >= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--privileged"], "privileged mode is incompatible with user namespaces"),
        (["--network", "host"], "cannot share the host's network namespace when user namespaces are enabled"),
        (["--pid", "host"], "cannot share the host PID namespace when user namespaces are enabled"),
    ],
)
def test_what_does_not_go_with_it(docker, image, options, words):
    assert words in docker("run", "--rm", *options, image, "true", code=125).said
    assert docker("run", "--rm", "--userns", "host", *options, image, "id", "-u").text == "0"


def test_the_hosts_users_where_asked(docker, image, name):
    docker("run", "-d", "--name", name, "--userns", "host", image, "sleep", "1000")
    assert host_owner(docker, name) == 0
    assert docker("exec", name, "cat", "/proc/self/uid_map").text.split() == ["0", "0", "4294967295"]


def test_volumes_belong_to_the_containers_root(docker, image):
    volume = f"users{next(_numbers)}"
    try:
        docker("run", "--rm", "-v", f"{volume}:/data", image, "sh", "-c", "echo kept > /data/file; chown 1000 /data/file")
        text = "stat -c %u /data /data/file; cat /data/file; touch /data/x"
        done = docker("run", "--rm", "-v", f"{volume}:/data:ro", image, "sh", "-c", text, code=1)
        assert done.lines == ["0", "1000", "kept"]
        assert "Read-only" in done.said
        assert docker("run", "--rm", "-v", f"{volume}:/home/worker", image, "stat", "-c", "%u", "/home/worker").text == "0"
    finally:
        docker("volume", "rm", volume)


def test_binds_keep_the_hosts_owners(docker, image, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("bound")
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", BASE, BASE)
    text = "cat /bound/file; stat -c %u /bound/file /bound/theirs; echo x > /bound/theirs/new; echo x > /bound/file"
    done = docker("run", "--rm", "-v", f"{tmp_path}:/bound", image, "sh", "-c", text, code=1)
    assert done.lines == ["bound65534", "0"]
    assert (tmp_path / "theirs/new").stat().st_uid == BASE
    assert "denied" in done.said.lower()


def test_files_in_and_out(docker, engine, running):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for entry, owner in (("owned", 0), ("theirs", 1000)):
            info = tarfile.TarInfo(entry)
            info.uid = info.gid = owner
            archive.addfile(info)
    docker("cp", "-a", "-", f"{running}:/home", typed=data.getvalue())
    assert docker("exec", running, "stat", "-c", "%u:%g", "/home/owned", "/home/theirs").lines == ["0:0", "1000:1000"]
    got = docker("cp", f"{running}:/home", "-")
    with tarfile.open(fileobj=io.BytesIO(got.out)) as archive:
        owners = {entry.name: entry.uid for entry in archive}
    shift = BASE if engine.name == "dockerd" else 0  # it tells the host's numbers
    assert (owners["home/owned"], owners["home/theirs"]) == (shift, shift + 1000)
    docker("stop", "-t", "0", running)
    docker("cp", "-a", "-", f"{running}:/etc", typed=data.getvalue())
    docker("start", running)
    assert docker("exec", running, "stat", "-c", "%u", "/etc/owned", "/etc/theirs").lines == ["0", "1000"]


def test_what_has_changed_and_is_committed(docker, engine, running):
    docker("exec", running, "sh", "-c", "touch /home/made; chown 1000 /home/made; rm /etc/passwd")
    assert {"A /home/made", "D /etc/passwd"} <= set(docker("diff", running).lines)
    docker("commit", running, "users:made")
    try:
        shift = BASE if engine.name == "dockerd" else 0  # it keeps layers as their users have written them
        for users, owner in (([], 1000), (["--userns", "host"], shift + 1000)):
            text = "stat -c %u /home/made; ls /etc/passwd"
            assert docker("run", "--rm", *users, "users:made", "sh", "-c", text, code=1).lines == [str(owner)]
    finally:
        docker("rm", "-f", running)
        docker("rmi", "users:made")


def test_builds(docker, image, tmp_path):
    (tmp_path / "note").write_text("note")
    steps = ("RUN cat /proc/self/uid_map > /map; touch /a; chown 1000 /a", "COPY --chown=1000 note /note", "RUN echo more >> /note")
    (tmp_path / "Dockerfile").write_text("\n".join([f"FROM {image}", *steps]))
    docker("build", "-t", "users:built", tmp_path)
    try:
        done = docker("run", "--rm", "users:built", "sh", "-c", "cat /map; stat -c %u /a /note")
        assert re.split(r"\s+", done.text.strip()) == ["0", str(BASE), str(SIZE), "1000", "1000"]
    finally:
        docker("rmi", "users:built")


def test_terminals(docker, image, running):
    for words in (("run", "--rm", "-it", image), ("exec", "-it", running)):
        with docker.terminal(*words, "sh", "-c", "stat -L -c 'owner %u %F' /proc/self/fd/0; tty") as terminal:
            assert terminal.expect(rb"owner (\d+) character special file")[1] == b"0"
            terminal.expect(rb"/dev/")
            assert terminal.end() == 0


def test_the_next_daemon_knows_whose_they_are(docker, engine, running):
    if engine.name != "gasang":
        pytest.skip("containers of dockerd do not outlive it")
    engine.kill()
    engine.start()
    seen = docker("exec", running, "sh", "-c", "cat /proc/self/uid_map; touch /made; stat -c %u /made").text.split()
    assert seen == ["0", str(BASE), str(SIZE), "0"]
    (engine.home / "daemon.json").rename(engine.home / "kept")
    try:
        engine.stop()
        engine.start()
        assert docker("exec", running, "stat", "-c", "%u", "/made").text == "0"
        docker("restart", "-t", "0", running)
        assert (host_owner(docker, running), docker("exec", running, "stat", "-c", "%u", "/made").text) == (0, "0")
    finally:
        (engine.home / "kept").rename(engine.home / "daemon.json")
        engine.stop()
        engine.start()


def test_limits_and_health(docker, image, name):
    docker("run", "-d", "--name", name, "-m", "64m", "--read-only", "--tmpfs", "/tmp", "--init", image, "sleep", "1000")
    assert docker("exec", name, "sh", "-c", "touch /tmp/x && stat -c %u /tmp/x").text == "0"
    docker("exec", name, "touch", "/x", code=1)
    docker("restart", "-t", "0", name)
    assert json.loads(docker("inspect", name).text)[0]["State"]["Running"]
    assert host_owner(docker, name) == BASE


@pytest.mark.parametrize("verb", [("create",), ("run", "-d")], ids=["created", "running"])
def test_copies_into_and_out_of_a_bind(docker, engine, image, name, verb):
    """What is the container's user 5's inside is so whether it runs or not; the host has another number for it."""
    folder = engine.home / f"bound-{name}"
    folder.mkdir()
    os.chown(folder, BASE, BASE)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        entry = tarfile.TarInfo("file")
        entry.uid, entry.gid, entry.size = 5, 6, 1
        archive.addfile(entry, io.BytesIO(b"x"))
    docker(*verb, "--name", name, "-v", f"{folder}:/bound", image, "sleep", "1000")
    docker("cp", "-a", "-", f"{name}:/bound", typed=data.getvalue())
    found = (folder / "file").stat()
    assert (found.st_uid, found.st_gid) == (BASE + 5, BASE + 6)
    (folder / "made").touch()
    os.chown(folder / "made", BASE + 7, BASE + 8)
    with tarfile.open(fileobj=io.BytesIO(docker("cp", f"{name}:/bound", "-").out)) as archive:
        owners = {member.name.rstrip("/"): (member.uid, member.gid) for member in archive}
    shift = BASE if engine.name == "dockerd" else 0  # it tells the host's numbers
    assert owners == {"bound": (shift, shift), "bound/file": (shift + 5, shift + 6), "bound/made": (shift + 7, shift + 8)}
