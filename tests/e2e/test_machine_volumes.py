"""Stock Debian with volumes behind a daemon: kept with its memory, taken back with it, and forked with it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gasang.core.paths import cache_folder
from gasang.native.cache import default_directory
from gasang.storage.volumes import layers
from gasang.storage.volumes.folder import read_record
from support.debian_guest import IMAGE
from support.engines.verbs import Gasang, served
from support.supervised import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
PULL_SECONDS = 1500


@pytest.fixture(scope="module")
def image() -> Path:
    """A home with the image in it, kept from one run of the tests to the next. Needs a Debian mirror."""
    folder = cache_folder(os.environ) / "tests"
    environment = {**os.environ, "GASANG_HOME": str(folder), "GASANG_NATIVE_CACHE": str(default_directory())}
    program = "import sys; from gasang.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "pull", IMAGE], capture_output=True, timeout=PULL_SECONDS, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr.decode()
    return folder


@pytest.fixture(scope="module")
def gasang(image: Path) -> Iterator[Gasang]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GASANG_NATIVE_CACHE", str(default_directory()))
        with served() as command:
            shutil.copytree(image / "data" / "images", command.home / "data" / "images", dirs_exist_ok=True)
            (command.home / "cache").mkdir(exist_ok=True)
            (command.home / "cache" / "ready").symlink_to(image / "cache" / "ready")
            yield command


@pytest.fixture
def web(gasang: Gasang) -> Iterator[str]:
    """A machine with a volume of a gigabyte at /data."""
    gasang("volume", "create", "data", "--size", "1G")
    gasang("run", "-d", "--name", "web", "--memory", "256M", "--network", "none", "-v", "data:/data", "--vm", IMAGE)
    yield "web"
    names = gasang("ps", "-a", "--format", "name").split()
    if names:
        gasang("rm", "-f", *names)
    gasang("volume", "rm", *gasang("volume", "ls", "--format", "name").split())
    assert not list((gasang.home / "data" / "volumes").iterdir())


def inside(gasang: Gasang, name: str, script: str) -> str:
    return gasang("exec", name, "sh", "-c", script).strip()


def volumes(gasang: Gasang) -> dict[str, dict[str, Any]]:
    return {name: json.loads(gasang("volume", "inspect", name))[0] for name in gasang("volume", "ls", "--format", "name").split()}


def snapshots(gasang: Gasang, volume: str = "data") -> list[str]:
    return [kept["Name"] for kept in volumes(gasang)[volume]["Status"]["Snapshots"]]


def is_clean(folder: Path, scratch: Path) -> None:
    """The file system of a volume that nobody has is sound, once its journal is replayed."""
    record = read_record(folder)
    disk = layers.open_chain(folder, record, record.top, read_only=True)
    with scratch.open("wb") as file:
        file.truncate(disk.size)
        for offset, length in disk.data():
            file.seek(offset)
            file.write(disk.read(offset, length))
    disk.close()
    subprocess.run(["e2fsck", "-p", scratch], capture_output=True, check=False)  # replays the journal
    told = subprocess.run(["e2fsck", "-fn", scratch], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout

    scratch.unlink()


def test_memory_disk_and_volume_go_back_together(gasang: Gasang, web: str, tmp_path: Path) -> None:
    inside(gasang, web, "for each in /data/file /root/file; do echo first >$each; done")
    inside(gasang, web, "head -c 2000000 /dev/urandom >/data/noise; md5sum </data/noise >/sum")
    gasang("snapshot", "create", web, "base")  # what the guest has not written back yet is in its memory
    inside(gasang, web, "rm /data/noise; echo second >/data/file; echo second >/root/file; mkdir /data/more; sync")
    refused = gasang.run("volume", "rm", "data")
    assert b"base@" in refused.stderr
    [held] = snapshots(gasang)
    assert b"belongs to the snapshot of a machine" in gasang.run("volume", "snapshot", "--delete", held, "data").stderr
    told = gasang.run("restore", web, "base")
    assert told.returncode == 0, told.stderr
    [present] = [name for name in snapshots(gasang) if name.startswith("before-restore-")]
    assert f"volume data had is kept as its snapshot {present}" in told.stderr.decode()
    look = "cat /data/file /root/file; md5sum </data/noise | cmp - /sum && ls /data"
    assert inside(gasang, web, look) == "first\nfirst\nfile\nlost+found\nnoise"
    inside(gasang, web, "echo third >/data/file; sync")
    gasang("restore", "--discard", web, "base")
    assert inside(gasang, web, look) == "first\nfirst\nfile\nlost+found\nnoise"
    assert sorted(snapshots(gasang)) == sorted([held, present]), "what was to be discarded was not kept"
    inside(gasang, web, "echo fourth >/data/file; sync")
    gasang("volume", "clone", "--snapshot", held, "data", "old")
    gasang("volume", "resize", "data", "+1G")
    gasang("restore", web, "base")
    assert volumes(gasang)["data"]["Status"]["Size"] == 1 << 30
    assert inside(gasang, web, "cat /data/file; touch /data/after && sync && dmesg | grep -ci 'ext4.*error' || true") == "first\n0"
    gasang("stop", web)
    is_clean(Path(volumes(gasang)["data"]["Mountpoint"]), tmp_path / "disk")
    gasang("volume", "snapshot", "--apply", present, "data")
    gasang("start", web)
    eventually(lambda: gasang.run("exec", web, "cat", "/data/file").stdout == b"second\n", 90)
    gasang("snapshot", "rm", web, "base")
    assert not [name for name in snapshots(gasang) if "@" in name]


def test_a_twin_has_volumes_of_its_own(gasang: Gasang, web: str, tmp_path: Path) -> None:
    inside(gasang, web, "echo before >/data/file; (while :; do date >>/data/log; done) >/dev/null 2>&1 & sleep 1")
    with begun(gasang, "fork", "-n", "2", web, "--format", "{name}") as beside:
        twins = gasang("fork", web, "--format", "{name}").split()
        twins += beside.communicate(timeout=90)[0].decode().split()
    assert sorted(volumes(gasang)) == sorted(["data", *(f"data-{twin}" for twin in twins)])
    for name in (web, *twins):
        assert inside(gasang, name, f"cat /data/file; echo {name} >/data/file; sync; cat /data/file") == f"before\n{name}"
    mounted = json.loads(gasang("inspect", twins[0]))[0]["Mounts"]
    assert [(each["Name"], each["Destination"], each["RW"]) for each in mounted] == [(f"data-{twins[0]}", "/data", True)]
    grandchild = gasang("fork", twins[0], "--format", "{name}").strip()
    assert inside(gasang, grandchild, "cat /data/file") == twins[0]
    gasang("volume", "snapshot", "--create", "mine", f"data-{twins[0]}")
    gasang("snapshot", "create", twins[0], "base")
    inside(gasang, twins[0], "echo later >/data/file; sync")
    gasang("restore", twins[0], "base")
    assert inside(gasang, twins[0], "cat /data/file") == twins[0]
    gasang("rm", "-f", web, twins[1])
    assert sorted(volumes(gasang)) == sorted(["data", *(f"data-{twin}" for twin in (twins[0], twins[2], grandchild))])
    gasang("stop", twins[2])
    gasang("start", twins[2])
    eventually(lambda: gasang.run("exec", twins[2], "cat", "/data/file").stdout == f"{twins[2]}\n".encode(), 90)
    for name in (twins[0], twins[2], grandchild):
        gasang("stop", name)
        is_clean(Path(volumes(gasang)[f"data-{name}"]["Mountpoint"]), tmp_path / "disk")
    is_clean(Path(volumes(gasang)["data"]["Mountpoint"]), tmp_path / "disk")


def kill(*pids: int) -> None:
    """With -9, and wait until they are gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        eventually(lambda pid=pid: not is_alive(pid))


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except OSError:
        return False


def begun(gasang: Gasang, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gasang", *words]
    return subprocess.Popen(command, env=gasang.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def daemon_of(gasang: Gasang) -> int:
    return int(gasang("daemon", "status", "--format", "{process}"))


def test_killed_in_the_middle(gasang: Gasang, web: str) -> None:
    inside(gasang, web, "echo before >/data/file; sync")
    containers = gasang.home / "data" / "containers"
    [store] = (path.with_name("snapshots") for path in containers.glob("family-*/*/disk"))
    for number in range(3):  # the daemon, over twins
        with begun(gasang, "fork", "-n", "3", web) as forking:
            eventually(lambda number=number: len(list(containers.glob("family-*/*/volumes/*"))) > number or forking.poll() is not None)
            kill(daemon_of(gasang))
            forking.communicate(timeout=60)
        with gasang.inside():
            gasang("daemon", "start")
        found = gasang("ps", "-a", "--format", "{name} {state}").splitlines()
        running = [line.split()[0] for line in found if line.endswith(" running") and not line.startswith("web ")]
        names = {path.name for path in containers.glob("family-*/*/volumes/*")}
        assert names | {"data"} == set(volumes(gasang)), found
        assert names == {f"data-{line.split()[0]}" for line in found} - {"data-web"}
        for name in (web, *running):
            assert inside(gasang, name, "cat /data/file") == "before"
        twins = [line.split()[0] for line in found if not line.startswith("web ")]
        if twins:
            gasang("rm", "-f", *twins)
    gasang("snapshot", "create", web, "base")
    [base] = snapshots(gasang)
    for also in (False, True):  # the machine, over a snapshot, and the daemon with it
        with begun(gasang, "snapshot", "create", web, "second") as making:
            eventually(lambda: any(name.startswith("second@") for name in snapshots(gasang)) or making.poll() is not None)
            pid = int(gasang.inspect(web, "State.Pid"))
            kill(*((daemon_of(gasang), pid) if also else (pid,)))
            making.communicate(timeout=60)
        if also:
            with gasang.inside():
                gasang("daemon", "start")
        eventually(lambda: gasang.inspect(web, "State.Status") == "exited")
        there = gasang("snapshot", "ls", web, "--format", "{name}").split()
        assert sorted(name.partition("@")[0] for name in snapshots(gasang)) == there, "what is held is needed"
        if "second" in there:
            gasang("snapshot", "rm", web, "second")
        gasang("restore", web, "base")
        assert inside(gasang, web, "cat /data/file; echo later >/data/file; sync") == "before"
    assert base in snapshots(gasang)
    with begun(gasang, "restore", web, "base") as restoring:
        eventually(lambda: sum(name.startswith("before-") for name in snapshots(gasang)) == 2 or restoring.poll() is not None)
        kill(daemon_of(gasang))
        restoring.communicate(timeout=60)
    with gasang.inside():
        gasang("daemon", "start")
    gasang("restore", web, "base")
    assert inside(gasang, web, "cat /data/file") == "before"
    assert not list(store.glob(".new-second-*")) or gasang("snapshot", "create", web, "third")
    present = [name for name in snapshots(gasang) if name.startswith("before-")]
    assert len(present) == 2, "what was written between restores is kept"
