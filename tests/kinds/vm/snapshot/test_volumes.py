"""Volumes in machines' snapshots: of the same moment, released where there is no snapshot, and never gone on with over another disk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, GasangError, NotFoundError, StateError, UnsupportedError
from gasang.devices.virtio.block import VirtioBlock
from gasang.devices.worker import Worker
from gasang.kinds.vm.snapshot import take
from gasang.kinds.vm.snapshot.snapshot import Snapshot, Wiring
from gasang.kinds.vm.snapshot.volumes import check_back, go_back, keeper
from gasang.storage.formats import open_disk
from gasang.storage.images.table import create_image
from gasang.storage.overlay import Overlay
from gasang.storage.raw import Raw
from gasang.storage.volumes.folder import create, read_record
from gasang.storage.volumes.machine_disk import MachineDisk
from support.computing import MIB
from support.disk_machines import machine_with

SIZE = 32 * MIB


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "data", SIZE)
    return tmp_path / "data"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """As a machine of the daemon has it."""
    return tmp_path / ("0123456789ab" + "0" * 52) / "snapshots"


def root(tmp_path: Path) -> Overlay:
    (tmp_path / "base").write_bytes(bytes(MIB))
    return Overlay(Raw.open(tmp_path / "base", read_only=True), str(tmp_path))


def kept(folder: Path, store: Path, tmp_path: Path) -> Snapshot:
    """Of a machine whose disk and volume have "first"; later the volume has another."""
    with machine_with(root(tmp_path), MachineDisk.open(folder)) as (vm, _):
        for device in vm.disks():
            device.block.write(0, b"first")
        snapshot = vm.snapshot(store, "base")
        vm.disks()[1].block.write(0, b"later")
    return snapshot


def test_they_go_back_with_it(folder: Path, store: Path, tmp_path: Path) -> None:
    snapshot = kept(folder, store, tmp_path)
    snapshot.verify()
    record = snapshot.document.disks[1]
    assert (record.volume, record.kept, record.path, record.files()) == (str(folder), "base@0123456789ab", "", ())
    assert snapshot.own_disks() == [snapshot.document.disks[0]]
    with closing(MachineDisk.open(folder)) as disk, pytest.raises(StateError, match="it is not what it was"):
        check_back(snapshot.document.disks, [disk])
    with pytest.raises(StateError, match="it is not what it was"):
        check_back(snapshot.document.disks, [])
    with closing(MachineDisk.open(folder)), pytest.raises(StateError, match="in use"):
        go_back(snapshot.document.disks, keep=True)
    [(volume, present)] = go_back(snapshot.document.disks, keep=True)
    assert (volume, sorted(read_record(folder).snapshots)) == ("data", ["base@0123456789ab", present])
    [disk] = snapshot.open_disks(tmp_path)
    volume_disk, worker = MachineDisk.open(folder), Worker("disk")
    check_back(snapshot.document.disks, [volume_disk])
    devices = [VirtioBlock(block, worker) for block in (disk, volume_disk)]
    with snapshot.restore(Wiring(bytearray().extend, devices, (worker,))) as vm:
        assert [device.block.read(0, 5) for device in vm.disks()] == [b"first", b"first"]
    for block in (disk, volume_disk):
        block.close()


def test_without_the_volumes_it_is_refused(folder: Path, store: Path, tmp_path: Path) -> None:
    snapshot = kept(folder, store, tmp_path)
    layer = folder / read_record(folder).file(read_record(folder).snapshots["base@0123456789ab"].layer)
    layer.rename(tmp_path / "away")
    with pytest.raises(BadInputError, match="volume data: its layer"):
        snapshot.check()
    (tmp_path / "away").rename(layer)
    snapshot.check()
    with closing(MachineDisk.open(folder)) as disk:
        disk.release("base@0123456789ab")
    with pytest.raises(NotFoundError, match="volume data has none of that name"):
        snapshot.check()


def broken(reason: BaseException) -> Callable[..., object]:
    def act(*words: object) -> object:
        raise reason

    return act


@pytest.mark.parametrize("where", ["encode", "_put_memory"])
def test_one_that_is_not_completed_holds_nothing(
    where: str, folder: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with machine_with(root(tmp_path), MachineDisk.open(folder)) as (vm, _):
        with monkeypatch.context() as patch:
            patch.setattr(take, where, broken(OSError(28, "No space left on device")))
            with pytest.raises((GasangError, OSError), match="no space is left"):
                vm.snapshot(store, "base")
        assert not vm.paused
        assert not read_record(folder).snapshots
        vm.snapshot(store, "base")
        with pytest.raises(StateError, match="one of this name"):
            vm.snapshot(store, "base")
        assert list(read_record(folder).snapshots) == ["base@0123456789ab"], "what failed takes nothing from the other"


def test_whose_they_are(tmp_path: Path) -> None:
    assert keeper(tmp_path / ("ab" * 32) / "snapshots") == "abababababab"
    assert keeper(tmp_path / "snapshots").startswith("x")
    assert len(keeper(tmp_path / "snapshots")) == 12


def test_volumes_and_disks_that_are_only_read_are_named(folder: Path, store: Path, tmp_path: Path) -> None:
    with closing(MachineDisk.open(folder)) as disk:
        disk.has("ext4")
    create_image(tmp_path / "given.qcow2", "qcow2", MIB).close()
    given = open_disk(tmp_path / "given.qcow2", read_only=True)
    with machine_with(MachineDisk.open(folder, read_only=True), given, read_only=True) as (vm, _):
        snapshot = vm.snapshot(store, "base")
        with vm.fork(lambda twin: len(twin.disks()[1].block.read(0, 512)) // 512) as twin:
            assert twin.wait() == 1
    assert [(record.volume, record.kept, record.form) for record in snapshot.document.disks] == [(str(folder), "", ""), ("", "", "qcow2")]
    [again] = snapshot.open_disks(tmp_path)
    assert again.read(0, 4) == bytes(4)
    again.close()
    snapshot.check()
    with closing(MachineDisk.open(folder)) as disk:
        disk.write(0, b"other")
    with pytest.raises(BadInputError, match="has been changed since"):
        snapshot.check()


def test_disks_that_two_would_write_to(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.img").write_bytes(bytes(MIB))
    says = r"two cannot write to one disk \(disk .*mine.img\)"
    with machine_with(Raw.open(tmp_path / "mine.img")) as (vm, _), pytest.raises(UnsupportedError, match=says):
        vm.fork(lambda twin: 0)
    with machine_with(MachineDisk.open(folder)) as (vm, _):
        with pytest.raises(UnsupportedError, match="clone of volume data"):
            vm.fork(lambda twin: 0)
        assert not vm.paused
