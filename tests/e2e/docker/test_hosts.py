"""Hosts that differ: control groups of one version alone, no overlayfs for the home, no privileges. Ours alone.

Each engine has a mount namespace of its own in which the host is made to look so.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from support.engines.client import Docker, until
from support.engines.engine import gasang, remove, short_home

UNIFIED = "umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup"
LEGACY = "umount -l /sys/fs/cgroup/unified; umount -l /sys/fs/cgroup/memory"


@contextlib.contextmanager
def engine_on(view, folder, base, home=None):
    """A docker client whose engine sees a host that `view`, a shell script, has changed; with the image of the tests."""
    own = home is None
    home = home or short_home("host")
    made = gasang(home)
    script = f"mount --make-rprivate / && {{ {view}; }} && exec {shlex.join(made.command)}"
    made = replace(made, command=("unshare", "-m", "sh", "-c", script))
    try:
        made.start()
        docker = Docker(made, folder)
        docker("import", "--change", 'CMD ["sh"]', "--change", "ENV PATH=/bin", "-", "busybox:e2e", typed=base)
        yield docker
        docker.close()
    finally:
        made.stop()
        if own:
            remove(home)


@pytest.fixture(autouse=True)
def _ours_alone(engine):
    if engine.name != "gasang":
        pytest.skip("it is about ours")


def a_life(docker):
    """What a container does from create to rm."""
    docker("run", "-d", "--name", "one", "--memory", "64m", "--pids-limit", "50", "busybox:e2e", "sleep", "1000")
    assert docker("exec", "one", "echo", "inside").text == "inside"
    assert "sleep 1000" in docker("top", "one").text
    docker("pause", "one")
    docker("unpause", "one")
    assert docker("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "one").text in ("one 1", "one 0")  # not counted
    docker("update", "--pids-limit", "60", "one")
    docker("rm", "-f", "one")


def test_unified_groups_alone(tmp_path, base):
    """Controllers are taken from the unified hierarchy; of those it does not have limits are passed over with a warning."""
    with engine_on(UNIFIED, tmp_path, base) as docker:
        assert docker("info", "--format", "{{.CgroupVersion}}").text == "2"
        a_life(docker)


def test_legacy_groups_without_memory(tmp_path, base):
    with engine_on(LEGACY, tmp_path, base) as docker:
        assert docker("info", "--format", "{{.CgroupVersion}}").text == "1"
        a_life(docker)


def test_no_groups_at_all(tmp_path, base):
    """Said in a sentence with what to do."""
    with engine_on("umount -l /sys/fs/cgroup", tmp_path, base) as docker:
        done = docker("run", "--rm", "busybox:e2e", "true", code=125)
        assert "control groups: this host has none mounted; mount -t cgroup2 none /sys/fs/cgroup" in done.said


@pytest.fixture
def on_overlay(tmp_path):
    """A folder on an overlay, which cannot be the upper layer of another."""
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    home = short_home("over")
    if subprocess.run(["mount", "-t", "overlay", "none", "-o", options, str(home)], capture_output=True, check=False).returncode:
        home.rmdir()
        pytest.skip("no overlay can be mounted")
    yield home
    subprocess.run(["umount", "--lazy", str(home)], check=True)
    home.rmdir()


def test_a_home_that_overlayfs_does_not_take(tmp_path, base, on_overlay):
    """Layers are copied: slower, and everything works."""
    with engine_on("true", tmp_path, base, on_overlay) as docker:
        assert docker("run", "--rm", "busybox:e2e", "cat", "/etc/hello").text == "hello from the image"
        docker("run", "--name", "two", "busybox:e2e", "sh", "-c", "echo new >/new; rm /etc/hello; echo changed >>/etc/group")
        assert set(docker("diff", "two").lines) == {"A /new", "C /etc", "C /etc/group", "D /etc/hello"}
        docker("start", "-a", "two")
        (tmp_path / "in").write_text("copied\n")
        docker("cp", tmp_path / "in", "two:/in")
        docker("cp", "two:/new", tmp_path / "out")
        assert (tmp_path / "out").read_text() == "new\n"
        docker("commit", "two", "made:1")
        assert docker("run", "--rm", "made:1", "cat", "/in").text == "copied"
        docker("run", "--rm", "made:1", "cat", "/etc/hello", code=1)
        file = b"FROM made:1\nRUN echo built >/built\nWORKDIR /w\nCOPY Dockerfile .\n"
        docker("build", "-q", "-t", "made:2", "-", typed=file)
        assert docker("run", "--rm", "made:2", "sh", "-c", "cat /built; pwd; ls").lines[:2] == ["built", "/w"]
        docker("run", "-d", "--name", "three", "-v", "/data", "busybox:e2e", "sleep", "1000")
        docker("exec", "three", "sh", "-c", "echo x >/x")
        docker("restart", "-t", "0", "three")
        assert docker("exec", "three", "cat", "/x").text == "x"
        assert len(docker("export", "three").out) > 1_000_000
        docker("rm", "-f", "-v", "two", "three")
    containers = Path(on_overlay) / "data" / "containers"
    assert list(containers.iterdir()) == []
    assert os.statvfs(on_overlay).f_bsize > 0
    assert until(lambda: not list((Path(on_overlay) / "data").glob("build-*")))
