"""Bundles by the command line of OCI runtimes: each command as an engine calls it, hooks, terminals, and what is left behind."""

from __future__ import annotations

import array
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gasang.cli.main import main
from gasang.core.errors import BadInputError
from gasang.kinds.container.bundle import Bundles, Record
from gasang.kinds.container.launching import launcher
from support.containers import configuration, groups_of_tests, make_root, mounts_of_host, needs_containers, script

pytestmark = needs_containers


class Oci:
    """`gasang oci` with a folder of states of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = folder / "bundle"
        make_root(self.bundle / "rootfs")
        self.name = f"test-{os.getpid()}-{folder.name}"

    def configure(self, data: dict[str, Any]) -> None:
        data["linux"].setdefault("cgroupsPath", f"/{self.name}")
        (self.bundle / "config.json").write_text(json.dumps(data))

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["oci", "--root", str(self.folder / "state"), "--log", str(self.folder / "log"), "--log-format", "json", *words])
        return code, out.getvalue(), err.getvalue()

    def good(self, *words: str) -> str:
        code, out, err = self(*words)
        assert code == 0, err
        return out

    def process(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """As a process of its own, whose output is a file."""
        program = "import sys; from gasang.cli.main import main; sys.exit(main(sys.argv[1:]))"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", program, "oci", "--root", str(self.folder / "state"), *words]
        return subprocess.Popen(command, env=environment, **options)

    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.good("state", self.name)))

    def create(self, data: dict[str, Any], *words: str) -> None:
        self.configure(data)
        self.good("create", "--bundle", str(self.bundle), *words, self.name)


@pytest.fixture
def oci(tmp_path: Path) -> Iterator[Oci]:
    made = Oci(tmp_path)
    yield made
    made("delete", "--force", made.name)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_life_as_the_specification_has_it(oci: Oci) -> None:
    launcher()  # kept open from its first use on
    before = (mounts_of_host(oci.folder), groups_of_tests(), sorted(os.listdir("/proc/self/fd")))
    oci.create(script("exit 3"), "--pid-file", str(oci.folder / "pid"))
    state = oci.state()
    assert (state["status"], state["bundle"], state["ociVersion"]) == ("created", str(oci.bundle), "1.2.0")
    assert int((oci.folder / "pid").read_text()) == state["pid"]
    assert Path(f"/proc/{state['pid']}").exists()
    oci.good("start", oci.name)
    assert ended(state["pid"]) == 3
    assert (oci.state()["status"], oci.state()["pid"]) == ("stopped", 0)
    oci.good("delete", oci.name)
    code, _, err = oci("state", oci.name)
    assert (code, "does not exist" in err) == (3, True)
    assert json.loads((oci.folder / "log").read_text().splitlines()[-1])["level"] == "error"
    assert (mounts_of_host(oci.folder), groups_of_tests(), sorted(os.listdir("/proc/self/fd"))) == before


def test_what_does_not_fit_the_state_is_refused(oci: Oci) -> None:
    oci.create(script("exec sleep 100"))
    assert oci("create", "--bundle", str(oci.bundle), oci.name)[0] == 4
    oci.good("start", oci.name)
    assert oci("start", oci.name)[0] == 4
    assert oci("delete", oci.name)[0] == 4
    assert oci.good("list", "-q") == f"{oci.name}\n"
    assert json.loads(oci.good("list", "--format", "json"))[0]["status"] == "running"
    assert oci.name in oci.good("list")
    pid = oci.state()["pid"]
    oci.good("kill", oci.name, "SIGKILL")
    assert ended(pid) == -signal.SIGKILL
    code, _, err = oci("kill", oci.name, "TERM")
    assert (code, "container not running" in err) == (4, True)
    assert oci("exec", oci.name, "true")[0] == 4
    oci.good("delete", oci.name)
    assert oci("delete", oci.name)[0] == 3
    oci.good("delete", "--force", oci.name)


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "../x", "a b", "x" * 1025])
def test_names_that_are_no_names(oci: Oci, name: str) -> None:
    oci.configure(configuration("true"))
    assert oci("create", "--bundle", str(oci.bundle), name)[0] in (2, 3)
    assert oci("state", name)[0] in (2, 3)


def test_a_program_that_is_missing_fails_at_create(oci: Oci) -> None:
    oci.configure(configuration("nothing"))
    code, _, err = oci("create", "--bundle", str(oci.bundle), oci.name)
    assert code != 0
    assert "executable file not found in $PATH" in err
    assert not (oci.folder / "state" / oci.name).exists()


def test_bundles_that_are_none(oci: Oci) -> None:
    assert oci("create", "--bundle", str(oci.folder), oci.name)[0] == 3
    (oci.bundle / "config.json").write_text("{")
    assert "no JSON" in oci("create", "--bundle", str(oci.bundle), oci.name)[2]
    data = configuration("true")
    data["root"]["path"] = "nothing"
    oci.configure(data)
    assert oci("create", "--bundle", str(oci.bundle), oci.name)[0] == 3


def test_processes_inside(oci: Oci) -> None:
    oci.create(script("exec sleep 100"))
    oci.good("start", oci.name)
    with oci.process("exec", "--cwd", "/tmp", "--env", "A=b", "--user", "5:6", oci.name, "sh", "-c", "pwd; echo $A; id -u; id -g; exit 9",
                     stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.communicate()[0].decode().splitlines() == ["/tmp", "b", "5", "6"]
        assert process.returncode == 9
    (oci.folder / "process.json").write_text(json.dumps({"args": ["sleep", "50"], "cwd": "/"}))
    oci.good("exec", "--detach", "--pid-file", str(oci.folder / "pid"), "--process", str(oci.folder / "process.json"), oci.name)
    inside = int((oci.folder / "pid").read_text())
    assert json.loads(oci.good("ps", "--format", "json", oci.name)) == sorted([oci.state()["pid"], inside])
    assert "sleep 50" in oci.good("ps", oci.name)
    assert oci("exec", oci.name, "nothing")[0] == 127
    assert oci("exec", oci.name)[0] == 2
    oci.good("kill", "--all", oci.name, "KILL")
    assert ended(inside) == -signal.SIGKILL


def test_pause_update_and_events(oci: Oci) -> None:
    oci.create(script("exec sleep 100"))
    oci.good("start", oci.name)
    oci.good("pause", oci.name)
    assert oci.state()["status"] == "paused"
    assert oci("exec", oci.name, "true")[0] == 4
    oci.good("resume", oci.name)
    assert oci.state()["status"] == "running"
    oci.good("update", "--memory", "64M", "--pids-limit", "20", oci.name)
    (oci.folder / "limits").write_text(json.dumps({"cpu": {"shares": 100}}))
    oci.good("update", "--resources", str(oci.folder / "limits"), oci.name)
    event = json.loads(oci.good("events", "--stats", oci.name))
    assert (event["type"], event["data"]["memory"]["usage"]["limit"]) == ("stats", 64 << 20)
    assert event["data"]["pids"] == {"current": 1, "limit": 20}
    assert oci("update", oci.name)[0] == 2
    oci.good("pause", oci.name)
    oci.good("delete", "--force", oci.name)


def test_run_in_the_foreground(oci: Oci) -> None:
    oci.configure(script("echo out; echo err >&2; cat; exit 6"))
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with oci.process("run", "--bundle", str(oci.bundle), oci.name, **pipes) as process:
        out, err = process.communicate(b"in\n")
    assert (out, err, process.returncode) == (b"out\nin\n", b"err\n", 6)
    assert oci("state", oci.name)[0] == 3


def test_signals_are_passed_on(oci: Oci) -> None:
    oci.configure(script("trap 'echo got; exit 4' TERM; echo ready; while true; do sleep 0.02; done"))
    with oci.process("run", "--bundle", str(oci.bundle), oci.name, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.stdout.read() == b"got\n"
    assert process.returncode == 4


def test_a_terminal_goes_to_the_console_socket(oci: Oci) -> None:
    text = "stty size; tty; ls -l /dev/console | cut -c1; read line; echo got $line; exec sleep 100"
    data = script(text, consoleSize={"height": 33, "width": 77})
    data["process"]["terminal"] = True
    path = oci.folder / "console"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        oci.create(data, "--console-socket", str(path))
        connection, _ = server.accept()
        name, ancillary, _, _ = connection.recvmsg(100, socket.CMSG_SPACE(4))
        connection.close()
    rights = array.array("i")
    rights.frombytes(ancillary[0][2][:4])
    assert name == b"/dev/pts/ptmx"
    oci.good("start", oci.name)
    os.write(rights[0], b"hello\n")
    shown = b""
    while b"got hello\r\n" not in shown:
        shown += os.read(rights[0], 1000)
    assert b"33 77\r\n/dev/pts/0\r\nc\r\n" in shown.replace(b"hello\r\n", b"", 1)
    os.close(rights[0])


def test_a_terminal_in_the_foreground(oci: Oci) -> None:
    data = script("tty; read line; echo got $line; exit 5")
    data["process"]["terminal"] = True
    oci.configure(data)
    with oci.process("run", "--bundle", str(oci.bundle), oci.name, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        out, _ = process.communicate(b"word\n")
    assert process.returncode == 5
    assert b"/dev/pts/0" in out
    assert b"got word" in out
    assert oci("state", oci.name)[0] == 3


def test_hooks_run_where_and_when_they_should(oci: Oci) -> None:
    points = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    data = configuration("true")
    data["mounts"].append({"destination": "/told", "type": "bind", "source": str(oci.folder), "options": ["bind"]})
    words = '$(uname -n) $(echo $s | grep -o \'"status": *"[a-z]*"\' | cut -d\'"\' -f4)'
    data["hooks"] = {
        point: [
            {
                "path": "/bin/sh",
                "args": ["sh", "-c", f"read s; echo {point} {words} >> {'/told' if point == 'startContainer' else oci.folder}/log.hooks"],
                "env": ["PATH=/usr/bin:/bin"],
                "timeout": 10,
            }
        ]
        for point in points
    }
    oci.create(data)
    told = (oci.folder / "log.hooks").read_text().splitlines()
    here = os.uname().nodename
    assert told == [f"prestart {here} creating", f"createRuntime {here} creating", "createContainer gasang creating"]
    pid = oci.state()["pid"]
    oci.good("start", oci.name)
    ended(pid)
    oci.good("delete", oci.name)
    told = (oci.folder / "log.hooks").read_text().splitlines()[3:]
    assert sorted(line.split()[0] for line in told) == ["poststart", "poststop", "startContainer"]
    assert "startContainer gasang creating" in told
    assert told[-1] == f"poststop {here} stopped"


@pytest.mark.parametrize("point", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_fails_ends_the_creation(oci: Oci, point: str) -> None:
    data = configuration("true")
    data["hooks"] = {point: [{"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}]}
    oci.configure(data)
    code, _, err = oci("create", "--bundle", str(oci.bundle), oci.name)
    assert code != 0
    assert "exit code 3" in err
    assert "/bin/sh" in err
    assert oci("state", oci.name)[0] == 3


@pytest.mark.parametrize("point", ["prestart", "createContainer"])
def test_a_hook_that_takes_too_long_is_ended(oci: Oci, point: str) -> None:
    data = configuration("true")
    data["hooks"] = {point: [{"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}]}
    oci.configure(data)
    code, _, err = oci("create", "--bundle", str(oci.bundle), oci.name)
    assert code != 0
    assert "not ended after 1 s" in err or "timed out" in err


def test_a_container_whose_process_is_gone_is_stopped_whoever_has_its_number(oci: Oci) -> None:
    oci.create(script("exec sleep 100"))
    bundles = Bundles(oci.folder / "state")
    record = bundles.record(oci.name)
    assert bundles.status(record) == "created"
    other = Record(**{**vars(record), "started_at": record.started_at + 1})
    assert bundles.status(other) == "stopped"
    other = Record(**{**vars(record), "pid": os.getpid()})
    assert bundles.status(other) == "stopped"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2}', '{"version": 1, "identity": "x"}'])
def test_a_damaged_record_is_told(text: str) -> None:
    with pytest.raises(BadInputError, match="damaged"):
        Record.load(text, "container x")


def test_about_the_runtime(oci: Oci, monkeypatch: pytest.MonkeyPatch) -> None:
    features = json.loads(oci.good("features"))
    assert features["ociVersionMax"] == "1.2.0"
    assert "mount" in features["linux"]["namespaces"]
    monkeypatch.chdir(oci.folder)
    oci.good("spec")
    assert oci("spec")[0] == 4
    assert json.loads(Path("config.json").read_text())["process"]["args"] == ["sh"]
    assert oci.good("--version").startswith("gasang oci version ")
    assert "Usage" in oci.good("create", "--help")
    assert oci("--systemd-cgroup", "list")[0] == 6
    assert oci("lst")[0] == 2
    assert oci()[0] == 2
