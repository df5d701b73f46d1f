"""Machines in the background with disks of other hosts: their jail has no network, and they have the disks all the same."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from gasang.core.paths import cache_folder
from gasang.native.cache import default_directory
from gasang.storage.images.table import create_image, open_image
from storage.test_http import part, serving
from support.debian_guest import IMAGE
from support.engines.verbs import Gasang, served

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
PULL_SECONDS = 1500
SIZE = 8 << 20


@pytest.fixture(scope="module")
def gasang() -> Iterator[Gasang]:
    """A daemon with the image in its home. Needs a Debian mirror, once."""
    folder = cache_folder(os.environ) / "tests"
    environment = {**os.environ, "GASANG_HOME": str(folder), "GASANG_NATIVE_CACHE": str(default_directory())}
    program = "import sys; from gasang.cli.main import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", program, "pull", IMAGE], timeout=PULL_SECONDS, check=True, env=environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GASANG_NATIVE_CACHE", str(default_directory()))
        with served() as command:
            shutil.copytree(folder / "data" / "images", command.home / "data" / "images", dirs_exist_ok=True)
            (command.home / "cache").mkdir(exist_ok=True)
            (command.home / "cache" / "ready").symlink_to(folder / "cache" / "ready")
            yield command


def of_machine(gasang: Gasang, name: str) -> list[str]:
    """What the processes are called that have a machine's far disks."""
    own = int(gasang.inspect(name, "State.Pid"))
    lines = subprocess.run(["ps", "-A", "-o", "ppid=,args="], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if line.split()[0] == str(own) and "far_disks" in line]


def test_a_machine_in_the_background_has_disks_behind_addresses(gasang: Gasang, tmp_path: Path) -> None:
    data = random.Random(5).randbytes(SIZE)
    with closing(create_image(tmp_path / "cloud.qcow2", "qcow2", SIZE)) as image:
        image.write(0, data)
    create_image(tmp_path / "own.vmdk", "vmdk", SIZE).close()
    content = (tmp_path / "cloud.qcow2").read_bytes()

    def answer(handler: BaseHTTPRequestHandler, first: int, last: int) -> None:
        part(handler, content, first, last)

    words = [sys.executable, "-m", "gasang", "nbd", "serve", "--tcp", "127.0.0.1:0", str(tmp_path / "own.vmdk")]
    with (
        gasang.inside(),
        serving(answer) as url,
        subprocess.Popen(words, stdout=subprocess.PIPE, env=gasang.environment, text=True) as offered,
    ):
        assert offered.stdout is not None
        address = offered.stdout.readline().split(" as ")[1].split(";")[0]
        try:
            refused = gasang.run("run", "-d", "--name", "none", "--memory", "256M", "--network", "none", "--disk", url, "--vm", IMAGE)
            assert b"a file on a web server is only read; say ,readonly" in refused.stderr
            gasang("rm", "-f", "none")
            disks = ("--disk", f"{url},readonly", "--disk", f"{address},iops=1000")
            gasang("run", "-d", "--name", "web", "--memory", "256M", "--network", "none", *disks, "--vm", IMAGE)
            assert len(of_machine(gasang, "web")) == 1
            assert gasang.inspect("web", "State.Status") == "running"
            script = "head -c 4000000 /dev/vdb >/dev/vdc && sync /dev/vdc && cmp -n 4000000 /dev/vdb /dev/vdc && echo same"
            assert gasang("exec", "web", "sh", "-c", script).strip() == "same"
            gasang("exec", "web", "sh", "-c", "printf behind >/dev/vdc; sync /dev/vdc")
            assert b"share" in gasang.run("fork", "web").stderr
            os.kill(int(gasang.inspect("web", "State.Pid")), signal.SIGKILL)
            assert gasang("wait", "web").strip() == "137"
            gasang("start", "web")
            assert gasang("exec", "web", "head", "-c", "6", "/dev/vdc") == "behind"
            gasang("rm", "-f", "web")
        finally:
            offered.terminate()
    with closing(open_image(tmp_path / "own.vmdk", read_only=True)) as image:
        assert image.read(0, 4_000_000) == b"behind" + data[6:4_000_000]


def test_a_server_that_is_not_there_is_told(gasang: Gasang) -> None:
    told = gasang.run(
        "run", "-d", "--name", "alone", "--memory", "256M", "--network", "none", "--disk", "nbd://127.0.0.1:9/x", "--vm", IMAGE
    )
    assert told.returncode
    assert b"disk nbd://127.0.0.1:9/x: its server cannot be reached (Connection refused)" in told.stderr
    gasang("rm", "-f", "alone")
