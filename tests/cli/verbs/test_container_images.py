"""The verbs about images of containers, archives and builds, against a daemon that says what the test told it to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gasang.cli import main as command
from support.fake_daemon import FakeDaemon, Told

if TYPE_CHECKING:
    pass


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
