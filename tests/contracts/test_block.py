"""What every disk must do: random reads and writes against a model in memory."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, NotFoundError, StateError
from gasang.core.protocols import Block
from gasang.storage.overlay import Overlay
from gasang.storage.raw import Raw

SIZE = 5 * 65536 + 512


def _raw(path: Path, content: bytes) -> Block:
    path.write_bytes(content)
    return Raw.open(path)


def _overlay(path: Path, content: bytes) -> Block:
    path.write_bytes(content)
    return Overlay(Raw.open(path, read_only=True))


@pytest.mark.parametrize("make", [_raw, _overlay])
@pytest.mark.parametrize("seed", range(5))
def test_reads_and_writes_follow_a_model(make, seed, tmp_path):
    rng = random.Random(seed)
    model = bytearray(rng.randbytes(SIZE))
    disk = make(tmp_path / "disk", bytes(model))
    assert disk.size == SIZE
    for _ in range(300):
        offset = rng.randrange(0, SIZE)
        length = min(rng.choice([1, 512, 4096, 65536, 200000]), SIZE - offset)
        if rng.random() < 0.5:
            data = rng.randbytes(length)
            disk.write(offset, data)
            model[offset : offset + length] = data
        else:
            assert disk.read(offset, length) == model[offset : offset + length]
    disk.flush()
    assert disk.read(0, SIZE) == model
    disk.close()


def test_overlay_never_changes_its_base(tmp_path):
    path = tmp_path / "disk"
    disk = _overlay(path, bytes(SIZE))
    disk.write(100, b"changed")
    disk.close()
    assert path.read_bytes() == bytes(SIZE)


def test_two_writers_are_refused_and_readers_share(tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(bytes(SIZE))
    writer = Raw.open(path)
    with pytest.raises(StateError, match="another machine"):
        Raw.open(path, read_only=True)
    writer.close()
    readers = [Raw.open(path, read_only=True) for _ in range(2)]
    with pytest.raises(StateError):
        Raw.open(path)
    for reader in readers:
        reader.close()


def test_what_is_no_disk_is_refused(tmp_path):
    with pytest.raises(NotFoundError, match="no such file"):
        Raw.open(tmp_path / "absent")
    (tmp_path / "odd").write_bytes(b"x" * 100)
    with pytest.raises(BadInputError, match="sectors"):
        Raw.open(tmp_path / "odd")
    with pytest.raises(BadInputError):
        Raw.open(tmp_path)
