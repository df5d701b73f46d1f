"""Volumes: what is written stays, snapshots and clones go their own way, and a change that is broken off has not been or is whole."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, NotFoundError, OutOfSpaceError, StateError, UsageError
from gasang.storage.images.store import File
from gasang.storage.volumes import layers
from gasang.storage.volumes.acts import act
from gasang.storage.volumes.folder import RECORD, clone, create, describe, read_record
from gasang.storage.volumes.machine_disk import MachineDisk
from gasang.storage.volumes.volume import Volume

SIZE = 32 << 20
PIECE = 4096


@pytest.fixture(params=["qcow2", "raw"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Volume]:
    create(tmp_path / "data", SIZE, request.param)
    with closing(Volume.open(tmp_path / "data")) as opened:
        yield opened


def test_snapshots_and_clones_go_their_own_way(made: Volume, tmp_path: Path) -> None:
    made.write(0, b"first")
    made.snapshot("one")
    made.write(0, b"other")
    made.write(1 << 20, b"more")
    made.snapshot("two")
    made.discard(1 << 20, 1 << 16)
    clone(made.folder, made.freeze(), made.size, tmp_path / "copy")
    kept = made.record.snapshots["one"]
    clone(made.folder, kept.layer, kept.size, tmp_path / "old")
    made.write(0, b"third")
    for name, begin, later in (("copy", b"other", bytes(4)), ("old", b"first", bytes(4))):
        with closing(Volume.open(tmp_path / name)) as other:
            assert (other.read(0, 5), other.read(1 << 20, 4)) == (begin, later), name
            other.write(0, name.encode())
    assert made.read(0, 5) == b"third"
    made.apply("two")
    assert (made.read(0, 5), made.read(1 << 20, 4)) == (b"other", b"more")
    made.forget("two")
    made.apply("one")
    assert (made.read(0, 5), made.read(1 << 20, 4)) == (b"first", bytes(4))
    made.forget("one")
    used = {path.name for path in made.folder.iterdir() if layers.is_layer(path.name)}
    assert used == {made.record.file(key) for key in made.record.chain(made.record.top)}, "files that nothing needs are gone"
    shutil.rmtree(made.folder)
    with closing(Volume.open(tmp_path / "copy")) as other:
        assert other.read(0, 4) == b"copy"


def test_nothing_changes_where_nothing_was_written(made: Volume) -> None:
    made.write(0, b"x")
    assert made.freeze() == made.freeze()
    assert len(made.record.layers) == 2


def test_many_layers_become_few_and_say_the_same(made: Volume) -> None:
    rng = random.Random(1)
    model = bytearray(SIZE)
    for number in range(30):
        at = rng.randrange(SIZE // PIECE) * PIECE
        data = rng.randbytes(PIECE)
        made.write(at, data)
        model[at : at + PIECE] = data
        if number == 7:
            made.snapshot("kept")
            kept = bytes(model)
        if number % 9 == 8:
            made.discard(at, PIECE)
            model[at : at + PIECE] = bytes(PIECE)
        layer = made.freeze()
        if number == 20:
            base, then = layer, bytes(model)
        if number > 19:
            made.note_base("place", base)
    assert len(made.record.layers) < 20
    assert made.read(0, SIZE) == model
    layer = made.freeze()
    runs = layers.changes(made.folder, made.record, layer, base)
    patched = bytearray(then)
    for at, length in runs:
        patched[at : at + length] = model[at : at + length]
    assert patched == model, "what changed since a backup is told whatever was joined"
    assert sum(length for _, length in runs) <= 25 << 16
    made.apply("kept")
    assert made.read(0, SIZE) == kept


def test_it_has_a_file_system_from_its_first_use_on(made: Volume, tmp_path: Path) -> None:
    assert made.format("data")
    assert not made.format("data")
    made.resize(SIZE * 2)
    (tmp_path / "disk").write_bytes(made.read(0, made.size))
    told = subprocess.run(["e2fsck", "-fn", tmp_path / "disk"], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


def test_it_follows_a_model_whatever_is_kept_between(tmp_path: Path) -> None:
    create(tmp_path / "data", SIZE)
    rng = random.Random(9)
    model, kept = bytearray(SIZE), {}
    disk = Volume.open(tmp_path / "data")
    for number in range(150):
        at, length = rng.randrange(SIZE), rng.choice((1, 600, 70_000))
        length = min(length, SIZE - at)
        what = rng.random()
        if what < 0.7:
            data = rng.randbytes(length)
            disk.write(at, data)
            model[at : at + length] = data
        elif what < 0.85:
            disk.discard(at, length)
            model[at : at + length] = bytes(length)
        elif what < 0.95:
            disk.snapshot(f"s{number}")
            kept[f"s{number}"] = bytes(model)
        else:
            disk.close()
            disk = Volume.open(tmp_path / "data")
        assert disk.read(at, length) == model[at : at + length]
    with closing(disk):
        assert disk.read(0, SIZE) == model
        for name, state in kept.items():
            disk.apply(name)
            assert disk.read(0, SIZE) == state, name
        for offset, length in ((SIZE, 1), (-1, 1), (0, SIZE + 1)):
            with pytest.raises(OSError, match="outside"):
                disk.read(offset, length)


def test_one_writes_or_many_read(made: Volume) -> None:
    with pytest.raises(StateError, match="in use"):
        Volume.open(made.folder)
    with pytest.raises(StateError, match="in use"):
        Volume.open(made.folder, read_only=True)
    made.close()
    with closing(Volume.open(made.folder, read_only=True)) as one, closing(Volume.open(made.folder, read_only=True)) as other:
        assert one.read(0, 1) == other.read(0, 1)
        with pytest.raises(OSError, match="only"):
            one.write(0, b"x")
        with pytest.raises(StateError, match="in use"):
            Volume.open(made.folder)


def test_what_cannot_be_is_refused(made: Volume, tmp_path: Path) -> None:
    made.snapshot("one")
    for wrong, error in (
        (lambda: made.snapshot("one"), StateError),
        (lambda: made.snapshot("../one"), UsageError),
        (lambda: made.forget("two"), NotFoundError),
        (lambda: made.resize(SIZE // 2), UsageError),
        (lambda: act(made, "grow", {}), UsageError),
        (lambda: act(made, "resize", {"size": "1G"}), UsageError),
        (lambda: act(made, "snapshot", {}), UsageError),
        (lambda: create(tmp_path / "small", 1 << 20), UsageError),
        (lambda: create(tmp_path / "odd", SIZE, "vmdk"), UsageError),
        (lambda: Volume.open(tmp_path / "nowhere"), NotFoundError),
    ):
        with pytest.raises(error):
            wrong()
    made.close()
    (made.folder / RECORD).write_bytes(b"{}")
    with pytest.raises(BadInputError, match="damaged"):
        Volume.open(made.folder)


CHANGES: dict[str, Callable[[MachineDisk], object]] = {
    "snapshot": lambda opened: opened.snapshot("two"),
    "apply": lambda opened: opened.apply("one"),
    "forget": lambda opened: opened.forget("one"),
    "resize": lambda opened: opened.resize(SIZE * 2),
    "freeze": lambda opened: opened.freeze(),
    "hold": lambda opened: (opened.freeze(), opened.hold("base@0123456789ab")),
    "go back": lambda opened: opened.go_back("one", keep=True),
}


class Killed(BaseException):
    """Nothing that follows happens."""


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_is_broken_off_leaves_a_whole_volume(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(tmp_path / "first", SIZE)
    with closing(Volume.open(tmp_path / "first")) as opened:
        opened.write(0, b"first")
        opened.snapshot("one")
        opened.write(0, b"later")
    states = {b"first", b"later"}
    one_at_a_time = threading.RLock()  # files are synced by several threads
    for step in range(100):
        folder = tmp_path / f"{change}{step}"
        shutil.copytree(tmp_path / "first", folder)
        left = tmp_path / f"left{step}"
        count = 0

        def counted(act: Callable[..., object], *words: object, folder: Path = folder, left: Path = left, step: int = step) -> object:
            nonlocal count
            with one_at_a_time:
                if count >= step:
                    if not left.exists():
                        shutil.copytree(folder, left)
                    raise Killed
                count += 1
                return act(*words)

        opened = MachineDisk.open(folder)
        whole = False
        with monkeypatch.context() as patch:
            for name in ("fsync", "fdatasync", "replace", "rename", "unlink"):
                real = getattr(os, name)
                patch.setattr(os, name, lambda *words, real=real, counted=counted: counted(real, *words))
            try:
                CHANGES[change](opened)
                whole = True
            except Killed:
                pass
        opened.close()
        if whole:
            break
        with closing(Volume.open(left)) as again:
            assert again.read(0, 5) in states, (change, step)
            if again.read(0, 5) != b"later":
                assert change in ("apply", "go back"), (change, step)
                clones = [name for name in again.record.snapshots if name.startswith("before-restore-")]
                assert len(clones) == (change == "go back"), "what it had is not lost"
            if "one" in again.record.snapshots:
                again.apply("one")
                assert again.read(0, 5) == b"first"
    assert step > 0, "it has moments to be broken off at"


def test_a_full_disk_is_told_and_changes_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    try:
        create(small / "data", SIZE)
        with closing(Volume.open(small / "data")) as opened:
            opened.write(0, b"kept")
            opened.flush()
            with pytest.raises(OSError, match="space"):
                opened.write(1 << 20, bytes([1]) * (2 << 20))
            with pytest.raises((OutOfSpaceError, OSError), match=r"full|space"):
                opened.snapshot("one")
            assert opened.read(0, 4) == b"kept"
        assert not read_record(small / "data").snapshots
        assert describe(small / "data")["Size"] == SIZE
        with pytest.raises(OutOfSpaceError):
            create(small / "other", SIZE)
        assert not (small / "other").exists()
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_snapshot_opens_no_layer_below_again(made: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        made.write(number << 16, b"layer")
        made.snapshot(f"s{number}")
    opened: list[str] = []
    usual = File.open.__func__  # type: ignore[attr-defined]

    def noted(kind: type[File], path: Path, **how: bool) -> File:
        opened.append(path.name)
        return usual(kind, path, **how)  # type: ignore[no-any-return]

    monkeypatch.setattr(File, "open", classmethod(noted))
    made.write(3 << 16, b"layer")
    kept = made.snapshot("last")
    assert opened == [made.record.file(made.record.top)]
    with closing(layers.open_chain(made.folder, made.record, kept.layer, read_only=True)) as below:
        made.write(0, b"later")
        assert [below.read(number << 16, 5) for number in range(4)] == [b"layer"] * 4


@pytest.mark.parametrize("which", ["layer", "record", "fresh", "lock"])
def test_no_link_in_a_volume_leads_out(tmp_path: Path, which: str) -> None:
    """A guest that has taken over its machine's process can write to the volume's folder, and the daemon opens what is there."""
    create(tmp_path / "data", SIZE)
    record = read_record(tmp_path / "data")
    secret = tmp_path / "secret"
    secret.write_bytes((tmp_path / "data" / record.file(record.top)).read_bytes())
    before = secret.read_bytes()
    names = {"layer": record.file(record.top), "record": RECORD, "fresh": f".{RECORD}", "lock": "lock"}
    place = tmp_path / "data" / names[which]
    place.unlink(missing_ok=True)
    place.symlink_to(secret)
    if which == "fresh":
        with closing(Volume.open(tmp_path / "data")) as volume:
            volume.snapshot("one")
    else:
        with pytest.raises((BadInputError, OSError), match="symbolic links"):
            Volume.open(tmp_path / "data").close()
    assert secret.read_bytes() == before
