"""Overlays: the base never changes, named ones come back, damaged and foreign ones are refused."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, PermissionDeniedError, StateError
from gasang.storage.memory import Memory
from gasang.storage.overlay import CLUSTER, LAYERS_MAX, Overlay
from gasang.storage.raw import Raw

SIZE = 3 * 4096 * CLUSTER + 512
"""More than two pages of map, and a last cluster that is not whole."""
SMALL = 10 * CLUSTER


def test_the_base_never_changes(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"b" * SMALL)
    disk = Overlay(Raw.open(path, read_only=True))
    disk.write(100, b"changed")
    disk.write_zeroes(0, CLUSTER)
    disk.discard(0, SMALL)
    disk.close()
    assert path.read_bytes() == b"b" * SMALL


def test_an_ephemeral_one_leaves_nothing(tmp_path: Path) -> None:
    disk = Overlay(Memory(SMALL), str(tmp_path))
    disk.write(0, b"x" * SMALL)
    disk.flush()
    disk.close()
    assert list(tmp_path.iterdir()) == []


def test_it_costs_what_is_written() -> None:
    disk = Overlay(Memory(SIZE))
    disk.write(SIZE // 2, b"x" * 100)
    blocks = os.fstat(disk._descriptor).st_blocks * 512
    assert 0 < blocks <= 16 * CLUSTER
    disk.close()


def test_whole_clusters_are_not_copied_first() -> None:
    class Counted(Memory):
        reads = 0

        def read(self, offset: int, length: int) -> bytes:
            self.reads += 1
            return super().read(offset, length)

    base = Counted(content=b"b" * (SMALL + 512))
    disk = Overlay(base)
    disk.write(CLUSTER, b"x" * 3 * CLUSTER)
    disk.write(SMALL, b"y" * 512)  # the last cluster is short, and this is all of it
    assert base.reads == 0
    disk.write(6 * CLUSTER + 5, b"z" * CLUSTER)
    assert base.reads == 2
    disk.close()


def test_a_named_one_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "overlay"
    base = b"b" * SIZE
    disk = Overlay.open(Memory(content=base), path, b"digest")
    writes = [(5, b"one"), (4096 * CLUSTER - 1, b"across"), (SIZE - 2, b"zz")]
    for offset, data in writes:
        disk.write(offset, data)
    disk.close()
    disk = Overlay.open(Memory(content=base), path, b"digest")
    model = bytearray(base)
    for offset, data in writes:
        model[offset : offset + len(data)] = data
    assert disk.read(0, SIZE) == model
    assert path.stat().st_blocks * 512 < 64 * CLUSTER
    disk.close()


def test_after_a_crash_what_was_flushed_is_there(tmp_path: Path) -> None:
    path = tmp_path / "overlay"
    disk = Overlay.open(Memory(content=b"b" * SMALL), path)
    disk.write(0, b"1" * CLUSTER)
    disk.flush()
    disk.write(0, b"2" * CLUSTER)
    disk.write(CLUSTER, b"3" * CLUSTER)
    (tmp_path / "crashed").write_bytes(path.read_bytes())
    again = Overlay.open(Memory(content=b"b" * SMALL), tmp_path / "crashed")
    assert again.read(0, CLUSTER) in (b"1" * CLUSTER, b"2" * CLUSTER)
    assert again.read(CLUSTER, CLUSTER) in (b"b" * CLUSTER, b"3" * CLUSTER)
    disk.close()
    again.close()


def test_one_machine_at_a_time(tmp_path: Path) -> None:
    disk = Overlay.open(Memory(SMALL), tmp_path / "overlay")
    with pytest.raises(StateError, match="another machine"):
        Overlay.open(Memory(SMALL), tmp_path / "overlay")
    disk.close()
    Overlay.open(Memory(SMALL), tmp_path / "overlay").close()


def test_another_base_is_refused(tmp_path: Path) -> None:
    Overlay.open(Memory(SMALL), tmp_path / "overlay", b"one").close()
    for base, identity in ((Memory(SMALL), b"two"), (Memory(SMALL + 512), b"one"), (Memory(512), b"one")):
        with pytest.raises(BadInputError, match="another base"):
            Overlay.open(base, tmp_path / "overlay", identity)
    Overlay.open(Memory(SMALL), tmp_path / "overlay", b"one").close()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, SMALL + 10 + 512), at=st.integers(0, 600), value=st.integers(0, 255))
def test_damage_is_told_and_never_read_as_content(tmp_path_factory: pytest.TempPathFactory, cut: int, at: int, value: int) -> None:
    path = tmp_path_factory.mktemp("damage") / "overlay"
    disk = Overlay.open(Memory(content=b"b" * SMALL), path)
    disk.write(0, b"x" * CLUSTER)
    disk.close()
    good = path.read_bytes()
    path.write_bytes(good[:cut] or b"x")
    if cut < len(good):
        with pytest.raises(BadInputError):
            Overlay.open(Memory(SMALL), path)
    bad = bytearray(good)
    place = len(good) - 1 - at % (512 + 10)
    bad[place] = value
    path.write_bytes(bad)
    if place >= len(good) - 512 and bad != good:
        with pytest.raises(BadInputError):
            Overlay.open(Memory(SMALL), path)
    elif value > 1:
        with pytest.raises(BadInputError, match="map is damaged"):
            Overlay.open(Memory(SMALL), path)


def test_what_cannot_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match="cannot be opened"):
        Overlay.open(Memory(SMALL), tmp_path)
    with pytest.raises(BadInputError, match="cannot be opened"):
        Overlay.open(Memory(SMALL), tmp_path / "absent" / "overlay")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(BadInputError, match="no overlay"):
        Overlay.open(Memory(SMALL), tmp_path / "text")
    assert (tmp_path / "text").read_text() == "hello"

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("gasang.storage.overlay.open_file", refuse)
    with pytest.raises(PermissionDeniedError):
        Overlay.open(Memory(SMALL), tmp_path / "overlay")


def test_a_full_host_is_an_error_of_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Overlay(Memory(content=b"b" * SMALL))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("gasang.storage.overlay.write_at", full)
        with pytest.raises(OSError, match="No space"):
            disk.write(0, b"x" * CLUSTER)
        with pytest.raises(OSError, match="No space"):
            disk.write(5, b"x")
    assert disk.read(0, SMALL) == b"b" * SMALL
    disk.close()


CHANGES = st.lists(st.tuples(st.integers(0, SMALL - 1), st.binary(min_size=1, max_size=3 * CLUSTER), st.booleans()), max_size=12)


@settings(max_examples=50, deadline=None)
@given(changes=CHANGES, later=CHANGES)
def test_what_was_split_off_is_read_and_never_changes(changes: list[tuple[int, bytes, bool]], later: list[tuple[int, bytes, bool]]) -> None:
    disk, model = Overlay(Memory(content=b"b" * SMALL)), bytearray(b"b" * SMALL)
    for offset, data, splits in changes:
        part = data[: SMALL - offset]
        disk.write(offset, part)
        model[offset : offset + len(part)] = part
        if splits:
            disk.split()
    disk.split()
    frozen = [os.pread(file.fileno(), SMALL, 0) for file in disk._files[:-1]]
    for offset, data, zeroes in later:
        part = bytes(len(data))[: SMALL - offset] if zeroes else data[: SMALL - offset]
        if zeroes:
            disk.write_zeroes(offset, len(part))
        else:
            disk.write(offset, part)
        model[offset : offset + len(part)] = part
    assert disk.read(0, SMALL) == model
    assert [os.pread(file.fileno(), SMALL, 0) for file in disk._files[: len(frozen)]] == frozen
    disk.close()


def test_splitting_what_was_not_written_since_costs_nothing_and_many_layers_become_one() -> None:
    disk = Overlay(Memory(SMALL))
    disk.split()
    assert len(disk._files) == 1
    for number in range(3 * LAYERS_MAX):
        disk.write(number % 10 * CLUSTER, bytes([number]) * 7)
        disk.split()
        disk.split()
        assert len(disk._files) <= LAYERS_MAX
    last = range(3 * LAYERS_MAX - 10, 3 * LAYERS_MAX)
    assert all(disk.read(number % 10 * CLUSTER, 8) == bytes([number]) * 7 + b"\0" for number in last)
    disk.close()


@settings(max_examples=30, deadline=None)
@given(before=CHANGES, after=CHANGES)
def test_what_was_saved_is_begun_from_and_never_changes(
    before: list[tuple[int, bytes, bool]], after: list[tuple[int, bytes, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("saved") / "saved"
    disk, model = Overlay(Memory(content=b"b" * SMALL)), bytearray(b"b" * SMALL)
    for offset, data, splits in before:
        part = data[: SMALL - offset]
        disk.write(offset, part)
        model[offset : offset + len(part)] = part
        if splits:
            disk.split()
    with open(path, "x+b") as file:
        disk.save(file.fileno(), b"it")
    disk.close()
    saved = path.read_bytes()
    made = Overlay.over(Memory(content=b"b" * SMALL), path, b"it")
    assert made.read(0, SMALL) == model
    for offset, data, _ in after:
        part = data[: SMALL - offset]
        made.write(offset, part)
        model[offset : offset + len(part)] = part
    assert made.read(0, SMALL) == model
    made.close()
    assert path.read_bytes() == saved
    named = Overlay.open(Memory(content=b"b" * SMALL), path, b"it")
    named.close()


@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-515] + b"\7" + data[-514:]])
def test_a_spoilt_saved_one_is_refused(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    disk = Overlay(Memory(SMALL))
    disk.write(0, b"x" * SMALL)
    with open(tmp_path / "saved", "x+b") as file:
        disk.save(file.fileno(), b"it")
    disk.close()
    (tmp_path / "saved").write_bytes(spoil((tmp_path / "saved").read_bytes()))
    with pytest.raises(BadInputError):
        Overlay.over(Memory(SMALL), tmp_path / "saved", b"it")
    with pytest.raises(BadInputError):
        Overlay.over(Memory(SMALL), tmp_path / "saved", b"another")
