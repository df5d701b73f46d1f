"""`run` and `create` of containers, against a daemon that says what the test told it to."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gasang.cli import main as command
from support.container_answers import INSPECTED, ready_to_run, says
from support.fake_daemon import FakeDaemon, Told, frame

if TYPE_CHECKING:
    pass


def test_run_says_all_that_was_asked_for(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ready_to_run(daemon, says())
    options = [
        "-d",
        "--name",
        "web",
        "--rm",
        "-e",
        "A=1",
        "-v",
        f"{tmp_path}:/data:ro",
        "-v",
        "/anonymous",
        "-p",
        "8080:80",
        "-w",
        "/w",
        "-u",
        "www",
    ]
    options += ["--network", "n", "--network-alias", "x", "--entrypoint", "", "--memory", "64M", "--cpus", "0.5", "--init", "--read-only"]
    options += ["--tmpfs", "/t:size=1m", "--cap-add", "NET_ADMIN", "--cap-drop", "ALL", "--privileged", "--label", "a=b", "--hostname", "h"]
    assert command.main(["run", *options, "--platform", "linux/amd64", "busybox", "ls", "-l", "--rm"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("c1\n", "gasang: limits are clamped\n")
    (created,) = daemon.of("POST /containers/create")
    assert created.query == {"name": ["web"], "platform": ["linux/amd64"]}
    made, host = created.document, created.document["HostConfig"]
    assert made["Cmd"] == ["ls", "-l", "--rm"]
    assert (made["Image"], made["Env"], made["WorkingDir"], made["User"]) == ("busybox", ["A=1"], "/w", "www")
    assert (made["Entrypoint"], made["Labels"], made["Hostname"]) == ([""], {"a": "b"}, "h")
    assert (made["AttachStdout"], made["OpenStdin"], made["Tty"]) == (False, False, False)
    assert (made["Volumes"], host["Binds"]) == ({"/anonymous": {}}, [f"{tmp_path}:/data:ro"])
    assert host["PortBindings"] == {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}
    assert (host["Memory"], host["NanoCpus"]) == (64 << 20, 500_000_000)
    assert (host["Init"], host["ReadonlyRootfs"], host["Privileged"], host["AutoRemove"]) == (True, True, True, True)
    assert (host["Tmpfs"], host["CapAdd"], host["CapDrop"]) == ({"/t": "size=1m"}, ["NET_ADMIN"], ["ALL"])
    assert (host["NetworkMode"], made["NetworkingConfig"]) == ("n", {"EndpointsConfig": {"n": {"Aliases": ["x"]}}})
    assert [f"{one.method} {one.path}" for one in daemon.asked][1:] == ["POST /containers/c1/start"]


def test_run_in_the_foreground_waits_before_it_starts(daemon: FakeDaemon, capfd: pytest.CaptureFixture[str]) -> None:
    ready_to_run(daemon, says(frame(1, b"out\n"), frame(2, b"err\n")), code=7)
    assert command.main(["run", "busybox", "true"]) == 7
    said = capfd.readouterr()
    assert (said.out, said.err.splitlines()) == ("out\n", ["gasang: limits are clamped", "err"])
    asked = [f"{one.method} {one.path}" for one in daemon.asked]
    assert asked == [f"POST /containers/{rest}" for rest in ("create", "c1/attach", "c1/wait", "c1/start")]
    assert daemon.asked[2].query == {"condition": ["next-exit"]}
    assert daemon.asked[1].query == {"stream": ["1"], "stdin": ["0"], "stdout": ["1"], "stderr": ["1"], "logs": ["0"]}


def test_only_one_stream_is_shown(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ready_to_run(daemon, says())
    assert command.main(["run", "-a", "stderr", "--cidfile", str(tmp_path / "id"), "busybox"]) == 0
    assert daemon.of("POST /containers/c1/attach")[0].query == {
        "stream": ["1"],
        "stdin": ["0"],
        "stdout": ["0"],
        "stderr": ["1"],
        "logs": ["0"],
    }
    assert (tmp_path / "id").read_text() == "c1"
    assert command.main(["run", "-d", "--cidfile", str(tmp_path / "id"), "busybox"]) == 4
    assert "it is there already; remove it" in capsys.readouterr().err
    assert len(daemon.of("POST /containers/create")) == 1


@pytest.mark.parametrize(("told", "code"), [(127, 127), (126, 126), (128, 125)])
def test_a_start_that_fails_has_the_code_of_a_shell(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], told: int, code: int) -> None:
    ready_to_run(daemon, says(), code=told)
    daemon.answers["POST /containers/c1/start"] = Told({"message": "container c1: cannot execute nope"}, 400)
    assert command.main(["run", "--rm", "busybox", "nope"]) == code
    assert "gasang: container c1: cannot execute nope" in capsys.readouterr().err
    assert daemon.of("POST /containers/c1/wait")[0].query == {"condition": ["removed"]}


def test_a_start_that_fails_without_an_end_is_not_waited_for(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gasang.cli.containers.foreground.SILENCE", 0.05)
    ready_to_run(daemon, says())
    over = threading.Event()
    daemon.answers["POST /containers/c1/wait"] = Told(talk=lambda stream: over.wait(60) and None)
    daemon.answers["POST /containers/c1/start"] = Told({"message": "KeyError: x"}, 500)
    assert command.main(["run", "busybox"]) == 125
    over.set()


def test_an_image_that_is_not_here_is_pulled(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("POST /containers/create", {"message": "No such image: busybox:latest: it is not here"}, status=404)
    daemon.tells("POST /containers/create", {"Id": "c1"}, status=201)
    daemon.tells("POST /images/create", chunks=(b'{"status":"Downloading","id":"l","progressDetail":{"current":5,"total":9}}\n',))
    assert command.main(["--progress=json", "create", "busybox"]) == 0
    said = capsys.readouterr()
    assert said.out == "c1\n"
    assert json.loads(said.err.splitlines()[0])["step"] == "downloading busybox"
    assert daemon.of("POST /images/create")[0].query == {"fromImage": ["busybox"]}
    daemon.answers["POST /containers/create"] = Told({"message": "No such image: busybox:latest: it is not here"}, 404)
    assert command.main(["create", "--pull", "never", "busybox"]) == 3


def test_an_image_that_is_none_is_told_before_anything_is_asked(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["run", "Busy Box!", "true"]) == 2
    assert "image Busy Box!: that is no image's name" in capsys.readouterr().err
    assert daemon.asked == []


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["run", "-p", "x", "busybox"], 2, "--publish 'x': it publishes no port"),
        (["run", "--cpus", "0", "busybox"], 2, "--cpus: '0' is no number of processors"),
        (["run", "--memory", "x", "busybox"], 2, "--memory: 'x' is no size"),
        (["run", "--restart", "x", "busybox"], 2, "there is no policy 'x'"),
        (["run", "--network-alias", "x", "busybox"], 2, "add --network NETWORK"),
        (["run", "-it", "busybox"], 2, "standard input is no terminal"),
        (["exec", "web"], 2, "the command is missing"),
        (["start", "-a", "x", "y"], 2, "only one machine"),
        (["cp", "a", "b"], 2, "one of the two has to be a machine's"),
        (["cp", "a:/x", "b:/y"], 2, "one of the two has to be a machine's"),
        (["network", "lss"], 2, "did you mean ls?"),
        (["network"], 2, "the command is missing"),
        (["build", "/nope"], 3, "context /nope: there is no such folder"),
        (["port", "web", "81"], 3, "port 81/tcp of web: it is not published"),
        (["inspect", "nothing"], 3, "machine or image or network or volume 'nothing': there is none"),
        (["pull", "--vm", "--container", "x"], 2, "an image is of one kind"),
        (["pull", "--again", "busybox"], 2, "option --again"),
        (["logs", "nothing"], 3, "GET /containers/nothing/logs: nothing is there"),
        (["ps", "--filter", "x"], 2, "it is not NAME=VALUE"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], words: list[str], code: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.tells("GET /containers/web/json", INSPECTED)
    monkeypatch.setattr("os.isatty", lambda descriptor: False)
    assert command.main(words) == code
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
