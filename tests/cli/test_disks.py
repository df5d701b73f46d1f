"""The commands of gasang image about disk images, as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import pytest

from gasang.cli.main import main
from gasang.cli.parse import parse
from gasang.cli.standard import with_standard_options
from gasang.cli.verbs import run
from gasang.cli.vm import DISK, disks_of
from gasang.core.errors import GasangError
from gasang.kinds.vm.disks import Disk
from gasang.storage.appliance.ovf import Appliance, ApplianceDisk
from gasang.storage.appliance.package import write_archive
from gasang.storage.ext4 import write_ext4
from gasang.storage.formats import open_given
from gasang.storage.images.table import open_image
from gasang.storage.throttle import Limits
from gasang.storage.tree import Entry, Kind
from support.privileges import needs_root
from support.small_disk import small_disk

SYNTAX = with_standard_options(run.SYNTAX)


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


@pytest.mark.parametrize(
    "words",
    [
        ["disk.qcow2"],
        ["disk.vmdk"],
        ["-o", "subformat=streamOptimized", "disk.vmdk"],
        ["-o", "subformat=twoGbMaxExtentSparse", "disk.vmdk"],
        ["-o", "subformat=monolithicFlat", "disk.vmdk"],
        ["disk.vdi"],
        ["disk.vhdx"],
        ["disk.vhd"],
        ["disk.hdd"],
        ["-o", "layout=folder", "disk.hdd"],
        ["disk.img"],
    ],
    ids=" ".join,
)
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "disk.img").write_bytes(os.urandom(4 << 20))
    with small_disk(tmp_path / "small", 2048) as small:
        *options, name = words
        assert image("convert", *options, tmp_path / "disk.img", small / name) == 7
        assert "no space left" in capsys.readouterr().err
        assert not list(small.iterdir())


def test_disks_are_imported_and_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GASANG_HOME", str(tmp_path / "home"))
    (tmp_path / "raw.img").write_bytes(b"there and back" * (1 << 16) + bytes(1 << 17))
    assert image("convert", tmp_path / "raw.img", tmp_path / "disk.vhdx") == 0
    assert image("import", tmp_path / "disk.vhdx") == 0
    assert image("import", tmp_path / "disk.vhdx") == 4
    assert image("export", "--cpus", "3", "--memory", "1G", "disk", tmp_path / "web.ova") == 0
    assert image("export", "disk", tmp_path / "web.ova") == 4
    capsys.readouterr()
    assert image("import", "--json", tmp_path / "web.ova", "web") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["cpus"], told["memory"]) == ("web", 3, 1 << 30)
    assert image("export", "web/0", tmp_path / "again.img") == 0
    assert (tmp_path / "again.img").read_bytes() == (tmp_path / "raw.img").read_bytes()
    assert image("export", "web", tmp_path / "odd.ovf") == 2
    assert image("export", "nothing", tmp_path / "odd.img") == 3
    assert image("import", tmp_path / "disk.vhdx", "../out") == 2
    capsys.readouterr()
    assert main(["images", "--vm", "--format", "{reference} {kind}"]) == 0
    assert capsys.readouterr().out == "disk disk\nweb disk\n"
    assert main(["rmi", "web"]) == 0
    assert main(["run", "--vm", "disk"]) == 6
    assert "no Linux kernel" in capsys.readouterr().err
    assert image("rm", "disk") == 0
    assert not list((tmp_path / "home" / "data" / "disks").iterdir())


@pytest.mark.parametrize("name", ["empty", "/dev/null", "/dev/zero"])
def test_what_holds_nothing_is_not_imported(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").touch()
    for words in (("image", "import", str(tmp_path / name)), ("import", str(tmp_path / name))):
        assert main([*words, "x:1"]) == 1
        assert ("it is empty" if name == "empty" else "a device without a size") in capsys.readouterr().err


def test_all_disks_of_an_appliance_are_attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GASANG_HOME", str(tmp_path / "home"))
    images = []
    for number in range(3):
        (tmp_path / f"{number}.img").write_bytes(bytes([number + 1]) * (1 << 16))
        images.append(open_image(tmp_path / f"{number}.img", read_only=True, form="raw"))
    disks = tuple(ApplianceDisk(f"web-disk{number}.vmdk", image.size) for number, image in enumerate(images))
    write_archive(tmp_path / "web.ova", Appliance("web", 2, 1 << 28, disks), images, lambda done: None)
    assert image("import", tmp_path / "web.ova") == 0
    place = tmp_path / "home" / "data" / "disks" / "web"

    def attached(*words: str) -> list[Disk]:
        return list(disks_of(parse("run", SYNTAX, ["--vm", *words])))

    second, third = (Disk(place / f"disk{number}.raw", form="raw") for number in (1, 2))
    assert attached("web") == [second, third]
    assert attached("--disk", "web/1", "web") == [third, second], "one that is named is attached as it is named"
    assert attached("web/0") == []
    assert attached("debian:trixie") == []
    assert third.path.read_bytes() == (tmp_path / "2.img").read_bytes()


@needs_root
def test_a_device_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GASANG_HOME", str(tmp_path / "home"))
    write_ext4(tmp_path / "disk", [Entry(path="file", kind=Kind.FILE, data=b"content")], 8 << 20, uuid=UUID(int=1))
    attached = subprocess.run(["losetup", "--find", "--show", tmp_path / "disk"], check=True, capture_output=True, text=True)
    device = attached.stdout.strip()
    (tmp_path / "mounted").mkdir()
    try:
        subprocess.run(["mount", device, tmp_path / "mounted"], check=True)
        try:
            assert image("import", device, "server") == 4
            assert f"device {device}: it is mounted at {tmp_path / 'mounted'}" in capsys.readouterr().err
            subprocess.run(["mount", "-o", "remount,ro", tmp_path / "mounted"], check=True)
            assert image("import", device, "quiet") == 0
            subprocess.run(["mount", "-o", "remount,rw", tmp_path / "mounted"], check=True)
            assert image("import", "--force", device, "forced") == 0
        finally:
            subprocess.run(["umount", tmp_path / "mounted"], check=True)
        assert image("import", device, "server") == 0
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
    kept = tmp_path / "home" / "data" / "disks" / "server" / "disk0.raw"
    assert kept.read_bytes() == (tmp_path / "disk").read_bytes()
    assert kept.stat().st_blocks * 512 < 4 << 20


def test_a_file_on_a_server_without_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GASANG_HOME", str(tmp_path / "home"))
    (tmp_path / "raw.img").write_bytes(b"there and back" * (1 << 12) + bytes(1 << 13))
    assert image("convert", tmp_path / "raw.img", tmp_path / "cloud.qcow2") == 0
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            assert image("import", f"http://127.0.0.1:{server.server_port}/cloud.qcow2") == 0
        finally:
            server.shutdown()
            thread.join()
    assert "downloaded as a whole" in capsys.readouterr().err
    [kept, _] = sorted((tmp_path / "home" / "data" / "disks" / "cloud").iterdir())
    assert kept.read_bytes() == (tmp_path / "raw.img").read_bytes()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", {}),
        (",readonly", {"read_only": True}),
        (",format=raw,readonly", {"read_only": True, "form": "raw"}),
        (",readonly,format=raw", {"read_only": True, "form": "raw"}),
        (",iops=500,bps=20M", {"limits": Limits(500, 20 << 20)}),
        (",bps=1M,bps-burst=4M,key-file=KEY", {"limits": Limits(0, 1 << 20, 0, 4 << 20), "key_file": "KEY"}),
    ],
)
def test_what_is_said_behind_a_disk(words: str, expected: dict[str, object], tmp_path: Path) -> None:
    path, key = tmp_path / "a,readonly=b,.img", tmp_path / "key"
    path.write_bytes(bytes(512))
    key.write_bytes(b"secret")
    for name, more in ((str(path), {"path": path}), ("nbd://host/disk", {"path": Path("nbd://host/disk"), "address": "nbd://host/disk"})):
        (disk,) = parse("run", SYNTAX, ["--vm", "--disk", name + words.replace("KEY", str(key)), "--kernel", str(path)]).get(DISK)
        assert disk == Disk(**{**more, **expected, **({"key_file": key} if "key_file" in expected else {})})
        assert disk.name == name


@pytest.mark.parametrize("text", ["absent.img", "nbd://host/a,iops=x", "nbd://host/a,key-file=absent"])
def test_disks_that_are_none(text: str) -> None:
    with pytest.raises(GasangError):
        parse("run", SYNTAX, ["--vm", "--disk", text])


def test_a_disk_is_served_until_that_is_ended(tmp_path: Path) -> None:
    assert image("create", tmp_path / "disk.qcow2", "8M") == 0
    words = [sys.executable, "-m", "gasang", "nbd", "serve", "--json", "--unix", str(tmp_path / "nbd.sock"), "--name", "web"]
    with subprocess.Popen([*words, str(tmp_path / "disk.qcow2")], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        assert image("convert", tmp_path / "disk.qcow2", tmp_path / "two.img") == 4  # it is in use
        with closing(open_given(told["uri"])) as disk:
            disk.write(4096, b"over the wire" * 100)
        assert image("convert", told["uri"], tmp_path / "disk.img") == 0
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    assert (tmp_path / "disk.img").read_bytes()[4096 : 4096 + 1300] == b"over the wire" * 100
    assert not (tmp_path / "nbd.sock").exists()
    assert image("check", tmp_path / "disk.qcow2") == 0


def test_what_cannot_be_attached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert image("create", tmp_path / "disk.qcow2", "8M") == 0
    assert main(["nbd", "attach", "--device", str(tmp_path / "nbd0"), str(tmp_path / "disk.qcow2")]) == 6
    assert "modprobe nbd" in capsys.readouterr().err
    assert main(["nbd", "attach", "--device", "/dev/null", str(tmp_path / "disk.qcow2")]) == 1
    assert "/dev/null: it takes no disk" in capsys.readouterr().err
    assert main(["nbd", "attach", str(tmp_path / "absent")]) == 3


def test_addresses_that_cannot_be_served_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert image("create", tmp_path / "disk.qcow2", "8M") == 0
    for words in (("--unix", str(tmp_path)), ("--tcp", "a:b"), ("--unix", "x", "--tcp", "127.0.0.1"), ("--tcp", "203.0.113.1:1")):
        assert main(["nbd", "serve", *words, str(tmp_path / "disk.qcow2")]) in (2, 4)
