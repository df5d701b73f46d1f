"""Chains: disks that outlive their process, share what was written before a split, and are refused where they are damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, StateError
from gasang.storage.chain import Chain, adopt
from gasang.storage.memory import Memory
from gasang.storage.overlay import CLUSTER, LAYERS_MAX, Overlay

SIZE = 40 * CLUSTER + 512
NAME = b"base"


def base() -> Memory:
    return Memory(content=b"b" * SIZE)


def opened(folder: Path) -> Chain:
    return Chain.open_folder(base(), folder, NAME)


def whole(folder: Path) -> bytes:
    disk = opened(folder)
    try:
        return disk.read(0, SIZE)
    finally:
        disk.close()


def test_what_was_written_is_there_the_next_time(tmp_path: Path) -> None:
    disk = opened(tmp_path / "disk")
    disk.write(100, b"one")
    disk.split()
    disk.write(CLUSTER * 3, b"two")
    disk.close()
    again = opened(tmp_path / "disk")
    assert again.read(99, 5) == b"boneb"
    again.write(101, b"N")
    again.close()
    said = whole(tmp_path / "disk")
    assert said[99:104] == b"boNeb"
    assert said[CLUSTER * 3 : CLUSTER * 3 + 4] == b"twob"
    assert len(said.replace(b"b", b"")) == 6


def test_what_was_flushed_outlives_a_process_that_is_killed(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        disk = opened(tmp_path / "disk")
        disk.write(0, b"kept")
        disk.split()
        disk.write(CLUSTER, b"too")
        disk.flush()
        os._exit(0)  # nothing is closed
    assert os.waitpid(pid, 0)[1] == 0
    said = whole(tmp_path / "disk")
    assert (said[:5], said[CLUSTER : CLUSTER + 4]) == (b"keptb", b"toob")


def test_a_fork_shares_what_was_and_has_a_folder_of_its_own(tmp_path: Path) -> None:
    disk = opened(tmp_path / "disk")
    disk.write(0, b"before")
    disk.heir = tmp_path / "twin"
    disk.split()
    pid = os.fork()
    if pid == 0:
        disk.renew()
        disk.write(0, b"TWIN")
        disk.close()
        os._exit(0)
    disk.heir = None
    disk.write(2, b"____")
    assert os.waitpid(pid, 0)[1] == 0
    assert disk.read(0, 6) == b"be____"
    disk.close()
    assert whole(tmp_path / "twin")[:6] == b"TWINre"
    assert whole(tmp_path / "disk")[:6] == b"be____"
    assert os.stat(tmp_path / "disk" / "1").st_nlink == 2


def test_many_splits_become_one_layer_again(tmp_path: Path) -> None:
    disk = opened(tmp_path / "disk")
    for number in range(LAYERS_MAX + 5):
        disk.write((number % 40) * CLUSTER, bytes([number]) * 10)
        disk.split()
    present = disk.read(0, SIZE)
    assert len(list((tmp_path / "disk").iterdir())) < 10
    disk.close()
    assert whole(tmp_path / "disk") == present


def test_a_split_of_what_nobody_has_written_to_costs_no_layer(tmp_path: Path) -> None:
    disk = opened(tmp_path / "disk")
    for _ in range(3):
        disk.split()
    disk.close()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["1"]


def test_it_begins_with_a_saved_overlay(tmp_path: Path) -> None:
    with Path(tmp_path / "saved").open("w+b") as file:
        overlay = Overlay(base())
        overlay.write(7, b"saved")
        overlay.save(file.fileno(), NAME)
        overlay.close()
    adopt(tmp_path / "saved", tmp_path / "disk")
    disk = opened(tmp_path / "disk")
    disk.write(0, b"own")
    disk.close()
    assert whole(tmp_path / "disk")[:13] == b"ownbbbbsavedb"
    again = Overlay.over(base(), tmp_path / "saved", NAME)
    assert again.read(0, 3) == b"bbb"
    again.close()


def test_two_machines_cannot_have_it_at_once(tmp_path: Path) -> None:
    disk = opened(tmp_path / "disk")
    with pytest.raises(StateError, match="another machine"):
        opened(tmp_path / "disk")
    disk.close()


@pytest.mark.parametrize("damage", [b"", b"x" * 100])
def test_a_layer_that_is_none_is_refused(tmp_path: Path, damage: bytes) -> None:
    disk = opened(tmp_path / "disk")
    disk.write(0, b"one")
    disk.split()
    disk.close()
    (tmp_path / "disk" / "1").write_bytes(damage)
    with pytest.raises(BadInputError, match="overlay"):
        opened(tmp_path / "disk")


def test_another_base_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "disk").close()
    with pytest.raises(BadInputError, match="another base"):
        Chain.open_folder(base(), tmp_path / "disk", b"other")


STEP = st.one_of(
    st.tuples(st.just("write"), st.integers(0, SIZE - 1), st.binary(min_size=1, max_size=3 * CLUSTER)),
    st.tuples(st.just("zero"), st.integers(0, SIZE - 1), st.integers(1, 3 * CLUSTER)),
    st.tuples(st.sampled_from(["split", "flush", "again"])),
)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEP, max_size=12))
def test_it_is_what_a_plain_disk_would_be(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, ...]]) -> None:
    folder = tmp_path_factory.mktemp("chain") / "disk"
    model, disk = bytearray(b"b" * SIZE), opened(folder)
    for kind, *words in steps:
        if kind == "write":
            offset, data = int(words[0]), bytes(words[1])[: SIZE - int(words[0])]  # type: ignore[arg-type]
            disk.write(offset, data)
            model[offset : offset + len(data)] = data
        elif kind == "zero":
            offset, length = int(words[0]), min(int(words[1]), SIZE - int(words[0]))
            disk.write_zeroes(offset, length)
            model[offset : offset + length] = bytes(length)
        elif kind == "again":
            disk.close()
            disk = opened(folder)
        else:
            {"split": disk.split, "flush": disk.flush}[kind]()
        assert disk.read(0, SIZE) == model
    disk.close()


def test_a_forked_process_forks_again_when_what_it_was_forked_from_is_gone(tmp_path: Path) -> None:
    disk = opened(tmp_path / "first")
    disk.write(0, b"one")
    disk.heir = tmp_path / "second"
    disk.split()
    pid = os.fork()
    if pid == 0:
        disk.renew()
        for layer in (tmp_path / "first").iterdir():
            layer.unlink()
        disk.write(CLUSTER, b"two")
        disk.heir = tmp_path / "third"
        disk.split()
        disk.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    disk.close()
    said = whole(tmp_path / "third")
    assert (said[:4], said[CLUSTER : CLUSTER + 4]) == (b"oneb", b"twob")
