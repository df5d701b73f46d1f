"""A disk that is full in the middle of something: a sentence that says so, nothing lost, nothing left of what failed. Ours alone."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from support.engines.client import Docker, until
from support.engines.engine import gasang, short_home
from support.engines.rootfs import Image, add, layer

MEBIBYTE = 1 << 20
SIZE = 32
FULL = "no space"


@pytest.fixture(scope="module")
def small(tmp_path_factory, base, engine):
    """A docker client whose engine has its home on a file system of 32 MiB, with one image."""
    if engine.name != "gasang":
        pytest.skip("dockerd's own words differ")
    home = short_home("small")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "none", str(home)], capture_output=True, check=False).returncode:
        home.rmdir()
        pytest.skip("a file system of its own needs mount")
    made = gasang(home)
    try:
        made.start()
        docker = Docker(made, tmp_path_factory.mktemp("small-config"))
        docker("import", "--change", 'CMD ["sh"]', "--change", "ENV PATH=/bin", "-", "busybox:e2e", typed=base)
        docker("run", "--rm", "busybox:e2e", "true")
        yield docker
    finally:
        made.stop()
        subprocess.run(["umount", "--lazy", str(home)], check=True)
        home.rmdir()


@pytest.fixture(autouse=True)
def _as_before(small):
    """After each test the disk has as much room as before, and containers run."""
    before = used(small)
    yield
    small.close()
    try:
        until(lambda: used(small) <= before + MEBIBYTE, 10)
    except AssertionError:
        listing = subprocess.run(["du", "-k", "-d", "3", small.engine.home], capture_output=True, text=True, check=False).stdout
        raise AssertionError(listing) from None
    assert small("run", "--rm", "busybox:e2e", "echo", "well").text == "well"


def used(docker):
    found = os.statvfs(docker.engine.home)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


@contextlib.contextmanager
def filled(docker, but=0):
    """The disk is full but for some bytes."""
    path = docker.engine.home / "filler"
    found = os.statvfs(docker.engine.home)
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, found.f_bfree * found.f_frsize - but)
        yield
    finally:
        path.unlink()


def says_full(done):
    assert FULL in (done.said + done.text).lower(), (done.said, done.text[-500:])
    assert "Traceback" not in done.said


@pytest.mark.parametrize("packed", [20, 40], ids=["unpacking", "downloading"])
def test_pull(small, registry, packed):
    """What does not fit is a download, or only what is unpacked of it."""
    data = os.urandom(packed * MEBIBYTE)
    registry.put(f"large:{packed}", Image([layer({"large": data})], {"Cmd": ["x"]}))
    says_full(small("pull", f"{registry.host}/large:{packed}", code=1))
    assert "large" not in small("images").text


def test_load_and_import(small):
    large = layer({"large": os.urandom(20 * MEBIBYTE)})
    says_full(small("import", "-", "large:1", typed=large, code=1))
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        add(archive, "large", data=bytes(40 * MEBIBYTE))
    says_full(small("load", typed=output.getvalue(), code=1))
    assert "large" not in small("images").text


@pytest.mark.parametrize("megabytes", [40, 20, 12], ids=["receiving", "unpacking", "copying"])
def test_build_of_a_large_context(small, tmp_path, megabytes):
    (tmp_path / "large").write_bytes(os.urandom(megabytes * MEBIBYTE))
    (tmp_path / "Dockerfile").write_text("FROM busybox:e2e\nCOPY large /large\n")
    says_full(small("build", "--no-cache", "-t", "large:2", tmp_path, code=1))
    assert small("ps", "-aq").lines == []
    assert "large" not in small("images").text


def test_build_whose_step_fills_it(small):
    file = b"FROM busybox:e2e\nRUN dd if=/dev/zero of=/large bs=1M count=60\n"
    says_full(small("build", "--no-cache", "-", typed=file, code=1))
    assert small("ps", "-aq").lines == []


def test_commit(small):
    name = "committed"
    try:
        small("run", "--name", name, "busybox:e2e", "dd", "if=/dev/urandom", "of=/large", "bs=1M", "count=16")
        says_full(small("commit", name, "large:3", code=1))
        assert "large" not in small("images").text
        assert small.format(name, "{{.State.Status}}") == "exited"
    finally:
        small("rm", name)


def test_copying_in(small, tmp_path):
    (tmp_path / "large").write_bytes(bytes(40 * MEBIBYTE))
    small("create", "--name", "target", "busybox:e2e")
    try:
        says_full(small("cp", tmp_path / "large", "target:/large", code=1))
    finally:
        small("rm", "target")


def test_create_and_start(small):
    """With nothing left at all a container cannot be made, and says so; one that is there is not lost."""
    small("create", "--name", "there", "busybox:e2e", "echo", "here")
    try:
        for room in (0, 4096, 16384):
            with filled(small, room):
                done = small("create", "-v", "/data", "busybox:e2e", code=None)
                if done.code:
                    says_full(done)
                else:
                    small("rm", "-v", done.text)
                small("start", "-a", "there", code=None)
                assert small("ps", "-aq").lines == [small("ps", "-aqf", "name=there").text]
        assert small("start", "-a", "there").text == "here"
    finally:
        small("rm", "-f", "there")
    assert small("volume", "ls", "-q").lines == []


def test_a_container_that_runs_outlives_it(small):
    """Its output still reaches who is attached, its end is noted once there is room, and the daemon comes back after a kill."""
    small(
        "run",
        "-d",
        "--name",
        "chatty",
        "busybox:e2e",
        "sh",
        "-c",
        "i=0; while [ $i -lt 80 ]; do echo line $i; usleep 50000; i=$((i+1)); done; exit 3",
    )
    try:
        until(lambda: small("logs", "chatty").lines)
        with filled(small):
            attached = small.open("attach", "chatty")
            assert attached.communicate(timeout=30)[0].splitlines()[-1] == b"line 79"
        until(lambda: small.format("chatty", "{{.State.Status}} {{.State.ExitCode}}") == "exited 3")
        small.engine.kill()
        small.engine.start()
        assert small.format("chatty", "{{.State.Status}} {{.State.ExitCode}}") == "exited 3"
        assert small("logs", "chatty").lines[0] == "line 0"
    finally:
        small("rm", "-f", "chatty")


def test_a_daemon_that_starts_on_it(small):
    """It comes up, or says why not; with room it is as before."""
    with filled(small):
        small.engine.stop()
        with contextlib.suppress(Exception):
            small.engine.start()
        answer = small("ps", code=None)
        log = Path(small.engine.log).read_text(errors="replace")
        assert answer.code == 0 or FULL in log.lower() or "full" in log
        small.engine.stop()
    small.engine.start()
