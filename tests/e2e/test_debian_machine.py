"""Stock Debian behind a daemon: kept, restored, forked, stopped and started again, from the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.core.paths import cache_folder
from gasang.native.cache import default_directory
from support.debian_guest import IMAGE, PROMPT
from support.engines.verbs import Gasang, served
from support.seat import Seat
from support.supervised import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
PULL_SECONDS = 1500
RANDOM = "head -c 12 /dev/urandom | base64"


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


def seats(gasang: Gasang, *names: str) -> list[Seat]:
    return [Seat(gasang.home, name) for name in names]


def test_a_life(gasang: Gasang) -> None:
    gasang("run", "-d", "--name", "web", "--memory", "512M", "--vm", IMAGE)
    [web] = seats(gasang, "web")
    web.until(PROMPT)
    assert web.ask("hostname; echo before > /root/file; sync; word=kept") == "web"
    gasang("snapshot", "create", "web", "base")
    assert web.ask("echo after > /root/file; cat /root/file") == "after"
    twins = gasang("fork", "-n", "4", "web", "--format", "{name}").split()
    gasang("kill", cut := twins.pop())  # what its parent had not written yet was written for it
    gasang("start", cut)
    [booted] = seats(gasang, cut)
    booted.until(PROMPT)
    assert booted.ask("cat /root/file") == "after"
    booted.close()
    gasang("rm", "-f", cut)
    sitting = seats(gasang, *twins)
    assert len({seat.ask(RANDOM) for seat in (web, *sitting)}) == 4
    assert [seat.ask("cat /root/file; echo twin > /root/file; sync") for seat in sitting] == ["after"] * 3
    assert web.ask("cat /root/file") == "after"
    gasang("exec", "web", "sh", "-c", "rm -r /usr/share/doc/bash; echo 127.0.0.9 there >> /etc/hosts")
    differs = {row["path"]: row["kind"] for row in json.loads(gasang("diff", "web", "--format", "json"))}
    expected = {"/root": "changed", "/root/file": "added", "/etc": "changed", "/etc/hosts": "changed", "/usr/share/doc/bash": "deleted"}
    assert {path: differs.get(path) for path in expected} == expected
    assert "/usr/share/doc/bash/copyright" not in differs
    assert len(differs) < 40, "nothing else but what a boot writes"
    gasang("rm", "-f", *twins[1:])
    gasang("restore", "web", "base")
    [again] = seats(gasang, "web")
    assert again.ask("echo $word; cat /root/file; echo restored > /root/file; sync") == "kept\nbefore"
    eventually(lambda: list((gasang.home / "data" / "containers").glob("family-*/*.standing/machine")), 60)
    assert again.ask("rm /root/file; sync; echo gone") == "gone"
    gasang("restore", "web", "base")  # by one that stands ready
    again.close()
    [again] = seats(gasang, "web")
    assert again.ask("echo $word; cat /root/file; echo restored > /root/file; sync") == "kept\nbefore"
    assert again.ask(RANDOM) != sitting[0].ask(RANDOM)
    gasang("stop", "web", twins[0])
    gasang("start", "web", twins[0])
    booted = seats(gasang, "web", twins[0])
    for seat in booted:
        seat.until(PROMPT)
    assert [seat.ask("cat /root/file") for seat in booted] == ["restored", "twin"]
    assert gasang("exec", "web", "cat", "/root/file") == "restored\n"
    for seat in (web, again, *sitting, *booted):
        seat.close()
    gasang("rm", "-f", "web", twins[0])


def test_a_command_has_its_output_in_the_log_and_its_code(gasang: Gasang) -> None:
    gasang("run", "-d", "--name", "job", "--memory", "512M", "--vm", IMAGE, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert gasang("wait", "job") == "7\n"
    done = gasang.run("logs", "job")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
    gasang("rm", "job")


def test_commands_and_files_by_its_agent(gasang: Gasang, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    gasang("run", "-d", "--name", "web", "--memory", "512M", "-v", f"{tmp_path}/shared:/shared", "--vm", IMAGE)
    [seat] = seats(gasang, "web")
    seat.until(PROMPT)
    seat.close()
    script = "echo $A $(pwd) $(id -un); echo err >&2; exit 3"
    done = gasang.run("exec", "-e", "A=b", "-w", "/tmp", "-u", "nobody", "web", "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"b /tmp nobody\n", b"err\n")
    assert gasang("exec", "-i", "web", "sort", data=b"b\na\n") == "a\nb\n"
    assert gasang.run("exec", "web", "no-such-program").returncode == 127
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("from the host\n")
    gasang("cp", str(tmp_path / "folder"), "web:/root")
    gasang("cp", "web:/root/folder/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "from the host\n"
    gasang("cp", "web:/etc/apt/.", str(tmp_path / "apt"))
    assert (tmp_path / "apt" / "sources.list.d").is_dir()
    gasang("cp", "web:/root/folder/.", str(tmp_path / "contents"))
    assert (tmp_path / "contents" / "file").read_text() == "from the host\n"
    assert any("bash" in line for line in gasang("top", "web").splitlines())
    gasang("export", "-o", str(tmp_path / "all.tar"), "web")
    with tarfile.open(tmp_path / "all.tar") as exported:
        names = {name.removeprefix("./") for name in exported.getnames()}
    assert {"root/folder/file", "usr/bin/bash", "proc", "shared"} <= names
    assert not [name for name in names if name.startswith(("proc/", "shared/", "run/"))]
    gasang("commit", "-c", 'CMD ["cat","/root/folder/file"]', "web", "kept:1")
    kept = json.loads(gasang("image", "inspect", "kept:1"))[0]
    assert (kept["Architecture"], kept["Config"]["Cmd"], len(kept["RootFS"]["Layers"])) == ("riscv64", ["cat", "/root/folder/file"], 1)
    gasang("cp", "web:/bin/sh", str(tmp_path / "sh"))
    assert (tmp_path / "sh").is_symlink()
    assert gasang.run("cp", "web:/nothing", str(tmp_path)).returncode == 3
    assert gasang.run("cp", str(tmp_path / "back"), "web:/no/such/folder").returncode == 3
    gasang("exec", "web", "sh", "-c", "echo shared > /shared/from-guest")
    assert (tmp_path / "shared" / "from-guest").read_text() == "shared\n"
    assert gasang("update", "--memory", "400M", "web") == "web\n"
    assert b"from its next start on" in gasang.run("update", "--memory", "600M", "--cpus", "2", "web").stderr
    gasang("snapshot", "create", "web", "base")
    gasang("restore", "web", "base")
    assert gasang("exec", "web", "cat", "/shared/from-guest") == "shared\n"
    gasang("fork", "web")
    assert gasang("exec", "web-1", "cat", "/shared/from-guest") == "shared\n"
    eventually(lambda: gasang("exec", "web-1", "hostname") == "web-1\n", 60)
    assert gasang("exec", "web", "hostname") == "web\n"
    gasang("exec", "web", "sh", "-c", "echo kept > /root/kept")
    gasang("rmi", IMAGE)
    gasang("stop", "web")
    gasang("start", "web")
    eventually(lambda: gasang.run("exec", "web", "cat", "/root/kept").stdout == b"kept\n", 60)
    assert gasang("exec", "web", "nproc") == "2\n"
    gasang("rm", "-f", "web", "web-1")
    assert [path.name for path in (gasang.home / "data" / "bases").iterdir()] == ["lock"]


def test_a_volume_and_its_backups(gasang: Gasang) -> None:
    gasang("volume", "create", "data", "--size", "1G")
    gasang("run", "-d", "--name", "web", "--memory", "256M", "--network", "none", "-v", "data:/data", "--vm", IMAGE)
    inside = ("exec", "web", "sh", "-c")
    gasang(*inside, "echo first >/data/file; echo root >/root/kept")
    folder, backups = gasang.home / "data" / "volumes" / "data", str(gasang.home / "backups")
    refused = gasang.run("run", "--vm", "--memory", "256M", "--network", "none", "-v", "data:/data", IMAGE, "--", "true")
    assert b"in use by another machine" in refused.stderr
    gasang("volume", "snapshot", "--create", "before", "data")
    gasang("backup", "create", "web", "--to", backups)
    gasang("volume", "resize", "data", "+1G")
    assert int(gasang(*inside, "df -m /data | tail -1").split()[1]) > 1800
    gasang(*inside, "head -c 3000000 /dev/urandom >/data/noise; md5sum </data/noise >/data/sum; echo second >/data/file")
    told = json.loads(gasang("backup", "create", "web", "--to", backups, "--incremental", "--json"))
    assert told["base"]
    assert told["read"] < 60 << 20
    gasang("volume", "clone", "--snapshot", "before", "data", "old")
    gasang("stop", "web")
    gasang("volume", "snapshot", "--apply", "before", "data")
    gasang("backup", "restore", told["backup"], "--from", backups, "--name", "again")
    assert "sound" in gasang("backup", "verify", "--from", backups)
    gasang("start", "again")
    assert gasang("exec", "again", "sh", "-c", "cat /data/file /root/kept; md5sum </data/noise | cmp - /data/sum") == "second\nroot\n"
    gasang("rm", "-f", "again", "web")
    found = json.loads((folder / "volume.json").read_text())
    assert subprocess.run(["qemu-img", "check", folder / f"{found['top']}.qcow2"], capture_output=True, check=False).returncode == 0
    gasang("volume", "rm", "data", "again-data", "old")
