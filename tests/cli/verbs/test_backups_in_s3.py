"""``gasang backup`` with s3://: as a user types it, against a store that speaks S3; and what it costs of a disk of 20 GiB."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest

from gasang.cli import main as command
from gasang.storage.backup.manifest import Manifest
from gasang.storage.backup.objects import keep_disk, verify
from gasang.storage.backup.repository import Repository
from gasang.storage.volumes import layers
from gasang.storage.volumes.folder import create
from gasang.storage.volumes.volume import Volume
from support.fake_daemon import FakeDaemon
from support.s3_fixtures import s3, s3_server
from support.s3_server import Relay

__all__ = ["s3", "s3_server"]
PLACE = "s3://mine/backups"
MIB = 1 << 20


def test_every_verb(s3: Relay, daemon: FakeDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, again = tmp_path / "files", tmp_path / "again"
    files.mkdir()
    again.mkdir()
    (files / "file").write_bytes(b"content" * 20_000)
    volume = {"Name": "files", "Driver": "local", "Mountpoint": str(files), "Labels": None, "Options": None}
    daemon.tells("GET /volumes/files", volume)
    daemon.tells("POST /volumes/create", {**volume, "Mountpoint": str(again)}, status=201)
    assert command.main(["backup", "ls", "--from", PLACE]) == 3
    assert f"make one: gasang backup create NAME --to {PLACE}" in capsys.readouterr().err
    assert command.main(["backup", "create", "files", "--to", PLACE]) == 0
    (first,) = capsys.readouterr().out.splitlines()
    assert command.main(["backup", "ls", "--from", PLACE, "--format", "name"]) == 0
    assert capsys.readouterr().out == f"{first}\n"
    assert command.main(["backup", "restore", first, "--from", PLACE, "--name", "new"]) == 0
    assert (again / "file").read_bytes() == b"content" * 20_000
    assert command.main(["backup", "verify", "--from", PLACE]) == 0
    assert command.main(["backup", "rm", first, "--from", PLACE]) == 0
    assert command.main(["backup", "verify", first, "--from", PLACE]) == 1
    assert command.main(["backup", "create", "files", "--to", "s3://other/backups"]) == 3
    assert "there is no such bucket" in capsys.readouterr().err


def test_of_100_mib_changed_of_20_gib_that_is_read_and_sent(s3: Relay, tmp_path: Path) -> None:
    create(tmp_path / "v", 20 << 30)
    rng = random.Random(7)
    base, layer = None, ""
    with closing(Volume.open(tmp_path / "v")) as volume:
        volume.write(30 * MIB, rng.randbytes(8 * MIB))
        for name in ("full", "incremental"):
            former, layer = layer, volume.freeze()
            s3.seen.clear()
            with Repository.open(PLACE, writes=True, make=True) as repository:
                with closing(layers.open_chain(volume.folder, volume.record, layer, read_only=True)) as disk:
                    runs = layers.changes(volume.folder, volume.record, layer, former) if former else list(disk.data())
                    base, read = keep_disk(repository, "disk", disk, runs, {"layer": layer}, base)
                repository.commit(Manifest(name, "data", "volume", "", (base,)))
            if name == "full":
                for number in range(100):
                    volume.write(number * 200 * MIB, rng.randbytes(MIB))
    assert 100 * MIB <= read <= 110 * MIB
    assert 100 * MIB <= s3.sent() <= 110 * MIB
    with Repository.open(PLACE) as repository:
        verify(repository, base)
