"""The verbs that look at containers and do something to them, against a daemon that says what the test told it to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gasang.cli import main as command
from support.container_answers import INSPECTED, LINE
from support.fake_daemon import FakeDaemon

if TYPE_CHECKING:
    pass


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
        "web", "0.0", "%", "2", "KiB", "4", "KiB", "–", "0", "B", "0", "B", "0", "B", "0", "B", "0", "–",
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
