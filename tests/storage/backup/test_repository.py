"""Backups: what was kept comes back, only what changed is read, nothing breaks what is there, and nothing damaged is believed."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from gasang.core.errors import BadInputError, GasangError, NotFoundError, OutOfSpaceError, StateError
from gasang.storage.backup.folder import Folder
from gasang.storage.backup.manifest import Manifest, Object, parse
from gasang.storage.backup.objects import StreamWriter, chunks_of, keep_disk, restore_disk, verify
from gasang.storage.backup.packs import CHUNK, PackWriter, digest_of, read_table
from gasang.storage.backup.repository import Repository
from gasang.storage.backup.store import Entry
from support.damage import damaged

SIZE = 70 << 20
"""More than a page of chunks."""


class Memory:
    """A disk in memory that counts what is read of it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.content = bytearray(size)
        self.count = 0

    def read(self, offset: int, length: int) -> bytes:
        self.count += length
        return bytes(self.content[offset : offset + length])

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.content[offset : offset + len(data)] = data

    def resize(self, size: int) -> None:
        self.content.extend(bytes(size - self.size))
        self.size = size


def keep(folder: Path, name: str, *objects: Object) -> Manifest:
    return Manifest(name, "data", "volume", "2026-01-01T00:00:00Z", objects, {"Driver": "disk"})


def content_of(repository: Repository, kept: Object) -> bytes:
    disk = Memory(kept.size)
    restore_disk(repository, kept, disk)
    return bytes(disk.content)


def test_each_backup_is_whole_and_reads_what_changed(tmp_path: Path) -> None:
    rng = random.Random(2)
    disk = Memory(SIZE)
    for _ in range(20):
        at = rng.randrange(SIZE - CHUNK)
        disk.write(at, rng.randbytes(rng.randrange(1, CHUNK)))
    states = []
    with Repository.open(tmp_path / "b", writes=True, make=True) as repository:
        made, read = keep_disk(repository, "volume", disk, [(0, SIZE)], {})
        assert read == SIZE
        repository.commit(keep(tmp_path, "first", made))
        states.append(bytes(disk.content))
        stored = repository.stored
        changed = [(3 * CHUNK, 2 * CHUNK), (SIZE - 5000, 5000)]
        for at, length in changed:
            disk.write(at, rng.randbytes(length))
        disk.count = 0
        made, read = keep_disk(repository, "volume", disk, changed, {}, made)
        assert read == disk.count == 3 * CHUNK
        assert repository.stored - stored < 4 * CHUNK + 2 * 40_000, "and stores no more than that and its pages"
        repository.commit(keep(tmp_path, "second", made))
        states.append(bytes(disk.content))
        disk.resize(SIZE * 2)
        disk.write(SIZE + 10, b"grown")
        made, _ = keep_disk(repository, "volume", disk, [(SIZE, CHUNK)], {}, made)
        repository.commit(keep(tmp_path, "third", made))
        states.append(bytes(disk.content))
    with Repository.open(tmp_path / "b") as repository:
        assert repository.names() == ["first", "second", "third"]
        for name, state in zip(repository.names(), states, strict=True):
            assert content_of(repository, repository.read(name).objects[0]) == state, name


@pytest.mark.parametrize(("before", "after"), [(5, 9), (1024, 1030), (9, 5), (2048, 1024), (1024.5, 1030.5), (9.5, 5.5), (5.5, 1024)])
def test_a_disk_of_another_size(before: float, after: float, tmp_path: Path) -> None:
    """In chunks, at and off the borders of chunks and pages."""
    rng = random.Random(11)
    one, other = Memory(int(before * CHUNK)), Memory(int(after * CHUNK))
    for at in (0, one.size - CHUNK):
        one.write(at, rng.randbytes(CHUNK))
    kept = min(one.size, other.size)
    other.write(0, one.content[:kept])
    with Repository.open(tmp_path / "b", writes=True, make=True) as repository:
        first, _ = keep_disk(repository, "volume", one, [(0, one.size)], {})
        second, read = keep_disk(repository, "volume", other, [], {}, first)
        assert read <= CHUNK
        assert content_of(repository, first) == one.content
        assert content_of(repository, second) == other.content


def test_what_others_need_stays_when_one_goes(tmp_path: Path) -> None:
    rng = random.Random(3)
    disk = Memory(40 * CHUNK)
    disk.write(0, rng.randbytes(disk.size))
    with Repository.open(tmp_path / "b", writes=True, make=True) as repository:
        first, _ = keep_disk(repository, "volume", disk, [(0, disk.size)], {})
        repository.commit(keep(tmp_path, "first", first))
        disk.write(0, rng.randbytes(30 * CHUNK))
        second, _ = keep_disk(repository, "volume", disk, [(0, 30 * CHUNK)], {}, first)
        repository.commit(keep(tmp_path, "second", second))
        before = sum(path.stat().st_size for path in (tmp_path / "b/packs").iterdir())
        repository.remove("first")
        freed = repository.sweep()
        after = sum(path.stat().st_size for path in (tmp_path / "b/packs").iterdir())
        assert freed > 25 * CHUNK
        assert before - after > 25 * CHUNK
        assert content_of(repository, second) == disk.content
        with pytest.raises(NotFoundError):
            repository.read("first")
        repository.remove("second")
        repository.sweep()
        assert not list((tmp_path / "b/packs").iterdir())


class Killed(BaseException):
    """Nothing that follows happens."""


@pytest.mark.parametrize("what", ["create", "remove"])
def test_a_crash_at_any_moment_leaves_earlier_backups_whole(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(4)
    disk = Memory(20 * CHUNK)
    disk.write(0, rng.randbytes(disk.size))
    first = tmp_path / "first"
    with Repository.open(first, writes=True, make=True) as repository:
        kept, _ = keep_disk(repository, "volume", disk, [(0, disk.size)], {})
        repository.commit(keep(first, "first", kept))
        state = bytes(disk.content)
        disk.write(0, rng.randbytes(15 * CHUNK))
        second, _ = keep_disk(repository, "volume", disk, [(0, 15 * CHUNK)], {}, kept)
        repository.commit(keep(first, "second", second))

    def work(folder: Path) -> None:
        with Repository.open(folder, writes=True) as repository:
            if what == "create":
                disk.write(CHUNK, rng.randbytes(CHUNK))
                made, _ = keep_disk(repository, "volume", disk, [(CHUNK, CHUNK)], {}, second)
                repository.commit(keep(folder, "third", made))
            else:
                repository.remove("second")
                repository.sweep()

    for step in range(60):
        folder, left = tmp_path / f"b{step}", tmp_path / f"left{step}"
        shutil.copytree(first, folder)
        count = 0

        def counted(act: Callable[..., object], *words: object, folder: Path = folder, left: Path = left, step: int = step) -> object:
            nonlocal count
            if count >= step:
                if not left.exists():
                    shutil.copytree(folder, left)
                raise Killed
            count += 1
            return act(*words)

        with monkeypatch.context() as patch:
            for name in ("fsync", "replace", "rename", "unlink"):
                real = getattr(os, name)
                patch.setattr(os, name, lambda *words, real=real, counted=counted: counted(real, *words))
            try:
                work(folder)
            except Killed:
                pass
            else:
                break
        with Repository.open(left, writes=True) as repository:
            assert content_of(repository, repository.read("first").objects[0]) == state, step
            for each in repository.all():
                verify(repository, each.objects[0])
            repository.sweep()
            assert content_of(repository, repository.read("first").objects[0]) == state, step
    assert step > 3


def test_a_full_disk_is_told_and_leaves_what_is_there(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", tmp_path], check=True)
    try:
        disk = Memory(64 * CHUNK)
        disk.write(0, random.Random(5).randbytes(8 * CHUNK))
        with Repository.open(tmp_path / "b", writes=True, make=True) as repository:
            small, _ = keep_disk(repository, "volume", disk, [(0, disk.size)], {})
            repository.commit(keep(tmp_path, "small", small))
        disk.write(8 * CHUNK, random.Random(6).randbytes(56 * CHUNK))
        with Repository.open(tmp_path / "b", writes=True) as repository, pytest.raises(OutOfSpaceError, match="full"):
            repository.commit(keep(tmp_path, "large", keep_disk(repository, "volume", disk, [(0, disk.size)], {})[0]))
        with Repository.open(tmp_path / "b", writes=True) as repository:
            assert repository.names() == ["small"]
            verify(repository, small)
            assert not list((tmp_path / "b/packs").glob("*.part"))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_streams_come_back_and_share_what_is_the_same(tmp_path: Path) -> None:
    rng = random.Random(7)
    files = [rng.randbytes(rng.randrange(1, 4 * CHUNK)) for _ in range(20)]
    with Repository.open(tmp_path / "b", writes=True, make=True) as repository:
        kept = []
        for parts in (files, [b"shifted", *files[:10], b"between", *files[10:]]):
            writer = StreamWriter(repository, "files")
            before = repository.stored
            for part in parts:
                writer.cut()
                writer.write(part)
            kept.append((writer.finish({}), b"".join(parts), repository.stored - before))
        for made, content, _ in kept:
            assert b"".join(data for _, data in chunks_of(repository, made)) == content
        assert kept[1][2] < 4096


def test_one_writes_at_a_time_and_other_folders_are_let_alone(tmp_path: Path) -> None:
    with Repository.open(tmp_path / "b", writes=True, make=True), pytest.raises(StateError, match="another writes"):
        Repository.open(tmp_path / "b")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(StateError, match="other files"):
        Repository.open(tmp_path / "other", writes=True, make=True)
    with pytest.raises(NotFoundError):
        Repository.open(tmp_path / "nowhere")


def test_damage_is_found(tmp_path: Path) -> None:
    disk = Memory(4 * CHUNK)
    disk.write(0, random.Random(8).randbytes(disk.size))
    with Repository.open(tmp_path / "b", writes=True, make=True) as repository:
        kept, _ = keep_disk(repository, "volume", disk, [(0, disk.size)], {})
        repository.commit(keep(tmp_path, "one", kept))
    (pack,) = (tmp_path / "b/packs").iterdir()
    sound = pack.read_bytes()
    for at in (1000, len(sound) // 2, len(sound) - 60):
        spoilt = bytearray(sound)
        spoilt[at] ^= 1
        pack.write_bytes(spoilt)
        with Repository.open(tmp_path / "b") as repository, pytest.raises(BadInputError):
            verify(repository, repository.read("one").objects[0])
    pack.unlink()
    with Repository.open(tmp_path / "b") as repository, pytest.raises(BadInputError, match="missing"):
        verify(repository, kept)


DISK = Object("volume", "disk", CHUNK, ("ab" * 32,), {"layer": "x"})
SOUND = Manifest("one", "data", "volume", "2026", (DISK,), {"Driver": "disk"}, read=5)


def _resealed(data: bytes) -> bytes:
    body = data.partition(b"\n")[2]
    return digest_of(body).hex().encode() + b"\n" + body


@given(damaged(SOUND.make()))
def test_manifests_of_anybody_are_whole_or_refused(data: bytes) -> None:
    assert parse(SOUND.make(), "backup") == SOUND
    for text in (data, _resealed(data)):
        try:
            found = parse(text, "backup")
        except BadInputError:
            continue
        assert "/" not in found.identity
        assert all(bytes.fromhex(page) for each in found.objects for page in each.pages)


def test_packs_of_anybody_are_whole_or_refused(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    writer = PackWriter(store.draft("x.pack"), "x.pack")
    for number in range(3):
        writer.add(digest_of(bytes([number])), bytes([number]))
    writer.close()
    sound = (tmp_path / "x.pack").read_bytes()

    @settings(max_examples=60)
    @given(damaged(sound))
    def check(data: bytes) -> None:
        (tmp_path / "x.pack").write_bytes(data)
        try:
            found = read_table(store, Entry("x.pack", len(data), 0))
        except BadInputError:
            return
        assert all(place.offset + place.stored <= len(data) for place in found.values())

    check()


def test_a_backup_that_claims_more_than_it_has_is_refused(tmp_path: Path) -> None:
    with Repository.open(tmp_path / "b", writes=True, make=True) as repository:
        disk = Memory(CHUNK)
        disk.write(0, b"x" * CHUNK)
        kept, _ = keep_disk(repository, "volume", disk, [(0, CHUNK)], {})
        with pytest.raises(GasangError):
            content_of(repository, replace(kept, size=CHUNK // 2))
        with pytest.raises(GasangError):
            restore_disk(repository, kept, Memory(10))
        with pytest.raises(GasangError):
            verify(repository, replace(kept, kind="stream", size=CHUNK * 3))
