"""The verbs about virtual machines behind the daemon, against one that says what the test told it to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gasang.cli import main as command
from support.fake_daemon import FakeDaemon

KEY = "a" * 64


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a file in the present folder."""
    (tmp_path / "Image").write_bytes(b"kernel")
    monkeypatch.chdir(tmp_path)
    return "Image"


def test_a_machine_in_the_background(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], kernel: str) -> None:
    daemon.tells("POST /gasang/vms/create", {"Id": KEY, "Name": "web"}, status=201)
    daemon.tells(f"POST /containers/{KEY}/start", status=204)
    words = ["--name", "web", "--cpus", "2", "--memory", "512M", "--append", "quiet", "--label", "a=b", "--restart", "always",
             "--log-opt", "max-size=1m", "--hostname", "h", "--disk", f"{kernel},readonly", "--network", "lan", "--ip", "10.0.0.9",
             "-p", "8080:80", "--dns", "1.1.1.1", "--stop-signal", "INT", "--health-cmd", "true"]  # fmt: skip
    assert command.main(["run", "-d", "--kernel", kernel, *words]) == 0
    assert capsys.readouterr().out == f"{KEY}\n"
    asked = daemon.of("POST /gasang/vms/create")[0]
    assert asked.query == {"name": ["web"]}
    path = os.path.abspath(kernel)
    assert asked.document == {
        "Machine": {
            "cpus": 2, "memory": 512 << 20, "image": "", "kernel": path, "initrd": "", "append": "quiet", "command": [],
            "environment": [], "hostname": "h", "folders": [], "tty": True, "stdin": True, "disks": [[path, True]],
            "architecture": "", "accelerator": "", "huge_pages": False, "jail": "", "jit": "",
        },
        "Volumes": [],
        "HostConfig": {
            "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}, "LogConfig": {"Config": {"max-size": "1m"}},
            "NetworkMode": "lan", "Dns": ["1.1.1.1"], "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        },
        "NetworkingConfig": {"EndpointsConfig": {"lan": {"IPAMConfig": {"IPv4Address": "10.0.0.9"}}}},
        "ExposedPorts": {"80/tcp": {}},
        "StopSignal": "INT",
        "Healthcheck": {"Test": ["CMD-SHELL", "true"]},
        "Labels": {"a": "b"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-d", "--vm", "--privileged", "debian:trixie"], "option --privileged: it is for containers; leave it out"),
        (["--vm", "--name", "web", "debian:trixie"], "option --name: it is for machines in the background; add -d"),
        (["-d", "--vm"], "it needs an IMAGE or a --kernel"),
    ],
)
def test_what_does_not_go_together(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["run", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_machine_in_the_background_compiles_if_it_is_asked_to(daemon: FakeDaemon, kernel: str) -> None:
    daemon.tells("POST /gasang/vms/create", {"Id": KEY, "Name": "web"}, status=201)
    daemon.tells(f"POST /containers/{KEY}/start", status=204)
    assert command.main(["run", "-d", "--kernel", kernel, "--jit", "on"]) == 0
    assert daemon.of("POST /gasang/vms/create")[0].document["Machine"]["jit"] == "on"


def test_kinds_are_told_apart(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    line = {
        "Id": KEY, "Names": ["/web"], "Image": "debian:trixie", "Command": "", "Created": 0, "Status": "Up", "State": "running",
        "Ports": [], "Labels": {}, "NetworkSettings": {"Networks": {}},
    }  # fmt: skip
    daemon.tells("GET /containers/json", [{**line, "Kind": "vm"}, {**line, "Names": ["/box"]}])
    assert command.main(["ps", "--format", "{name} {kind}"]) == 0
    assert capsys.readouterr().out == "web vm\nbox container\n"


def test_snapshots(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    about = {"Name": "base", "Created": "2026-01-31T10:00:00+00:00", "Size": 5 << 20, "Memory": 1 << 30, "Digest": "d", "Error": ""}
    broken = {"Name": "odd", "Created": "", "Size": 1, "Memory": 0, "Digest": "", "Error": "snapshot odd: it is damaged; make it again"}
    daemon.tells("POST /gasang/vms/web/snapshots", about, status=201)
    daemon.tells("GET /gasang/vms/web/snapshots", [about, broken])
    daemon.tells("DELETE /gasang/vms/web/snapshots/base", status=204)
    daemon.tells("POST /gasang/vms/web/restore", {"Kept": [{"Volume": "data", "Snapshot": "before-restore-1"}]})
    assert command.main(["snapshot", "create", "web", "base"]) == 0
    assert command.main(["restore", "web", "base"]) == 0
    assert command.main(["snapshot", "rm", "web", "base"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("base\nweb\nbase\n", "gasang: what volume data had is kept as its snapshot before-restore-1\n")
    assert [daemon.of(f"POST /gasang/vms/web/{verb}")[0].query for verb in ("snapshots", "restore")] == [{"name": ["base"]}] * 2
    assert command.main(["restore", "--discard", "web", "base"]) == 0
    assert daemon.of("POST /gasang/vms/web/restore")[1].query == {"name": ["base"], "discard": ["1"]}
    capsys.readouterr()
    assert command.main(["snapshot", "ls", "web"]) == 0
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()] == ["NAME", "base", "odd"]
    assert "damaged" in said.out
    assert said.err == "gasang: snapshot odd: it is damaged; make it again\n"
    assert command.main(["snapshot", "ls", "web", "--format", "json"]) == 0
    assert [entry["size"] for entry in json.loads(capsys.readouterr().out)] == [5 << 20, 1]


def test_twins(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("POST /gasang/vms/web/fork", [{"Id": KEY, "Name": "web-1"}], status=201)
    assert command.main(["fork", "web"]) == 0
    assert capsys.readouterr().out.split() == ["NAME", "ID", "web-1", KEY]
    assert command.main(["fork", "-q", "-n", "3", "web"]) == 0
    assert capsys.readouterr().out == f"{KEY}\n"
    assert [asked.query["count"] for asked in daemon.of("POST /gasang/vms/web/fork")] == [["1"], ["3"]]


def test_resume_is_unpause(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("POST /containers/web/unpause", status=204)
    assert command.main(["resume", "web"]) == 0
    assert capsys.readouterr().out == "web\n"
