"""The verbs about containers, against a daemon that says what the test told it to."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gasang.cli import main as command
from gasang.cli.containers.frames import MULTIPLEXED
from support.fake_daemon import FakeDaemon, Told, frame

if TYPE_CHECKING:
    from conftest import Person

LINE: dict[str, Any] = {
    "Id": "0123456789abcdef" * 4,
    "Names": ["/web"],
    "Image": "busybox",
    "Command": "sh -c 'sleep\x1b[31m 1000; and something long'",
    "Created": 1_700_000_000,
    "Status": "Up 3 hours",
    "State": "running",
    "Ports": [{"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}],
    "Labels": {"a": "b"},
    "NetworkSettings": {"Networks": {"bridge": {}}},
}
INSPECTED: dict[str, Any] = {
    "Name": "/web",
    "Config": {"Tty": False, "OpenStdin": True},
    "HostConfig": {"AutoRemove": False},
    "State": {"Running": True, "Paused": False, "Status": "running"},
    "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "::1", "HostPort": "8080"}], "53/udp": None}},
}
RAW = {"Content-Type": "application/vnd.docker.raw-stream"}
FRAMED = {"Content-Type": MULTIPLEXED}


def echo(stream: socket.socket) -> None:
    """A command without a terminal that says what it hears, and on its error stream that it is over."""
    while data := stream.recv(1000):
        stream.sendall(frame(1, b"<" + data + b">"))
    stream.sendall(frame(2, b"over"))


def says(*frames: bytes) -> Callable[[socket.socket], None]:
    def talk(stream: socket.socket) -> None:
        stream.sendall(b"".join(frames))

    return talk


def ready_to_run(daemon: FakeDaemon, talk: Callable[[socket.socket], None], code: int = 0) -> None:
    daemon.tells("POST /containers/create", {"Id": "c1", "Warnings": ["limits are clamped"]}, status=201)
    daemon.tells("POST /containers/c1/attach", talk=talk, headers=FRAMED)
    daemon.tells("POST /containers/c1/wait", chunks=(json.dumps({"StatusCode": code}).encode(),))
    daemon.tells("POST /containers/c1/start", status=204)


# lists


def test_ps_shows_a_table_a_program_can_have_it_too(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("GET /containers/json", [LINE])
    assert command.main(["ps", "-a", "--filter", "status=running", "--filter", "status=paused"]) == 0
    titles, line = capsys.readouterr().out.splitlines()
    assert titles.split() == ["NAME", "ID", "KIND", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS"]
    assert line.startswith("web    0123456789ab   container   busybox   sh -c 'sleep\\x1b[31m 1000; and")
    assert line.endswith("Up 3 hours   127.0.0.1:8080->80/tcp")
    assert daemon.asked[0].query == {"all": ["1"], "filters": ['{"status": ["running", "paused"]}']}
    command.main(["ps", "--format", "json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row["created"] == "2023-11-14T22:13:20Z"
    assert (row["id"], row["labels"], row["networks"]) == (LINE["Id"], {"a": "b"}, ["bridge"])
    command.main(["ps", "--format", "name"])
    command.main(["ps", "-q"])
    assert capsys.readouterr().out == f"web\n{LINE['Id']}\n"


@pytest.mark.parametrize(
    ("words", "request_", "answer", "shown"),
    [
        (["diff", "web"], "GET /containers/web/changes", [{"Path": "/a", "Kind": 1}, {"Path": "/b", "Kind": 2}],
         "/a     added\n/b     deleted\n"),
        (["diff", "web"], "GET /containers/web/changes", None, "PATH   KIND\n"),
        (["top", "web"], "GET /containers/web/top", {"Titles": ["PID", "CMD"], "Processes": [["7", "sh"]]}, "7     sh\n"),
        (["port", "web", "80", "--format", "{host}"], "GET /containers/web/json", INSPECTED, "[::1]:8080\n"),
        (["inspect", "web", "--format", "{State.Status}"], "GET /containers/web/json", INSPECTED, "running\n"),
        (["inspect", "web", "--type", "image"], "GET /images/web/json", {"Id": "1"}, '"Id": "1"'),
        (["network", "ls", "--format", "{name} {subnets}"], "GET /networks",
         [{"Name": "n", "Id": "1", "Driver": "bridge", "Internal": False, "Labels": None, "IPAM": {"Config": [{"Subnet": "10.0.0.0/8"}]}}],
         "n ['10.0.0.0/8']\n"),
        (["network", "inspect", "n"], "GET /networks/n", {"Name": "n"}, '"Name": "n"'),
        (["volume", "ls", "--format", "name"], "GET /volumes",
         {"Volumes": [{"Name": "v", "Driver": "local", "Mountpoint": "/v", "Labels": None}]}, "v\n"),
        (["volume", "inspect", "v"], "GET /volumes/v", {"Name": "v"}, '"Name": "v"'),
        (["network", "--help"], "GET /networks", None, "  disconnect  Take a machine out of a network."),
        (["network", "create", "--help"], "GET /networks", None, "--subnet CIDR"),
    ],
)  # fmt: skip
def test_what_is_looked_at(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], words: list[str], request_: str, answer: Any, shown: str
) -> None:
    daemon.tells(request_, answer)
    assert command.main(words) == 0
    assert shown in capsys.readouterr().out


def test_stats_once(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gasang.cli.verbs.stats.EVERY", 0)
    daemon.tells("GET /containers/json", [LINE, {**LINE, "Id": "gone"}])
    daemon.tells(f"GET /containers/{LINE['Id']}/stats", {"id": LINE["Id"], "name": "/web", "memory_stats": {"usage": 2048, "limit": 4096}})
    assert command.main(["stats", "--no-stream"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "web", "0.0", "%", "2", "KiB", "4", "KiB", "0", "B", "0", "B", "0", "B", "0", "B", "0",
    ]  # fmt: skip
    assert command.main(["stats", "--no-stream", "gone"]) == 3


def test_events_are_a_line_each(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    event = {"Type": "container", "Action": "die", "time": 0, "Actor": {"ID": "1", "Attributes": {"name": "web", "exitCode": "7"}}}
    daemon.tells("GET /events", chunks=(json.dumps(event).encode() + b"\r\n",))
    assert command.main(["events", "--since", "10m"]) == 0
    assert capsys.readouterr().out == "1970-01-01T00:00:00Z container die web (exitCode=7)\n"
    command.main(["events", "--format", "json"])
    assert json.loads(capsys.readouterr().out)["attributes"] == {"name": "web", "exitCode": "7"}
    assert daemon.asked[0].query == {"since": ["10m"]}


# what is done to machines


@pytest.mark.parametrize(
    ("words", "request_", "query"),
    [
        (["start", "a"], "POST /containers/a/start", {}),
        (["stop", "-t", "5", "a"], "POST /containers/a/stop", {"t": ["5"]}),
        (["restart", "-s", "INT", "a"], "POST /containers/a/restart", {"signal": ["INT"]}),
        (["kill", "-s", "HUP", "a"], "POST /containers/a/kill", {"signal": ["HUP"]}),
        (["pause", "a"], "POST /containers/a/pause", {}),
        (["unpause", "a"], "POST /containers/a/unpause", {}),
        (["rm", "-fv", "a"], "DELETE /containers/a", {"force": ["1"], "v": ["1"]}),
        (["rename", "a", "b"], "POST /containers/a/rename", {"name": ["b"]}),
        (["tag", "x/a:1", "b:2"], "POST /images/x/a:1/tag", {"repo": ["b:2"]}),
        (["network", "rm", "a"], "DELETE /networks/a", {}),
        (["volume", "rm", "-f", "a"], "DELETE /volumes/a", {"force": ["1"]}),
    ],
)
def test_what_is_done(daemon: FakeDaemon, words: list[str], request_: str, query: dict[str, list[str]]) -> None:
    daemon.tells(request_, status=204)
    assert command.main(words) == 0
    (asked,) = daemon.asked
    assert (f"{asked.method} {asked.path}", asked.query) == (request_, query)


def test_each_is_tried_and_the_first_failure_gives_the_code(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("POST /containers/b/stop", {"message": "container b: it sleeps; wake it"}, status=409)
    daemon.tells("POST /containers/c/stop", status=304)
    assert command.main(["stop", "b", "a", "c"]) == 4
    said = capsys.readouterr()
    assert said.out == "c\n"
    assert said.err.splitlines() == [
        "gasang: container b: it sleeps; wake it",
        "gasang: POST /containers/a/stop: nothing is there; try another",
    ]


def test_wait_prints_codes(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("POST /containers/a/wait", {"StatusCode": 7})
    assert command.main(["wait", "a"]) == 0
    assert capsys.readouterr().out == "7\n"


def test_what_is_made(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("POST /commit", {"Id": "sha256:1"}, status=201)
    daemon.tells("POST /networks/create", {"Id": "n1"}, status=201)
    daemon.tells("POST /networks/n/connect")
    daemon.tells("POST /networks/n/disconnect")
    daemon.tells("POST /volumes/create", {"Name": "v"}, status=201)
    assert command.main(["commit", "--no-pause", "-c", 'CMD ["x"]', "web", "kept:1"]) == 0
    assert daemon.asked[-1].query == {"container": ["web"], "repo": ["kept:1"], "changes": ['CMD ["x"]'], "pause": ["0"]}
    assert command.main(["network", "create", "--subnet", "10.1.0.0/24", "--internal", "--label", "a=b", "n"]) == 0
    made = daemon.asked[-1].document
    assert (made["Internal"], made["Labels"], made["IPAM"]) == (True, {"a": "b"}, {"Config": [{"Subnet": "10.1.0.0/24"}]})
    assert command.main(["network", "connect", "--alias", "db", "--ip", "10.1.0.9", "n", "web"]) == 0
    endpoint = {"Aliases": ["db"], "IPAMConfig": {"IPv4Address": "10.1.0.9"}}
    assert daemon.asked[-1].document == {"Container": "web", "EndpointConfig": endpoint}
    assert command.main(["network", "disconnect", "-f", "n", "web"]) == 0
    assert command.main(["volume", "create", "v"]) == 0
    assert capsys.readouterr().out == "sha256:1\nn1\nv\n"


# run


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


# streams


def script(*words: str) -> str:
    return f"import sys\nfrom gasang.cli.main import main\nsys.exit(main({list(words)!r}))\n"


def piped(daemon: FakeDaemon, data: bytes, *words: str) -> tuple[int, bytes, bytes]:
    import subprocess

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", script(*words)], input=data, capture_output=True, check=False, timeout=60, env=environment)
    return done.returncode, done.stdout, done.stderr


def test_input_goes_in_and_its_end_too(daemon: FakeDaemon) -> None:
    ready_to_run(daemon, echo, code=3)
    code, out, err = piped(daemon, b"hello", "run", "-i", "busybox", "cat")
    assert (code, out) == (3, b"<hello>")
    assert err.endswith(b"over")


def test_exec_passes_on_the_code_even_if_it_comes_late(daemon: FakeDaemon) -> None:
    daemon.tells("POST /containers/web/exec", {"Id": "e1"}, status=201)
    daemon.tells("POST /exec/e1/start", talk=echo, headers=FRAMED)
    daemon.tells("GET /exec/e1/json", {"Running": True, "ExitCode": None})
    daemon.tells("GET /exec/e1/json", {"Running": True, "ExitCode": None})
    daemon.tells("GET /exec/e1/json", {"Running": False, "ExitCode": 9})
    ended = {"Type": "container", "Action": "exec_die", "Actor": {"ID": "web", "Attributes": {"execID": "e1"}}}
    daemon.tells("GET /events", chunks=(b'{"Actor":{"Attributes":{"execID":"other"}}}\n', json.dumps(ended).encode() + b"\n"))
    assert piped(daemon, b"x", "exec", "-i", "-e", "A=1", "-w", "/w", "-u", "me", "web", "cat", "-n") == (9, b"<x>", b"over")
    made = daemon.of("POST /containers/web/exec")[0].document
    assert (made["Cmd"], made["Env"], made["WorkingDir"], made["User"]) == (["cat", "-n"], ["A=1"], "/w", "me")


def test_exec_in_the_background(daemon: FakeDaemon) -> None:
    daemon.tells("POST /containers/web/exec", {"Id": "e1"}, status=201)
    daemon.tells("POST /exec/e1/start")
    assert command.main(["exec", "-d", "web", "touch", "/x"]) == 0
    assert daemon.asked[-1].document == {"Detach": True, "Tty": False}


def test_logs_go_where_they_came_from(daemon: FakeDaemon, capfd: pytest.CaptureFixture[str]) -> None:
    data = frame(1, b"out\n") + frame(2, b"err\n")
    daemon.tells("GET /containers/web/logs", chunks=(data[:5], data[5:]), headers=FRAMED)
    daemon.tells("GET /containers/tty/logs", b"as it is\x01\n", headers=RAW)
    assert command.main(["logs", "-f", "--tail", "5", "-t", "web"]) == 0
    assert capfd.readouterr() == ("out\n", "err\n")
    assert daemon.asked[0].query == {"stdout": ["1"], "stderr": ["1"], "follow": ["1"], "tail": ["5"], "timestamps": ["1"]}
    assert command.main(["logs", "tty"]) == 0
    assert capfd.readouterr().out == "as it is\x01\n"


def test_attach_wants_a_machine_that_runs(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("GET /containers/web/json", {**INSPECTED, "State": {"Running": False, "Paused": False, "Status": "exited"}})
    assert command.main(["attach", "web"]) == 4
    assert "machine web: it is exited; gasang start -i starts it" in capsys.readouterr().err


def raw_echo(stream: socket.socket) -> None:
    """A terminal's other end: says what it hears until it hears q."""
    stream.sendall(b"ready\r\n")
    while (data := stream.recv(1000)) and data != b"q":
        stream.sendall(b"<" + data + b">")


def ready_for_a_terminal(daemon: FakeDaemon) -> None:
    ready_to_run(daemon, raw_echo, code=5)
    daemon.tells("POST /containers/c1/resize")
    daemon.answers["POST /containers/c1/attach"] = Told(talk=raw_echo, headers=RAW)


def test_a_terminal_has_every_key_and_its_size(daemon: FakeDaemon, in_terminal: Callable[..., Person]) -> None:
    ready_for_a_terminal(daemon)
    person = in_terminal(script("run", "-it", "busybox"))
    person.reads_until(b"ready")
    person.types(b"\x03\x10x")
    person.reads_until(b"<\x03\x10x>")
    person.resize(91, 33)
    person.types(b"again")
    person.reads_until(b"<again>")
    person.types(b"q")
    assert person.exit_code() == 5
    assert not person.is_raw()
    assert {"h": ["33"], "w": ["91"]} in [one.query for one in daemon.of("POST /containers/c1/resize")]
    assert daemon.of("POST /containers/create")[0].document["Tty"] is True


@pytest.mark.parametrize("keys", [b"\x1d", b"\x10\x11"])
def test_a_person_leaves_a_machine_running(daemon: FakeDaemon, in_terminal: Callable[..., Person], keys: bytes) -> None:
    ready_for_a_terminal(daemon)
    person = in_terminal(script("run", "-it", "busybox"))
    person.reads_until(b"ready")
    person.types(keys)
    person.reads_until(b"c1 goes on; gasang attach c1 comes back to it")
    assert person.exit_code() == 0
    assert daemon.of("POST /containers/c1/stop") == []


def greet_and_echo(stream: socket.socket) -> None:
    stream.sendall(frame(1, b"ready\n"))
    echo(stream)


def test_a_second_interrupt_stops_the_machine(daemon: FakeDaemon, in_terminal: Callable[..., Person]) -> None:
    ready_to_run(daemon, echo)
    daemon.tells("POST /containers/c1/stop", status=204)
    daemon.answers["POST /containers/c1/attach"] = Told(talk=greet_and_echo, headers=FRAMED)
    person = in_terminal(script("run", "-i", "busybox"))
    person.reads_until(b"ready")
    person.types(b"\x03")
    person.reads_until(b"press Ctrl-C again to stop it")
    assert daemon.of("POST /containers/c1/stop") == []
    person.types(b"\x03")
    person.reads_until(b"stopping the machine")
    assert person.exit_code() == 130
    assert len(daemon.of("POST /containers/c1/stop")) == 1


# images and archives


def test_images_of_both_kinds(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    image = {"Id": "sha256:" + "ab" * 32, "RepoTags": ["busybox:latest", "b:2"], "Created": 0, "Size": 2048}
    daemon.tells("GET /images/json", [image, {**image, "RepoTags": []}])
    daemon.tells(f"GET /images/{image['Id']}/json", {"Architecture": "amd64"})
    assert command.main(["images", "--format", "{reference} {kind} {architecture}"]) == 0
    assert capsys.readouterr().out == f"busybox:latest container amd64\nb:2 container amd64\n{image['Id']} container amd64\n"
    assert command.main(["images", "--vm", "--format", "name"]) == 0
    assert capsys.readouterr().out == ""


def test_pull_push_and_rmi_of_container_images(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("POST /images/create", chunks=(b'{"status":"Pulling"}\n',))
    daemon.tells("POST /images/localhost:5000/x/push", chunks=(b"{}\n",))
    daemon.tells("DELETE /images/localhost:5000/x:1", [{"Untagged": "localhost:5000/x:1"}, {"Deleted": "sha256:1"}])
    assert command.main(["pull", "localhost:5000/x:1"]) == 0
    assert command.main(["pull", "--container", "debian:trixie"]) == 0
    assert command.main(["push", "localhost:5000/x:1"]) == 0
    assert command.main(["push", "localhost:5000/x"]) == 0
    assert command.main(["rmi", "localhost:5000/x:1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "localhost:5000/x:1", "debian:trixie", "localhost:5000/x:1", "localhost:5000/x", "removed localhost:5000/x:1", "removed sha256:1",
    ]  # fmt: skip
    assert [one.query["tag"] for one in daemon.of("POST /images/localhost:5000/x/push")] == [["1"], ["latest"]]


def test_a_pull_that_fails_says_so(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("POST /images/create", chunks=(b'{"errorDetail":{"message":"registry r: it stalls; wait"},"error":"e"}\n',))
    assert command.main(["pull", "localhost:5000/x"]) == 1
    assert capsys.readouterr().err == "gasang: registry r: it stalls; wait\n"


def test_an_image_in_the_making_is_shown_step_by_step(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[dict[str, object]] = [
        {"status": "Pulling from library/debian", "id": "sid"},
        {"status": "docker.io cannot be reached\x1b: making debian:sid"},
        {"status": "Downloading 3 packages", "id": "sid", "progressDetail": {}},
        {"status": "Downloading 3 packages", "id": "sid", "progressDetail": {"current": 5, "total": 9}},
        {"status": "Downloading 3 packages", "id": "sid", "progressDetail": {"current": 9, "total": 9}},
        {"status": "Configuring", "id": "sid", "progressDetail": {"current": 3, "total": 3, "units": "packages"}},
        {"status": "Digest: sha256:0"},
        {"status": "Status: Made image debian:sid"},
    ]
    daemon.tells("POST /images/create", chunks=tuple(f"{json.dumps(line)}\n".encode() for line in lines))
    assert command.main(["--progress=json", "pull", "--container", "debian:sid"]) == 0
    note, *events = capsys.readouterr().err.splitlines()
    assert note == "gasang: docker.io cannot be reached\\x1b: making debian:sid"
    ended = [event for event in map(json.loads, events) if event["state"] == "ended"]
    assert [(event["step"], event["done"], event["total"], event["unit"]) for event in ended] == [
        ("downloading 3 packages", 9, 9, "bytes"), ("configuring", 3, 3, "packages"),
    ]  # fmt: skip


def test_archives_out_and_in(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    daemon.tells("GET /images/get", chunks=(b"tar", b"data"))
    daemon.tells("POST /images/load", chunks=(b'{"stream":"Loaded image: x:1\\n"}\n',))
    assert command.main(["save", "-o", str(tmp_path / "x.tar"), "x:1", "y"]) == 0
    assert daemon.asked[0].query == {"names": ["x:1", "y"]}
    assert (tmp_path / "x.tar").read_bytes() == b"tardata"
    assert command.main(["load", "-i", str(tmp_path / "x.tar")]) == 0
    assert daemon.asked[1].body == b"tardata"
    assert capsys.readouterr().out == "x:1\n"
    daemon.answers["GET /images/get"] = Told({"message": "No such image: z: pull it"}, 404)
    assert command.main(["save", "-o", str(tmp_path / "z.tar"), "z"]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]


def test_a_build_tells_its_steps_apart_from_its_result(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    steps = (b'{"stream":"Step 1/1 : FROM scratch\\n"}\r\n', b'{"aux":{"ID":"sha256:1"}}\r\n')
    daemon.tells("POST /build", chunks=steps)
    assert command.main(["build", "-t", "a:1", "-t", "b", "--build-arg", "X=1", "--no-cache", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("sha256:1\n", "Step 1/1 : FROM scratch\n")
    query = daemon.asked[0].query
    assert (query["t"], query["buildargs"], query["nocache"], query["dockerfile"]) == (["a:1", "b"], ['{"X": "1"}'], ["1"], ["Dockerfile"])
    assert b"FROM scratch" in daemon.asked[0].body
    daemon.answers["POST /build"] = Told(chunks=(b'{"errorDetail":{"message":"it failed"},"error":"e"}\n',))
    assert command.main(["build", str(tmp_path)]) == 1


# the daemon itself


def test_none_is_started_where_the_settings_forbid_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as home:
        monkeypatch.setenv("GASANG_HOME", home)
        monkeypatch.setenv("GASANG_AUTOSTART", "no")
        assert command.main(["ps"]) == 9
        assert "daemon: none runs" in capsys.readouterr().err
        assert command.main(["images"]) == 0


def test_one_is_started_where_none_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as home:
        monkeypatch.setenv("GASANG_HOME", home)
        started: list[FakeDaemon] = []

        def ensure(folders: Any) -> int:
            started.append(FakeDaemon(folders.socket))
            started[0].tells("GET /containers/json", [LINE])
            return 1

        monkeypatch.setattr("gasang.api.manage.ensure", ensure)
        assert command.main(["ps", "--format", "name"]) == 0
        assert capsys.readouterr().out == "web\n"
        started[0].close()


# the foreground, in other ways


def wait_for_signal(daemon: FakeDaemon) -> Callable[[socket.socket], None]:
    """A command that ends when a signal has been sent to it."""

    def talk(stream: socket.socket) -> None:
        stream.sendall(frame(1, b"ready\n"))
        while not daemon.of("POST /containers/c1/kill"):
            threading.Event().wait(0.01)

    return talk


def test_signals_are_passed_on_where_that_is_asked_for(daemon: FakeDaemon, in_terminal: Callable[..., Person]) -> None:
    ready_to_run(daemon, echo, code=143)
    daemon.answers["POST /containers/c1/attach"] = Told(talk=wait_for_signal(daemon), headers=FRAMED)
    daemon.tells("POST /containers/c1/kill", status=204)
    person = in_terminal(script("run", "--sig-proxy", "busybox"))
    person.reads_until(b"ready")
    person.sends(signal.SIGTERM)
    assert person.exit_code() == 143
    assert daemon.of("POST /containers/c1/kill")[0].query == {"signal": ["15"]}
    assert daemon.of("POST /containers/c1/stop") == []


def test_keys_of_ones_own_leave_a_machine_running(daemon: FakeDaemon, in_terminal: Callable[..., Person]) -> None:
    ready_for_a_terminal(daemon)
    person = in_terminal(script("run", "-it", "--detach-keys", "ctrl-a,d", "busybox"))
    person.reads_until(b"ready")
    person.types(b"\x1d\x01x")
    person.reads_until(b"<\x1d\x01x>")
    person.types(b"\x01d")
    person.reads_until(b"goes on")
    assert person.exit_code() == 0
    assert daemon.of("POST /containers/c1/attach")[0].query["detachKeys"] == ["ctrl-a,d"]


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


def test_an_image_that_is_none_is_told_before_anything_is_asked(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["run", "Busy Box!", "true"]) == 2
    assert "image Busy Box!: that is no image's name" in capsys.readouterr().err
    assert daemon.asked == []
