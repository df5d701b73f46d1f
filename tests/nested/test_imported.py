"""A disk of another hypervisor under a real KVM, as a user types it: taken in, booted with its own kernel, and with a command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.cpio_reader import unpack
from support.foreign_disks import foreign_disk
from support.nested.images import image_files


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that has taken in such a disk, as "web"."""
    place = tmp_path_factory.mktemp("imported")
    files = image_files("cloud")
    kernel, initrd = files.kernel.read_bytes(), files.initrd.read_bytes()
    disk = place / "disk.img"
    disk.write_bytes(foreign_disk(place, kernel, initrd, "amd64"))
    (place / "root.img").unlink()  # all of it is in memory here
    gasang(place, "image", "import", disk, "web")
    disk.unlink()
    (place / "cache" / "imported").mkdir(parents=True, exist_ok=True)
    (place / "cache" / "imported" / "busybox-amd64").write_bytes(unpack(initrd)[b"bin/busybox"].data)  # no mirror is asked
    return place


def gasang(home: Path, *words: object, code: int = 0) -> str:
    program = "import sys; from gasang.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=100,
        env={"GASANG_HOME": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": ":".join(filter(None, sys.path))},
    )  # fmt: skip
    assert done.returncode == code, done.stderr.decode() + done.stdout.decode()
    return done.stdout.decode()


def run(home: Path, *words: str, code: int = 0) -> str:
    return gasang(home, "run", "--vm", "--accel", "kvm", "--network", "none", "--memory", "320M", "web", *words, code=code)


def test_it_boots_with_its_own_kernel(home: Path) -> None:
    said = run(home)
    assert "I am imported" in said
    assert "gasang-exit: 3" in said


def test_a_command_runs_under_its_kernel(home: Path) -> None:
    assert run(home, "--", "sh", "-c", "cat /etc/hostname; uname -m; exit 5", code=5) == "imported\nx86_64\n"
