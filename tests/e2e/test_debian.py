"""Debian from a mirror, booted by the command a user types: output, exit codes, input, processors, errors."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gasang.core.paths import cache_folder
from gasang.storage.formats import open_given
from storage.nbd.served import served

IMAGE = "debian:trixie"
PULL_SECONDS = 1500
RUN_SECONDS = 240


def gasang(home: Path, *words: str, typed: bytes = b"", seconds: int = RUN_SECONDS) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a process of its own."""
    program = "import sys; from gasang.cli.main import main; sys.exit(main())"
    environment = {**os.environ, "GASANG_HOME": str(home)}
    return subprocess.run([sys.executable, "-c", program, *words], input=typed, capture_output=True, timeout=seconds, env=environment)


@pytest.fixture(scope="module")
def home() -> Path:
    """A home with the image in it, kept from one run of the tests to the next. Needs a Debian mirror."""
    folder = cache_folder(os.environ) / "tests"
    done = gasang(folder, "pull", IMAGE, seconds=PULL_SECONDS)
    assert done.returncode == 0, done.stderr.decode()
    return folder


def test_output_and_exit_code_come_back(home):
    done = gasang(home, "run", "--vm", IMAGE, "--", "sh", "-c", "uname -m; echo oops >&2; exit 42")
    assert (done.returncode, done.stdout) == (42, b"riscv64\n")
    assert b"oops\n" in done.stderr


def test_every_package_is_configured_and_apt_runs(home):
    script = "dpkg -l | tail -n +6 | cut -c1-3 | sort -u; dpkg --audit; apt-get check >/dev/null && echo fine"
    done = gasang(home, "run", "--vm", IMAGE, "--", "bash", "-c", script)
    assert done.returncode == 0
    assert done.stdout.split() == [b"ii", b"fine"]


def test_what_is_compiled_on_the_way_does_what_the_interpreter_does(home):
    script = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; echo $i"
    done = gasang(home, "run", "--vm", "--jit", "check", IMAGE, "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, b"30000\n"), done.stderr.decode()


def test_processors_memory_and_disks_as_asked(home, tmp_path):
    """One disk comes over NBD, one is encrypted, one is slow."""
    (tmp_path / "key").write_bytes(b"secret")
    for name, size in (("luks.img", 20 << 20), ("slow.img", 1 << 20)):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, size)
    locked = ["cryptsetup", "-q", "luksFormat", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    subprocess.run([*locked, tmp_path / "luks.img", tmp_path / "key"], check=True)
    script = "nproc; awk '/MemTotal/ {print $2}' /proc/meminfo; for at in b c d; do echo written to $at | dd of=/dev/vd$at conv=fsync; done"
    options = ["--cpus", "2", "--memory", "1G", "--disk", f"{tmp_path}/luks.img,key-file={tmp_path}/key"]
    with served(tmp_path, form="raw", name="nbd") as address:
        options += ["--disk", str(address), "--disk", f"{tmp_path}/slow.img,format=raw,iops=20"]
        done = gasang(home, "run", "--vm", *options, IMAGE, "--", "sh", "-c", script)
    processors, kilobytes = (int(word) for word in done.stdout.split())
    assert processors == 2
    assert 850_000 < kilobytes < 1024 * 1024
    assert (tmp_path / "disk.raw").read_bytes().startswith(b"written to c\n")
    assert (tmp_path / "slow.img").read_bytes().startswith(b"written to d\n")
    with closing(open_given(str(tmp_path / "luks.img"), key=b"secret")) as disk:
        assert disk.read(0, 13) == b"written to b\n"


def test_input_reaches_the_command(home):
    done = gasang(home, "run", "--vm", "-i", IMAGE, "--", "sha256sum", typed=b"gasang" * 100_000)
    import hashlib

    assert done.stdout.split()[0].decode() == hashlib.sha256(b"gasang" * 100_000).hexdigest()


def test_what_a_command_opens_by_name_and_leaves_behind(home):
    script = "echo out >/dev/stdout; echo err >/dev/stderr; stat -c %a /run/lock; (while :; do sleep 0.01 & done) & sleep 1000 & exit 7"
    done = gasang(home, "run", "--vm", IMAGE, "--", "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr.splitlines()[-1:]) == (7, b"out\n1777\n", [b"err"])


def test_a_command_that_is_not_there_is_127(home):
    assert gasang(home, "run", "--vm", IMAGE, "--", "no-such-command").returncode == 127


def test_nothing_a_run_writes_stays(home):
    assert gasang(home, "run", "--vm", IMAGE, "--", "sh", "-c", "echo changed > /etc/hostname").returncode == 0
    done = gasang(home, "run", "--vm", IMAGE, "--", "cat", "/etc/hostname")
    assert done.stdout != b"changed\n"


def test_the_image_is_listed(home):
    assert gasang(home, "images", "--format", "name").stdout == f"{IMAGE}\n".encode()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("run", "--vm", "--memory", "1M", IMAGE, "--", "true"), 2, "cannot have 1M of memory"),
        (("run", "--vm", "debian:nosuchsuite", "--", "true"), 3, "no such suite"),
        (("run", "--vm", "localhost:9/x:1", "--", "true"), 1, "it is not here for linux/"),
        (("run", "--vm", "--kernel", "/etc/passwd"), 1, "neither a riscv64 Linux Image"),
        (("rmi", "debian:potato"), 3, "it is not here"),
    ],
)
def test_what_cannot_be_is_one_sentence(home, words, code, says):
    done = gasang(home, *words)
    assert done.returncode == code
    assert says in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
