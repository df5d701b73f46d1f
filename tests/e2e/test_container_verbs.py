"""The verbs about containers with a daemon of their own: options of run, archives, logins, limits, and putting things away."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engines.registry import PASSWORD, USER, Registry, program
from support.engines.verbs import IMAGE, Gasang, serving

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox-static"),
]
SLEEP = ("sleep", "1000")


@pytest.fixture(scope="module")
def gasang() -> Iterator[Gasang]:
    with serving() as command:
        yield command


@pytest.fixture
def box(gasang: Gasang) -> Iterator[str]:
    """A name; what has it is removed after the test."""
    yield "box"
    gasang.run("rm", "-fv", "box")


def in_box(gasang: Gasang, *options: str, script: str) -> str:
    """What a shell prints in a container with these options."""
    return gasang("run", "--rm", *options, IMAGE, "sh", "-c", script)


# options of run


def test_variables_and_notes_out_of_files(gasang: Gasang, tmp_path: Path, box: str) -> None:
    (tmp_path / "env").write_text("# ours\nA=file\nB=file\n")
    (tmp_path / "labels").write_text("a=file\n")
    options = ("--env-file", str(tmp_path / "env"), "-e", "B=word", "--label-file", str(tmp_path / "labels"), "--label", "b=word")
    assert in_box(gasang, *options, script="echo $A $B") == "file word\n"
    gasang("create", "--name", box, *options, IMAGE)
    assert json.loads(gasang("inspect", box))[0]["Config"]["Labels"] == {"a": "file", "b": "word"}


def test_mounts(gasang: Gasang, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("from the host\n")
    options = ("--mount", f"type=bind,source={tmp_path},target=/given,readonly", "--mount", "type=tmpfs,dst=/fast,tmpfs-size=1M")
    script = "cat /given/given; touch /given/x 2>/dev/null || echo read-only; grep -c ' /fast tmpfs.*size=1024k' /proc/mounts"
    assert in_box(gasang, *options, script=script) == "from the host\nread-only\n1\n"


def test_limits_and_rights(gasang: Gasang) -> None:
    options = ("--ulimit", "nofile=99:99", "--cap-drop", "ALL", "--read-only", "--tmpfs", "/t", "--user", "1000", "--workdir", "/tmp")
    script = "ulimit -n; grep -c 'CapBnd:.*0000000000000000' /proc/self/status; touch /x 2>/dev/null || echo read-only; id -u; pwd"
    assert in_box(gasang, *options, script=script) == "99\n1\nread-only\n1000\n/tmp\n"
    options = ("--hostname", "h", "--domainname", "d", "--add-host", "a:1.2.3.4", "--dns", "9.9.9.9", "--sysctl", "kernel.shmmni=77")
    script = "hostname; grep -c '1.2.3.4.*a' /etc/hosts; cat /proc/sys/kernel/shmmni"
    assert in_box(gasang, *options, script=script) == "h\n1\n77\n"


def test_who_is_who_inside(gasang: Gasang, box: str) -> None:
    gasang("run", "-d", "--name", box, "--init", "--network", "none", IMAGE, *SLEEP)
    assert "sleep" in in_box(gasang, "--pid", f"container:{box}", script="ps")
    assert in_box(gasang, "--network", f"container:{box}", script="ls /sys/class/net") == "lo\n"
    assert "init" in gasang("exec", box, "cat", "/proc/1/cmdline")
    assert in_box(gasang, "--entrypoint=", script="echo $0") == "sh\n"


def test_the_id_in_a_file(gasang: Gasang, tmp_path: Path, box: str) -> None:
    key = gasang("run", "-d", "--name", box, "--cidfile", str(tmp_path / "id"), "--stop-timeout", "1", IMAGE, *SLEEP).strip()
    assert (tmp_path / "id").read_text() == key
    gasang("create", "--cidfile", str(tmp_path / "id"), IMAGE, code=4)
    assert [row["id"] for row in json.loads(gasang("ps", "--latest", "--size", "--format", "json"))] == [key]
    assert key in gasang("ps", "--no-trunc")


def test_health(gasang: Gasang, box: str) -> None:
    gasang("run", "-d", "--name", box, "--health-cmd", "true", "--health-interval", "200ms", IMAGE, *SLEEP)
    told = gasang.first_line("events", "--since", "1m", "--filter", "event=health_status", "--format", "{action}")
    assert told == "health_status: healthy\n"
    gasang("rm", "-f", box)
    gasang("run", "-d", "--name", box, "--no-healthcheck", IMAGE, *SLEEP)
    assert gasang.inspect(box, "Config.Healthcheck.Test") == "['NONE']"


def test_networks_and_names_in_them(gasang: Gasang, box: str) -> None:
    gasang("network", "create", "--subnet", "10.99.7.0/24", "--label", "a=b", "app")
    try:
        gasang("run", "-d", "--name", box, "--network", "name=app,alias=db,ip=10.99.7.9", IMAGE, *SLEEP)
        assert "10.99.7.9" in in_box(gasang, "--network", "app", script="nslookup db 2>&1")
        assert "10.99.7.9" in gasang("exec", box, "hostname", "-i")
        gasang("network", "prune", "--force")
        assert "app" in gasang("network", "ls", "--format", "name").splitlines()  # somebody is in it
        gasang("network", "disconnect", "app", box)
        assert "10.99.7" not in gasang("exec", box, "ip", "addr")
        gasang("rm", "-f", box)
        assert gasang("network", "prune", "--force") == "app\n"
    finally:
        gasang.run("network", "rm", "app")


def test_ports(gasang: Gasang, box: str) -> None:
    gasang("run", "-d", "--name", box, "-p", "8080:80", "--expose", "81", "-P", IMAGE, *SLEEP)
    assert "127.0.0.1:8080\n" in gasang("port", box, "80", "--format", "{host}")
    assert gasang("port", box, "81", "--format", "{host}")


def test_what_cannot_be_had(gasang: Gasang) -> None:
    done = gasang.run("run", "--gpus", "all", IMAGE)
    assert done.returncode == 6
    assert b"--gpus: GPUs are not passed on to containers" in done.stderr
    found = gasang.run("search", "debian")  # in a network of its own, which leads nowhere
    assert found.returncode == 1
    assert b"registry index.docker.io: it cannot be reached" in found.stderr


# limits while it runs


def test_update(gasang: Gasang, box: str) -> None:
    gasang("run", "-d", "--name", box, "--memory", "64M", IMAGE, *SLEEP)
    assert gasang("update", "--memory", "128M", "--memory-swap", "-1", "--restart", "on-failure:2", box) == f"{box}\n"
    assert gasang.inspect(box, "HostConfig.Memory") == str(128 << 20)
    assert gasang.inspect(box, "HostConfig.RestartPolicy.MaximumRetryCount") == "2"


# archives and images


def test_a_machine_becomes_an_archive_becomes_an_image(gasang: Gasang, tmp_path: Path, box: str) -> None:
    gasang("run", "--name", box, IMAGE, "sh", "-c", "echo kept > /kept")
    gasang("export", "-o", str(tmp_path / "box.tar"), box)
    with tarfile.open(tmp_path / "box.tar") as packed:
        assert packed.extractfile("kept").read() == b"kept\n"  # type: ignore[union-attr]
    key = gasang("import", "-c", 'CMD ["cat", "/kept"]', "-m", "flat", str(tmp_path / "box.tar"), "flat:1").strip()
    assert gasang("run", "--rm", "flat:1") == "kept\n"
    assert gasang("history", "--format", "{id} {comment}", "flat:1") == f"{key} flat\n"
    gasang("import", "-", "broken:1", data=b"no archive", code=1)
    gasang("tag", "flat:1", "flat:2")
    gasang("save", "-o", str(tmp_path / "flat.tar"), "flat:1")
    gasang("rmi", "flat:1", "flat:2")
    assert gasang("load", "-i", str(tmp_path / "flat.tar")) == "flat:1\n"
    gasang("rmi", "flat:1")


def test_history_and_info(gasang: Gasang) -> None:
    assert "ADD busybox /" in gasang("history", IMAGE)
    assert f"{gasang.home}/data" in gasang("info")
    (facts,) = json.loads(gasang("daemon", "status", "--format", "json"))
    assert facts["docker_host"] == f"unix://{gasang.home}/run/docker.sock"
    assert f"export DOCKER_HOST={facts['docker_host']}\n" in gasang("daemon", "status")
    assert gasang("version", "--format", "{part}") == "gasang\ndaemon\n"


def test_putting_away(gasang: Gasang, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN echo more > /more\n")
    nameless = gasang("build", "-q", str(tmp_path)).strip()
    ended = gasang("create", "--label", "mark=1", IMAGE).strip()
    gasang("volume", "create", "kept")
    usage = {row["kind"]: row for row in json.loads(gasang("system", "df", "--format", "json"))}
    assert usage["container"]["count"] == 1
    assert usage["volume"]["count"] == 1
    assert usage["image"]["count"] == 2
    assert nameless in gasang("images", "-q", "--filter", "dangling=true")
    assert gasang("container", "prune", "-f", "--filter", "label=other") == ""
    assert gasang("container", "prune", "-f") == f"{ended}\n"
    gasang("builder", "prune", "-f")
    assert nameless in gasang("image", "prune", "-f")
    assert gasang("volume", "prune", "-f") == ""
    assert gasang("volume", "prune", "-af") == "kept\n"
    gasang("create", IMAGE)
    assert len(gasang("system", "prune", "-f").splitlines()) == 1
    assert gasang("image", "ls", "--container", "--format", "name") == f"{IMAGE}\n"


# registries


@pytest.mark.skipif(not program(), reason="needs docker-registry")
def test_a_registry_that_asks_who_we_are(gasang: Gasang, tmp_path: Path) -> None:
    with gasang.inside():
        registry = Registry(tmp_path / "guarded", guarded=True)
    try:
        name = f"{registry.host}/box:1"
        gasang("tag", IMAGE, name)
        gasang("push", name, code=5)
        gasang("login", "-u", USER, "--password-stdin", registry.host, data=b"wrong", code=5)
        gasang("login", "-u", USER, "--password-stdin", registry.host, data=PASSWORD.encode())
        assert gasang("push", name) == f"{name}\n"
        gasang("rmi", name)
        assert gasang("run", "--rm", name, "cat", "/etc/hello") == "hello from the image\n"
        gasang("rmi", name)
        (tmp_path / "Dockerfile").write_text(f"FROM {name}\n")
        assert gasang("build", "-q", "-t", "built:1", str(tmp_path)).startswith("sha256:")
        gasang("rmi", "built:1", name)
        gasang("logout", registry.host)
        gasang("pull", name, code=5)
    finally:
        registry.close()


def test_a_stream_of_files_both_ways(gasang: Gasang, box: str) -> None:
    gasang("create", "--name", box, IMAGE)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("in")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"hello"))
    gasang("cp", "-", f"{box}:/tmp", data=packed.getvalue())
    gasang("rename", box, "other")
    gasang("rename", "other", box)
    done = gasang.run("cp", f"{box}:/tmp/in", "-")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert archive.extractfile("in").read() == b"hello"  # type: ignore[union-attr]
