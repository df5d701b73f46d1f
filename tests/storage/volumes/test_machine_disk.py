"""Volumes as disks of machines: taken back without a loss, and forked, where neither sees what the other writes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, NotFoundError, OutOfSpaceError, StateError
from gasang.storage.volumes import layers
from gasang.storage.volumes.folder import RECORD, create, heir, read_record
from gasang.storage.volumes.machine_disk import MachineDisk
from gasang.storage.volumes.record import Kept, held_name, keeper_of, parse
from gasang.storage.volumes.volume import Volume

SIZE = 32 << 20
HELD = held_name("base", "0123456789ab")


@pytest.fixture(params=["qcow2", "raw"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MachineDisk]:
    create(tmp_path / "data", SIZE, request.param)
    with closing(MachineDisk.open(tmp_path / "data")) as opened:
        yield opened


def held(disk: MachineDisk, name: str = HELD) -> None:
    with disk.steady():
        disk.freeze()
        disk.hold(name)


def test_it_goes_back_and_nothing_is_lost(made: MachineDisk) -> None:
    made.write(0, b"first")
    held(made)
    assert made.is_at(HELD)
    assert made.go_back(HELD, keep=True) == "", "it is there"
    made.write(0, b"later")
    assert not made.is_at(HELD)
    present = made.go_back(HELD, keep=True)
    assert (made.read(0, 5), made.is_at(HELD), sorted(made.record.snapshots)) == (b"first", True, sorted([HELD, present]))
    made.write(0, b"again")
    second = made.go_back(HELD, keep=True)
    assert second not in ("", present)
    made.apply(present)
    assert made.read(0, 5) == b"later"
    assert made.go_back(HELD, keep=True) == "", "another snapshot has it"
    made.resize(SIZE * 2)
    assert made.go_back(HELD, keep=False) == ""
    assert (made.size, len(made.record.snapshots)) == (SIZE, 3)
    with pytest.raises(NotFoundError):
        made.go_back("other", keep=True)


def test_what_a_machine_needs_only_goes_with_its_snapshot(made: MachineDisk) -> None:
    held(made)
    assert keeper_of(HELD) == "0123456789ab"
    with pytest.raises(StateError, match="belongs to the snapshot of a machine"):
        made.forget(HELD)
    made.snapshot("one")
    made.release("one")
    made.release("nothing@0123456789ab")
    assert sorted(made.record.snapshots) == sorted([HELD, "one"])
    made.release(HELD)
    assert list(made.record.snapshots) == ["one"]


@pytest.mark.parametrize("name", ["base@", "@0123456789ab", "base@0123456789AB", "a/b@0123456789ab", "base@x123"])
def test_names_that_no_snapshot_has(made: MachineDisk, name: str) -> None:
    top = made.freeze()
    content = (made.folder / RECORD).read_bytes()
    assert parse(content, "volume")
    made._keep(made.record.__class__(**{**vars(made.record), "snapshots": {name: Kept(top, SIZE, "")}}))
    with pytest.raises(BadInputError, match="snapshot"):
        read_record(made.folder)


def in_a_twin(disk: MachineDisk, act: Callable[[], bytes]) -> bytes:
    """What `act` says in a process forked with the volume."""
    read, write = os.pipe()
    with disk.leaving():
        disk.split()
        pid = os.fork()
        if pid == 0:
            try:
                disk.renew()
                os.write(write, act())
            finally:
                os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with open(read, "rb") as said:
        return said.read()


@pytest.mark.parametrize("meanwhile", [False, True])
def test_a_twin_has_its_own(made: MachineDisk, tmp_path: Path, meanwhile: bool) -> None:
    made.write(0, b"first")
    heir(made.folder, made.freeze(), made.size, tmp_path / "twin")
    if meanwhile:
        made.write(5, b"more.")
    made.heir = tmp_path / "twin"

    def act() -> bytes:
        seen = made.read(0, 10)
        made.write(0, b"child")
        made.snapshot("mine")
        made.write(1 << 20, b"later")
        made.close()
        return seen + made.folder.name.encode()

    said = in_a_twin(made, act)
    assert said == (b"firstmore." if meanwhile else b"first\0\0\0\0\0") + b"twin"
    assert made.read(0, 5) == b"first"
    made.write(0, b"other")
    shutil.rmtree(made.folder)
    with closing(Volume.open(tmp_path / "twin")) as twin:
        assert (twin.read(0, 10), twin.read(1 << 20, 5)) == (b"child" + said[5:10], b"later")
        files = {path.name for path in twin.folder.iterdir() if layers.is_layer(path.name)}
        assert files == {twin.record.file(key) for key in twin.record.layers}
        assert list(twin.record.snapshots) == ["mine"]


def test_each_has_its_lock_for_itself(made: MachineDisk, tmp_path: Path) -> None:
    heir(made.folder, made.freeze(), made.size, tmp_path / "twin")
    made.heir = tmp_path / "twin"
    go_read, go_write = os.pipe()
    told_read, told_write = os.pipe()
    with made.leaving():
        made.split()
        pid = os.fork()
        if pid == 0:
            try:
                made.renew()
                os.write(told_write, b"+")
                os.read(go_read, 1)
            finally:
                os._exit(0)
    assert os.read(told_read, 1) == b"+"
    with pytest.raises(StateError, match="in use"):
        Volume.open(tmp_path / "twin")
    made.close()
    Volume.open(made.folder).close()
    os.write(go_write, b"+")
    os.waitpid(pid, 0)
    Volume.open(tmp_path / "twin").close()


def test_one_that_was_changed_meanwhile_is_not_forked(made: MachineDisk, tmp_path: Path) -> None:
    heir(made.folder, made.freeze(), made.size, tmp_path / "twin")
    made.heir = tmp_path / "twin"
    for number in range(2):
        made.write(0, bytes([number + 1]))
        made.snapshot(f"s{number}")
    with made.leaving(), pytest.raises(StateError, match="was changed while"):
        made.split()
    made.write(0, b"it goes on")
    assert made.read(0, 10) == b"it goes on"


def test_leaving_syncs_nothing_and_what_was_left_is_kept(made: MachineDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write(0, b"flushed")
    with made.leaving():
        made.write(0, b"written")
        with monkeypatch.context() as still:
            still.setattr(os, "fsync", lambda file: pytest.fail("it syncs"))
            still.setattr(os, "fdatasync", lambda file: pytest.fail("it syncs"))
            former = made.record.top
            made.leave()
            assert made.record.layers[made.record.top].below == former
    assert read_record(made.folder) == made.record
    made.write(100, b"on")
    made.close()
    with closing(MachineDisk.open(made.folder)) as again:
        assert (again.read(0, 7), again.read(100, 2)) == (b"written", b"on")
    assert {path.name for path in made.folder.iterdir() if layers.is_layer(path.name)} == {
        made.record.file(key) for key in made.record.layers
    }


def test_a_top_that_is_not_needed_is_gone(made: MachineDisk) -> None:
    made.write(0, b"some")
    with made.leaving():
        pass
    assert [path.name for path in made.folder.iterdir() if layers.is_layer(path.name)] == [made.record.file(made.record.top)]
    with made.leaving():
        made.leave()
        made.heir = made.folder / "nowhere"
    made.write(0, b"more")
    assert (made.read(0, 4), len(made.record.layers)) == (b"more", 2)


@pytest.mark.parametrize("fails", ["seal", "record"])
def test_what_cannot_be_kept_is_not_left(made: MachineDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    made.write(0, b"first")
    heir(made.folder, made.freeze(), made.size, tmp_path / "twin")
    made.heir = tmp_path / "twin"
    made.write(0, b"later")
    before = read_record(made.folder)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "it is full")

    hearing, telling = os.pipe()

    def forked() -> None:
        with made.leaving():
            made.write(5, b"!")
            made.split()
            if not os.fork():
                try:
                    made.renew()
                except StateError as error:
                    os.write(telling, str(error).encode())
                finally:
                    os._exit(0)
            name = "images.qcow2.disk.Qcow2._commit" if fails == "seal" else "volumes.volume.write_record"
            broken.setattr(f"gasang.storage.{name}", full)

    with monkeypatch.context() as broken, pytest.raises((OSError, OutOfSpaceError), match="full"):
        forked()
    os.wait()
    os.close(telling)
    with open(hearing, "rb") as said:
        assert b"could not be kept" in said.read()
    assert made.read(0, 6) == b"later!"
    made.write(0, b"still")
    made.flush()
    assert read_record(made.folder) == made.record == before
    made.close()
    with closing(MachineDisk.open(made.folder)) as again:
        assert again.read(0, 6) == b"still!"


def test_a_full_disk(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "none", small], check=True)
    try:
        create(small / "data", SIZE)
        with closing(MachineDisk.open(small / "data")) as disk:
            disk.write(0, b"first")
            held(disk)
            disk.write(0, b"later")
            disk.flush()
            (small / "filler").write_bytes(bytes(os.statvfs(small).f_bavail * os.statvfs(small).f_bsize))
            with pytest.raises(OutOfSpaceError):
                heir(disk.folder, disk.record.layers[disk.record.top].below, SIZE, small / "twin")
            for act in (lambda: disk.go_back(HELD, keep=True), lambda: held(disk, held_name("two", "0123456789ab"))):
                with pytest.raises((OutOfSpaceError, OSError), match=r"full|space"):
                    act()
                assert (disk.read(0, 5), list(disk.record.snapshots)) == (b"later", [HELD])
            (small / "filler").unlink()
            disk.go_back(HELD, keep=True)
            assert disk.read(0, 5) == b"first"
        assert not (small / "twin").exists()
    finally:
        subprocess.run(["umount", small], check=True)
