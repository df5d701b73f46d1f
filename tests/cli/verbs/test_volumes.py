"""``gasang volume`` of disks and ``gasang backup``: what the daemon is asked, and what is refused before it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gasang.cli import main as command
from support.fake_daemon import FakeDaemon

DISK = {"Name": "data", "Driver": "disk", "Mountpoint": "/v/data", "Labels": None, "Status": {"Size": 20 << 30}}


def test_a_disk_is_asked_for(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("POST /volumes/create", DISK, status=201)
    assert command.main(["volume", "create", "data", "--size", "20G", "--format", "raw"]) == 0
    asked = daemon.of("POST /volumes/create")[0].document
    assert (asked["Driver"], asked["DriverOpts"]) == ("disk", {"size": "20G", "format": "raw"})
    assert command.main(["volume", "create", "data", "--format", "raw"]) == 2
    assert "say --size too" in capsys.readouterr().err


def test_snapshots_clones_and_sizes(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    kept = {"Name": "before", "Size": 20 << 30, "Created": "2026-01-31T10:00:00Z"}
    daemon.tells("POST /gasang/volumes/data/snapshots", kept, status=201)
    daemon.tells("GET /gasang/volumes/data/snapshots", [kept])
    daemon.tells("DELETE /gasang/volumes/data/snapshots/before", status=204)
    daemon.tells("POST /gasang/volumes/data/apply", {"Size": 20 << 30})
    daemon.tells("POST /gasang/volumes/data/clone", {**DISK, "Name": "copy"}, status=201)
    daemon.tells("GET /volumes/data", DISK)
    daemon.tells("POST /gasang/volumes/data/resize", {"Size": 25 << 30, "Grown": "nobody hears"})
    for words in (["--create", "before"], ["--apply", "before"], ["--delete", "before"], ["--format", "name"]):
        assert command.main(["volume", "snapshot", *words, "data"]) == 0
    assert command.main(["volume", "clone", "--snapshot", "before", "data", "copy"]) == 0
    assert command.main(["volume", "resize", "data", "+5G"]) == 0
    told = capsys.readouterr()
    assert told.out == "before\ncopy\n25 GiB\n"
    assert "has not grown (nobody hears)" in told.err
    assert daemon.of("POST /gasang/volumes/data/resize")[0].query == {"size": [str(25 << 30)]}
    assert daemon.of("POST /gasang/volumes/data/clone")[0].query == {"name": ["copy"], "snapshot": ["before"]}
    assert command.main(["volume", "snapshot", "--create", "a", "--apply", "b", "data"]) == 2


def test_a_machine_in_the_background_is_told_of_volumes_by_name(daemon: FakeDaemon, tmp_path: Path) -> None:
    from gasang.cli.machines import document
    from gasang.cli.parse import parse
    from gasang.cli.settings import Context
    from gasang.cli.standard import with_standard_options
    from gasang.cli.verbs.run import SYNTAX

    mounted = ["-v", "data:/data:ro", "-v", f"{tmp_path}:/folder", "--mount", "type=volume,source=other,target=/other"]
    parsed = parse("run", with_standard_options(SYNTAX), ["--vm", "-d", *mounted, "img"])
    made = document(parsed, Context.of_process(parsed), sits=False)
    assert made["Volumes"] == [
        {"Name": "data", "Target": "/data", "ReadOnly": True}, {"Name": "other", "Target": "/other", "ReadOnly": False},
    ]  # fmt: skip
    assert made["Machine"]["folders"] == [[str(tmp_path), "/folder", False]]


def test_a_folder_and_a_container_are_kept_and_come_back(daemon: FakeDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, again, backups = tmp_path / "files", tmp_path / "again", str(tmp_path / "b")
    (files / "sub").mkdir(parents=True)
    again.mkdir()
    (files / "sub/file").write_bytes(b"content" * 20_000)
    (files / "link").symlink_to("sub/file")
    volume = {"Name": "files", "Driver": "local", "Mountpoint": str(files), "Labels": None, "Options": None}
    box = {"Name": "/box", "Mounts": [{"Type": "volume", "Name": "files"}], "Config": {}, "HostConfig": {}}
    daemon.tells("GET /volumes/files", volume)
    daemon.tells("GET /containers/box/json", box)
    daemon.tells("GET /containers/bare/json", {**box, "Mounts": []})
    daemon.tells("POST /volumes/create", {**volume, "Mountpoint": str(again)}, status=201)
    assert command.main(["backup", "create", "files", "--to", backups]) == 0
    assert command.main(["backup", "create", "box", "--to", backups, "--json"]) == 0
    first, told = capsys.readouterr().out.splitlines()
    assert json.loads(told)["stored"] < 2000, "what the volume's backup has is there"
    assert command.main(["backup", "create", "bare", "--to", backups]) != 0
    assert command.main(["backup", "create", "nothing", "--to", backups]) != 0
    assert command.main(["backup", "restore", first, "--from", backups]) != 0
    assert "there is one of this name" in capsys.readouterr().err
    assert command.main(["backup", "restore", first, "--from", backups, "--name", "new"]) == 0
    assert (again / "link").read_bytes() == b"content" * 20_000
    assert daemon.of("POST /volumes/create")[0].document["Name"] == "new"
    assert command.main(["backup", "verify", "--from", backups]) == 0
    assert command.main(["backup", "ls", "--from", backups, "--format", "name"]) == 0
    assert command.main(["backup", "rm", first, "--from", backups]) == 0
    assert command.main(["backup", "verify", "--from", backups, "--json"]) == 0
    (pack,) = (tmp_path / "b/packs").iterdir()
    pack.write_bytes(pack.read_bytes()[:-100])
    assert command.main(["backup", "verify", "--from", backups]) == 1
    assert command.main(["backup", "ls"]) == 2
