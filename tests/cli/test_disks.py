"""The commands of gasang image about disk images, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gasang.cli.main import main


def image(*words: object) -> int:
    return main(["image", *map(str, words)])


def test_from_making_to_comparing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk, other = tmp_path / "disk.qcow2", tmp_path / "disk.vmdk"
    assert image("create", disk, "8M") == 0
    assert image("create", disk, "8M") == 4
    assert image("convert", disk, other) == 0
    assert image("convert", disk, disk) != 0
    assert image("compare", disk, other) == 0
    assert image("check", other) == 0
    capsys.readouterr()
    assert image("info", "--json", other) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["format"], facts["size"], facts["subformat"]) == ("vmdk", 8 << 20, "monolithicSparse")
    assert image("info", other) == 0
    assert "8 MiB" in capsys.readouterr().out
    raw = tmp_path / "disk.img"
    raw.write_bytes(b"x" * (8 << 20))
    assert image("compare", "--json", raw, disk) == 1
    assert json.loads(capsys.readouterr().out) == {"identical": False, "offset": 0, "sizes": [8 << 20, 8 << 20]}


def test_snapshots_and_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk = tmp_path / "disk.qcow2"
    assert image("create", "-o", "cluster_size=4K", disk, "8M") == 0
    assert image("snapshot", "--create", "one", disk) == 0
    capsys.readouterr()
    assert image("snapshot", "--format", "json", disk) == 0
    assert [kept["name"] for kept in json.loads(capsys.readouterr().out)] == ["one"]
    assert image("snapshot", "--create", "a", "--delete", "b", disk) == 2
    assert image("convert", "--snapshot", "one", disk, tmp_path / "one.img") == 0
    assert (tmp_path / "one.img").stat().st_size == 8 << 20
    assert image("snapshot", "--apply", "one", disk) == 0
    assert image("snapshot", "--delete", "one", disk) == 0
    assert image("resize", disk, "+8M") == 0
    assert image("resize", disk, "4M") == 2
    assert image("resize", "--shrink", disk, "4M") == 0
    assert image("check", "--repair", "--json", disk) == 0


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert image("create", tmp_path / "what", "8M") == 2
    assert image("info", tmp_path / "absent") == 3
    (tmp_path / "disk.qcow2").write_bytes(b"QFI\xfb" + bytes(600))
    assert image("convert", tmp_path / "disk.qcow2", tmp_path / "new.img") == 6
    assert not (tmp_path / "new.img").exists()
    assert image("create", tmp_path / "disk.vdi", "8M") == 0
    assert image("resize", tmp_path / "disk.vdi", "9M") == 6
    assert image("snapshot", tmp_path / "disk.vdi") == 1
    assert image("convert", "-c", tmp_path / "disk.vdi", tmp_path / "new.vhdx") == 6
    assert not (tmp_path / "new.vhdx").exists()
    assert "compressed pieces" in capsys.readouterr().err
