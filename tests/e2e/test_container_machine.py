"""A container image as a virtual machine, from the command line and from Python: it runs as a container of it would."""

from __future__ import annotations

import io
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
from gasang.images.deb import read_data
from gasang.images.kernel import read
from gasang.images.spool import Spool
from gasang.native.cache import default_directory
from support.debian_guest import IMAGE
from support.engines.verbs import Gasang, served
from support.engines.verbs import archive as busybox_archive
from support.supervised import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
PULL_SECONDS = 1500
NAME = "tiny:1"
APPLETS = ("sh", "id", "pwd", "cat", "echo", "sleep", "uname", "hostname")
SETTINGS = ("ENV COLOR=blue", "USER web", "WORKDIR /srv", 'ENTRYPOINT ["sh","-c"]', 'CMD ["id -un; pwd; echo $COLOR; uname -m; exit 7"]',
            "EXPOSE 80", "STOPSIGNAL USR1", "HEALTHCHECK --interval=1s CMD echo well")  # fmt: skip


def archive(busybox: bytes) -> bytes:
    """A root with nothing but busybox and a user."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data, mode in (("bin/busybox", busybox, 0o755), ("etc/passwd", b"web:x:1000:1000::/srv:/bin/sh\n", 0o644)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        folder = tarfile.TarInfo("srv")
        folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o755, 1000, 1000
        tar.addfile(folder)
    return made.getvalue()


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of Debian's machine, downloaded once and kept from one run of the tests to the next. Needs a Debian mirror."""
    folder = cache_folder(os.environ) / "tests"
    environment = {**os.environ, "GASANG_HOME": str(folder), "GASANG_NATIVE_CACHE": str(default_directory())}
    words = [sys.executable, "-m", "gasang", "pull", "--vm", "--arch", "riscv64", IMAGE]
    done = subprocess.run(words, capture_output=True, timeout=PULL_SECONDS, check=False, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    return folder / "cache" / "packages"


@pytest.fixture(scope="module")
def gasang(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gasang]:
    (package,) = sorted(packages.glob("**/busybox-static_*"))[-1:]
    with Spool(tmp_path_factory.mktemp("spool")) as spool:
        busybox = read(next(entry for entry in read_data(package, spool) if entry.path == "usr/bin/busybox"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GASANG_NATIVE_CACHE", str(default_directory()))
        with served() as command:
            shutil.copytree(packages, command.home / "cache" / "packages", copy_function=os.link)
            changes = [word for change in SETTINGS for word in ("-c", change)]
            with command.inside():
                command("load", data=busybox_archive())
            command("import", "--platform", "linux/riscv64", *changes, "-", NAME, data=archive(busybox))
            yield command


def test_its_own_command_and_another(gasang: Gasang) -> None:
    done = gasang.run("run", "--vm", "--arch", "riscv64", NAME)
    assert (done.returncode, done.stdout) == (7, b"web\n/srv\nblue\nriscv64\n"), done.stderr
    assert gasang("run", "--vm", "--arch", "riscv64", NAME, "--", "echo other > f; cat f") == "other\n"
    assert {f"{NAME} container", f"{NAME} vm"} <= set(gasang("images", "--format", "{reference} {kind}").splitlines())


def test_in_the_background(gasang: Gasang) -> None:
    script = "trap 'exit 9' USR1; echo up; while :; do sleep 1000; done"
    gasang("run", "-d", "--name", "tiny", "-P", "--vm", "--arch", "riscv64", NAME, "--", script)
    eventually(lambda: gasang("logs", "tiny") == "up\n")
    assert int(json.loads(gasang("inspect", "tiny"))[0]["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]) > 1000
    eventually(lambda: gasang.inspect("tiny", "State.Health.Status") == "healthy", 60)
    assert gasang.inspect("tiny", "State.Health.Log").count("well") >= 1
    assert gasang("exec", "tiny", "sh", "-c", "id -un; pwd; echo $COLOR") == "web\n/srv\nblue\n"
    assert gasang("exec", "-u", "0", "tiny", "id", "-u") == "0\n"
    (gasang.home / "file").write_text("content")
    gasang("cp", str(gasang.home / "file"), "tiny:/srv/file")
    assert gasang("exec", "tiny", "cat", "/srv/file") == "content"
    gasang("stop", "tiny")  # with the image's own signal
    assert gasang.inspect("tiny", "State.ExitCode") == "9"
    gasang("rm", "tiny")


SCRIPT = """
import time

import gasang

with gasang.run("tiny:1", ["echo up; sleep 1000"], kind="vm", name="py", architecture="riscv64", environment={"A": "b"}) as vm:
    done = vm.exec(["sh", "-c", "cat; echo $A $COLOR; echo bad >&2; exit 5"], stdin=b"in ")
    print(done.code, done.output, done.errors, vm.status, vm.name, vm.exec(["no-such-program"]).code, vm.exec(["cat"], stdin=b"x").output)
    while b"up" not in vm.logs()[0]:  # its command begins when commands can be asked for already
        time.sleep(0.1)
    assert vm.snapshot("base")["Name"] == "base" == vm.snapshots()[0]["Name"]
    child = vm.fork()
    with child:
        print(child.name, child.exec(["hostname"]).output, [machine.name for machine in gasang.machines()])
    vm.exec(["sh", "-c", "echo x > /srv/after"])
    vm.restore("base")
    print(vm.exec(["cat", "/srv/after"]).code, vm.logs()[0].count(b"up"), gasang.machine("py").id == vm.id)
    vm.stop()
    print(vm.wait())
print(gasang.machines(stopped=True))
"""


def python(gasang: Gasang, script: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", script]
    with gasang.inside():
        return subprocess.run(words, capture_output=True, text=True, timeout=180, check=False, env=gasang.environment)


def test_from_python(gasang: Gasang) -> None:
    done = python(gasang, SCRIPT)
    assert done.stdout.splitlines() == [
        "5 b'in b blue\\n' b'bad\\n' running py 127 b'x'", "py-1 b'py-1\\n' ['py-1', 'py']", "1 1 True", "138", "[]",
    ], done.stderr  # fmt: skip


PLAIN = """
import gasang

with gasang.run("busybox:verbs", ["sh", "-c", "echo up; exec sleep 1000"], name="plain") as box:
    print(box.exec(["sh", "-c", "id -u; exit 3"], user="5"))
    box.pause(); print(box.status); box.resume(); box.restart(0)
    box.kill("KILL"); print(box.wait())
try:
    gasang.machine("plain")
except Exception as error:
    print(type(error).__name__, error.exit_code)
try:
    gasang.run("busybox:verbs", kind="toaster")
except Exception as error:
    print(error)
"""


def test_containers_from_python(gasang: Gasang) -> None:
    done = python(gasang, PLAIN)
    assert done.stdout.splitlines() == [
        "Completed(code=3, output=b'5\\n', errors=b'')", "paused", "137", "NotFoundError 3",
        "kind 'toaster': there is none of this name; use container or vm",
    ], done.stderr  # fmt: skip
