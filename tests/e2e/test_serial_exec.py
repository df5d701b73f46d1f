"""`gasang exec` and `docker exec` in a guest without an agent: the command is typed at its serial console, or a sentence says why not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from e2e.test_imported import kept
from gasang.native.cache import default_directory
from support.engines.verbs import Gasang, served
from support.foreign_disks import LOGIN, SHELL, foreign_disk
from support.supervised import eventually as eventually_within

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

eventually = partial(eventually_within, limit=120.0)


@pytest.fixture(scope="module")
def gasang(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gasang]:
    """A machine called web whose imported disk has a shell at its console, and one called login."""
    place = tmp_path_factory.mktemp("disks")
    with ExitStack() as undo:
        patch = undo.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("GASANG_NATIVE_CACHE", str(default_directory()))
        command = undo.enter_context(served())
        for name, words in (("web", SHELL), ("login", LOGIN)):
            (place / "disk.img").write_bytes(foreign_disk(place, *kept(), "riscv64", words))
            command("image", "import", str(place / "disk.img"), name)
            command("run", "-d", "--name", name, "--network", "none", "--memory", "256M", "--vm", name)
        yield command


def test_a_command_and_its_code(gasang: Gasang) -> None:
    """Asked for while it still boots."""
    done = gasang.run("exec", "web", "sh", "-c", "cat /etc/hostname; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, b"imported\nerr\n"), done
    assert b"gasang: what runs in it is its imported disk's own, in which there is no agent: the command runs at its serial" in done.stderr
    assert gasang("exec", "-w", "/etc", "-e", "A=b c", "web", "sh", "-c", 'pwd; echo "$A"') == "/etc\nb c\n"
    assert gasang.run("exec", "web", "/not/there").returncode == 127


def test_much_output_and_a_twin(gasang: Gasang) -> None:
    assert gasang("exec", "web", "seq", "5000").split() == [str(number) for number in range(1, 5001)]
    twin = gasang("fork", "web", "--format", "{name}").strip()
    gasang("exec", twin, "touch", "/only-there")
    assert gasang("exec", "web", "sh", "-c", "ls /only-there || true").strip().endswith("No such file or directory")
    assert gasang("exec", twin, "ls", "/only-there") == "/only-there\n"
    gasang("rm", "-f", twin)


def test_what_a_console_cannot_do(gasang: Gasang) -> None:
    for words, says in ((("-u", "1000"), b"whose shell it is"), (("-i",), b"needs a terminal")):
        done = gasang.run("exec", *words, "web", "true")
        assert (done.returncode, says in done.stderr) == (126, True), done


def test_one_at_a_time(gasang: Gasang) -> None:
    words = [sys.executable, "-m", "gasang", "exec", "web", "sh", "-c", "echo on; sleep 1000"]
    with subprocess.Popen(words, env=gasang.environment, stdout=subprocess.PIPE) as busy:
        assert busy.stdout is not None
        assert busy.stdout.readline() == b"on\n"
        done = gasang.run("exec", "web", "true")
        assert (done.returncode, b"another command runs at its serial console" in done.stderr) == (126, True), done
        gasang("restart", "-t", "1", "web")
        busy.wait(60)
    assert gasang("exec", "web", "echo", "again") == "again\n"


def test_a_login_is_asked_for(gasang: Gasang) -> None:
    done = gasang.run("exec", "login", "id")
    assert done.returncode == 126
    assert (
        b"machine login: what runs in it is its imported disk's own, in which there is no agent; and its serial console asks for a login"
        in done.stderr
    )
    assert b"gasang attach" in done.stderr


@pytest.mark.skipif(not shutil.which("docker"), reason="needs the docker client")
def test_the_docker_client(gasang: Gasang) -> None:
    environment = {**gasang.environment, "DOCKER_HOST": f"unix://{gasang.home}/run/docker.sock"}
    done = subprocess.run(
        ["docker", "exec", "web", "sh", "-c", "echo hi; exit 3"], env=environment, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (3, b"hi\n"), done
    done = subprocess.run(["docker", "exec", "login", "id"], env=environment, capture_output=True, timeout=90, check=False)
    assert (done.returncode, b"asks for a login" in done.stdout + done.stderr) == (126, True), done


def test_from_python(gasang: Gasang) -> None:
    program = """
import gasang, json
done = gasang.machine("web").exec(["sh", "-c", "echo out; exit 4"])
print(json.dumps([done.code, done.output.decode(), "serial console" in done.errors.decode()]))
"""
    done = subprocess.run([sys.executable, "-c", program], env=gasang.environment, capture_output=True, timeout=90, check=True)
    assert json.loads(done.stdout) == [4, "out\n", True]


def test_what_is_kept_of_it(gasang: Gasang) -> None:
    """In the log, as all that a console shows; the console is free for others."""
    gasang("exec", "web", "echo", "in the log")
    eventually(lambda: "in the log" in gasang("logs", "web"))
    assert Path(f"/proc/{gasang.inspect('web', 'State.Pid')}").exists()
