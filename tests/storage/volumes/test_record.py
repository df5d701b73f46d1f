"""The record of a volume: what it says of layers, and that nothing that is damaged is believed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from gasang.core.errors import BadInputError, StateError
from gasang.storage.volumes.record import LAYERS_MAX, Kept, Layer, Record, new_key, parse
from support.damage import damaged

A, B, C = "a" * 16, "b" * 16, "c" * 16
SOUND = Record(
    "qcow2", C, {A: Layer(), B: Layer(below=A), C: Layer(below=B)}, {"before": Kept(A, 1 << 30, "2026-01-01T00:00:00Z")}, "ext4", {"x": B}
)


def test_a_record_is_what_it_was() -> None:
    assert parse(SOUND.make(), "volume") == SOUND


@given(damaged(SOUND.make()))
def test_a_damaged_record_is_refused_or_whole(data: bytes) -> None:
    try:
        found = parse(data, "volume")
    except BadInputError:
        return
    for key in (found.top, *(kept.layer for kept in found.snapshots.values())):
        for each in found.chain(key):
            assert "/" not in found.file(each)


@pytest.mark.parametrize(
    "wrong",
    [
        replace(SOUND, top="d" * 16),
        replace(SOUND, layers={**SOUND.layers, A: Layer(below=C)}),
        replace(SOUND, layers={**SOUND.layers, "../../etc": Layer()}),
        replace(SOUND, layers={**SOUND.layers, B: Layer("raw", A)}),
        replace(SOUND, snapshots={"x": Kept(C, 1 << 30, "")}),
        replace(SOUND, snapshots={"../x": Kept(A, 1 << 30, "")}),
        replace(SOUND, form="vmdk"),
    ],
    ids=["no top", "loop", "path", "raw on something", "snapshot of the top", "name", "format"],
)
def test_what_no_volume_says_is_refused(wrong: Record) -> None:
    with pytest.raises(BadInputError):
        parse(wrong.make(), "volume")


def test_only_layers_that_nothing_needs_are_spare() -> None:
    assert SOUND.spare() is None, "its only neighbours are a snapshot, a base and the top"
    d = "d" * 16
    longer = replace(SOUND, top=d, layers={**SOUND.layers, d: Layer(below=C)}, bases={"x": C})
    assert longer.spare() == (B, C)
    assert replace(longer, snapshots={}).spare() == (A, B)
    assert replace(longer, bases={}).spare() == (B, C)


def test_what_nothing_stands_on_goes() -> None:
    back = SOUND.on(A, "d" * 16).reachable()
    assert set(back.layers) == {A, "d" * 16}
    assert not back.bases


def test_layers_are_bounded() -> None:
    record = Record("qcow2", A, {A: Layer()})
    for _ in range(LAYERS_MAX - 1):
        record = record.on(record.top, new_key())
    with pytest.raises(StateError):
        record.on(record.top, new_key())
    assert parse(record.make(), "volume") == record
