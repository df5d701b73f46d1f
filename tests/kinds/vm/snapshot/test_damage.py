"""Snapshots that are damaged, cut off, foreign, of another version or of another machine: refused in a sentence, or harmless."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, GasangError, NotFoundError, UnsupportedError
from gasang.devices.virtio.rng import VirtioRng
from gasang.kinds.vm.card import Card
from gasang.kinds.vm.snapshot import stamp
from gasang.kinds.vm.snapshot.document import decode, encode
from gasang.kinds.vm.snapshot.index import CHUNK, MAPS_MAX, Place, decode_index, encode_index, runs
from gasang.kinds.vm.snapshot.snapshot import Snapshot, Wiring
from support.computing import KEPT_ROUNDS, mixed
from support.damage import damaged


def copy_of(kept: Snapshot, folder: Path, *, shares: bool = False) -> Path:
    """A copy that can be spoilt; memory is copied with its holes, or shared where it is not what is spoilt."""
    target = folder / "copy"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for path in kept.path.iterdir():
        if shares and path.name.startswith("memory-"):
            os.link(path, target / path.name)
            continue
        content = path.read_bytes()
        with open(target / path.name, "wb") as file:
            file.truncate(len(content))
            for at in range(0, len(content), CHUNK):
                if any(part := content[at : at + CHUNK]):
                    file.seek(at)
                    file.write(part)
    return target


def finish(folder: Path) -> bytes:
    """What its guest says when it is restored."""
    said = bytearray()
    with Snapshot.open(folder).restore(Wiring(said.extend)) as vm:
        vm.start()
        vm.join()
    return bytes(said)


@pytest.mark.parametrize("name", ["snapshot.json", "index"])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_small_files_with_faults_are_refused(name: str, data: st.DataObject, kept: Snapshot, tmp_path: Path) -> None:
    folder = copy_of(kept, tmp_path, shares=True)
    sound = (folder / name).read_bytes()
    spoilt = data.draw(damaged(sound))
    (folder / name).write_bytes(spoilt)
    if spoilt == sound:
        return
    with pytest.raises(GasangError) as told:
        Snapshot.open(folder).restore(Wiring(bytearray().extend)).close()
    assert told.value.hint


def test_every_region_of_memory_is_watched(kept: Snapshot, tmp_path: Path) -> None:
    folder = copy_of(kept, tmp_path)
    (layer,) = folder.glob("memory-*")
    for number in [*sorted(kept.index()), 5, 900]:
        offset = number * CHUNK + 4321
        with open(layer, "r+b") as file:
            file.seek(offset)
            (before,) = file.read(1)
            file.seek(offset)
            file.write(bytes([before ^ 0x10]))
        with pytest.raises(BadInputError, match="its memory"):
            Snapshot.open(folder).restore(Wiring(bytearray().extend)).close()
        with open(layer, "r+b") as file:
            file.seek(offset)
            file.write(bytes([before]))
    assert finish(folder) == mixed(KEPT_ROUNDS)


@pytest.mark.parametrize("size", [0, 1, CHUNK, 64 << 20, (64 << 20) - 1])
def test_cut_off_or_longer_memory_is_refused(size: int, kept: Snapshot, tmp_path: Path) -> None:
    folder = copy_of(kept, tmp_path)
    (layer,) = folder.glob("memory-*")
    os.truncate(layer, size + (size == 64 << 20))
    with pytest.raises(BadInputError, match="cut off"):
        Snapshot.open(folder).check()


@pytest.mark.parametrize("pattern", ["memory-*", "index", "snapshot.json"])
def test_a_missing_part_is_told(pattern: str, kept: Snapshot, tmp_path: Path) -> None:
    folder = copy_of(kept, tmp_path)
    next(folder.glob(pattern)).unlink()
    with pytest.raises((BadInputError, NotFoundError), match="snapshot copy"):
        Snapshot.open(folder).check()


@pytest.mark.parametrize("note", [b"", b"{", b"[1]", b"[[1,2]]", b'[[0,99999999,1],[-1,2,0],["a",1,1]]', b"\xff"])
def test_what_is_only_advice_does_no_harm(note: bytes, kept: Snapshot, tmp_path: Path) -> None:
    folder = copy_of(kept, tmp_path)
    (folder / "working-set").write_bytes(note)
    (folder / "verified").write_bytes(note)
    assert finish(folder) == mixed(KEPT_ROUNDS)


def changed(kept: Snapshot, folder: Path, change: Callable[[dict[str, object]], None]) -> Path:
    """A copy whose document says something else, its digest being right."""
    target = copy_of(kept, folder)
    content = (target / "snapshot.json").read_bytes()
    plain = json.loads(content.partition(b"\n")[2])
    change(plain)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
    import hashlib

    (target / "snapshot.json").write_bytes(f"gasang snapshot 1 {hashlib.sha256(text).hexdigest()}\n".encode() + text)
    return target


CHANGES: dict[str, tuple[Callable[[dict[str, dict[str, object]]], object], type[GasangError], str]] = {
    "processor": (lambda plain: plain["board"].update(extensions=["i", "m", "v"]), BadInputError, "another processor"),
    "harts": (lambda plain: plain["board"].update(harts=2), BadInputError, "processors"),
    "devices": (lambda plain: plain["board"].update(virtio=[2]), BadInputError, "different in virtio"),
    "base": (lambda plain: plain["memory"].update(base=0), BadInputError, "where its memory is"),
    "time": (lambda plain: plain["state"]["machine"].update(time=-1), BadInputError, "time"),  # type: ignore[attr-defined]
    "state": (lambda plain: plain["state"].update(board=[]), BadInputError, "a part of it is missing"),
    "device": (lambda plain: plain["state"]["board"]["devices"]["serial"].update(registers=[1]), BadInputError, "no device here"),  # type: ignore[attr-defined]
    "version": (lambda plain: plain["state"].update(version=9), BadInputError, "version is 9"),
    "layers": (lambda plain: plain["memory"].update(layers=["../../etc/passwd"]), BadInputError, "no digest"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_snapshot_of_another_machine_is_refused(name: str, kept: Snapshot, tmp_path: Path) -> None:
    change, kind, words = CHANGES[name]
    folder = changed(kept, tmp_path, change)  # type: ignore[arg-type]
    with pytest.raises(kind, match=words) as told:
        Snapshot.open(folder).restore(Wiring(bytearray().extend)).close()
    assert told.value.hint


def test_another_architecture_and_another_version_are_refused(kept: Snapshot, tmp_path: Path) -> None:
    folder = changed(kept, tmp_path, lambda plain: plain.update(architecture="x86_64"))
    with pytest.raises(UnsupportedError, match="x86_64"):
        Snapshot.open(folder)
    content = (folder / "snapshot.json").read_bytes()
    (folder / "snapshot.json").write_bytes(content.replace(b"snapshot 1", b"snapshot 7", 1))
    with pytest.raises(BadInputError, match="version 7"):
        Snapshot.open(folder)


def test_it_is_restored_to_the_same_devices_alone(kept: Snapshot) -> None:
    with pytest.raises(BadInputError, match="different in virtio"):
        kept.restore(Wiring(bytearray().extend, [VirtioRng()])).close()


def test_what_was_verified_is_verified_once(kept: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy_of(kept, tmp_path)
    (layer,) = folder.glob("memory-*")
    for path in (layer, folder / "index"):
        os.utime(path, (time.time() - 10, time.time() - 10))
    snapshot = Snapshot.open(folder)
    snapshot.check()
    monkeypatch.setattr(Snapshot, "verify", lambda self: pytest.fail("it was verified again"))
    snapshot.check()
    monkeypatch.undo()
    with open(layer, "r+b") as file:
        file.write(b"\x13")
        file.seek(min(kept.index()) * CHUNK)
        file.write(bytes(8))
    with pytest.raises(BadInputError, match="its memory"):
        snapshot.check()


def test_an_index_that_was_verified_is_verified_again_when_it_changes(kept: Snapshot, tmp_path: Path) -> None:
    folder = copy_of(kept, tmp_path)
    snapshot = Snapshot.open(folder)
    snapshot.check()
    os.truncate(folder / "index", (folder / "index").stat().st_size - 1)
    with pytest.raises(BadInputError, match="its index of memory is damaged"):
        snapshot.check()


def test_a_boot_later_it_is_verified_again(kept: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy_of(kept, tmp_path)
    (layer,) = folder.glob("memory-*")
    for path in (layer, folder / "index"):
        os.utime(path, (time.time() - 10, time.time() - 10))
    snapshot = Snapshot.open(folder)
    snapshot.check()
    assert stamp.is_verified(folder, [folder / "index", layer])
    monkeypatch.setattr(stamp, "boot_id", lambda: "another")
    assert not stamp.is_verified(folder, [folder / "index", layer])


@given(st.binary(max_size=200))
def test_any_document_is_one_or_refused(content: bytes) -> None:
    with pytest.raises(BadInputError):
        decode(content, "snapshot x")


def test_a_document_comes_back(kept: Snapshot) -> None:
    card = Card("02:00:00:00:00:07", ("10.0.0.2/24",), ("10.0.0.1",), "nameserver 10.0.0.1\n")
    for document in (kept.document, replace(kept.document, card=card)):
        assert decode(encode(document), "snapshot") == document


def test_a_card_that_is_none_is_refused(kept: Snapshot) -> None:
    odd: Any = SimpleNamespace(mac="02:00")
    with pytest.raises(BadInputError, match="makes no sense"):
        decode(encode(replace(kept.document, card=odd)), "snapshot")


INDEXES = st.dictionaries(st.integers(0, 5000), st.builds(Place, st.integers(0, 3), st.binary(min_size=32, max_size=32)), max_size=40)


@given(INDEXES)
def test_an_index_comes_back_and_its_runs_cover_it(index: dict[int, Place]) -> None:
    assert decode_index(encode_index(index), 5001, 4, "snapshot") == index
    found = runs(index, 3)
    assert len(found) <= MAPS_MAX
    covered = {number: run.layer for run in found for number in range(run.first, run.end)}
    assert {number: place.layer for number, place in index.items()} == {number: covered[number] for number in index}
    assert all(layer == 3 for number, layer in covered.items() if number not in index)
    assert sum(run.end - run.first for run in found) == len(covered)


@given(index=INDEXES, data=st.data())
def test_a_spoilt_index_is_refused_or_another_index(index: dict[int, Place], data: st.DataObject) -> None:
    content = data.draw(damaged(encode_index(index)))
    try:
        found = decode_index(content, 5001, 4, "snapshot")
    except BadInputError:
        return
    assert all(number < 5001 and place.layer < 4 for number, place in found.items())
