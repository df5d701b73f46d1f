"""Disks that tell where their content is: read by its files and its map, it is what the disk reads."""

from __future__ import annotations

import ctypes
import os
import random
from pathlib import Path

from gasang.core.direct import Direct, DirectBlock
from gasang.core.protocols import Block
from gasang.storage.memory import Memory
from gasang.storage.overlay import CLUSTER, Overlay
from gasang.storage.raw import Raw

SIZE = 20 * CLUSTER + 512


def base(folder: Path) -> Raw:
    path = folder / "base"
    path.write_bytes(random.Random(1).randbytes(SIZE))
    return Raw.open(path, read_only=True)


def content(told: Direct) -> bytes:
    """As whoever is told finds it."""
    found = b""
    for offset in range(0, SIZE, CLUSTER):
        layer = ctypes.c_uint8.from_address(told.clusters + offset // CLUSTER).value if told.clusters else told.top
        found += os.pread(told.files[layer], min(CLUSTER, SIZE - offset), offset)
    return found


def told(block: Block) -> Direct:
    assert isinstance(block, DirectBlock)
    found = block.direct()
    assert found is not None
    assert content(found) == block.read(0, SIZE)
    return found


def test_a_raw_disk_is_its_file(tmp_path: Path) -> None:
    raw = base(tmp_path)
    assert not told(raw).writable
    raw.close()


def test_an_overlay_is_its_layers(tmp_path: Path) -> None:
    overlay = Overlay(base(tmp_path), str(tmp_path))
    first = told(overlay)
    assert (first.top, first.may_own) == (1, True)
    overlay.write(3 * CLUSTER + 7, b"written")
    assert told(overlay).files == first.files
    overlay.split()
    overlay.write(CLUSTER, b"again")
    second = told(overlay)
    assert second.top == 2
    assert second.files[:2] == first.files
    overlay.close()


def test_what_others_have_written_is_a_layers_own(tmp_path: Path) -> None:
    overlay = Overlay(base(tmp_path), str(tmp_path))
    found = told(overlay)
    os.pwrite(found.files[found.top], b"x" * CLUSTER, 5 * CLUSTER)
    ctypes.c_uint8.from_address(found.clusters + 5).value = found.top
    found.own()
    assert overlay.read(5 * CLUSTER, CLUSTER) == b"x" * CLUSTER
    overlay.split()
    assert told(overlay).top == 2, "there was something to keep"
    overlay.close()


def test_a_named_overlay_wants_to_be_asked_for_new_clusters(tmp_path: Path) -> None:
    overlay = Overlay.open(base(tmp_path), tmp_path / "named", b"base")
    overlay.write(0, b"first")
    found = told(overlay)
    assert found.writable
    assert not found.may_own
    overlay.close()


def test_what_lies_elsewhere_is_not_told(tmp_path: Path) -> None:
    overlay = Overlay(Memory(SIZE), str(tmp_path))
    assert overlay.direct() is None
    overlay.close()
    above = Overlay(Overlay(base(tmp_path), str(tmp_path)), str(tmp_path))
    assert above.direct() is None
    above.close()
