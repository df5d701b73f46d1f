"""What every disk must do, whatever it is made of: follow a model in memory, stay within its borders, be sound after each call."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.protocols import Block
from gasang.storage.memory import Memory
from gasang.storage.overlay import Overlay
from gasang.storage.raw import Raw

SIZE = 5 * 65536 + 512


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "disk"
    path.write_bytes(content)
    return path


def _raw(folder: Path, content: bytes) -> Block:
    return Raw.open(_file(folder, content))


def _raw_without_holes(folder: Path, content: bytes) -> Block:
    disk = Raw.open(_file(folder, content))
    disk._punches = False
    return disk


def _overlay(folder: Path, content: bytes) -> Block:
    return Overlay(Raw.open(_file(folder, content), read_only=True), str(folder))


def _overlay_without_holes(folder: Path, content: bytes) -> Block:
    disk = Overlay(Memory(content=content, read_only=True))
    disk._punches = False
    return disk


def _named_overlay(folder: Path, content: bytes) -> Block:
    return Overlay.open(Raw.open(_file(folder, content), read_only=True), folder / "overlay", b"identity")


def _overlay_of_overlay(folder: Path, content: bytes) -> Block:
    middle = Overlay(Memory(content=bytes(len(content))))
    middle.write(0, content)
    return Overlay(middle)


def _memory(folder: Path, content: bytes) -> Block:
    return Memory(content=content)


MAKERS = [_raw, _raw_without_holes, _overlay, _overlay_without_holes, _named_overlay, _overlay_of_overlay, _memory]
every_disk = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__.strip("_"))

Maker = Callable[[Path, bytes], Block]


@contextlib.contextmanager
def opened(make: Maker, content: bytes) -> Iterator[Block]:
    with tempfile.TemporaryDirectory() as folder:
        disk = make(Path(folder), content)
        try:
            yield disk
        finally:
            disk.close()


# Borders are where the faults are: sectors, pages, clusters, the disk's end, and their neighbours.
offsets = st.one_of(
    st.integers(0, SIZE),
    st.builds(
        lambda unit, n, d: min(max(unit * n + d, 0), SIZE), st.sampled_from([512, 4096, 65536]), st.integers(0, 80), st.integers(-1, 1)
    ),
)
ranges = st.tuples(offsets, offsets).map(lambda pair: (min(pair), max(pair) - min(pair)))
operations = st.lists(st.tuples(st.sampled_from(["read", "write", "write_zeroes", "discard", "flush"]), ranges), max_size=25)


@every_disk
@settings(max_examples=25, deadline=None)
@given(operations=operations, seed=st.integers(0, 1 << 32), size=st.sampled_from([512, 4096, 65536, SIZE]))
def test_it_follows_a_model(make: Maker, operations: list[tuple[str, tuple[int, int]]], seed: int, size: int) -> None:
    random_bytes = random.Random(seed).randbytes
    model = bytearray(random_bytes(size))
    with opened(make, bytes(model)) as disk:
        assert disk.size == size
        for name, (offset, length) in operations:
            offset = min(offset, size)
            length = min(length, size - offset)
            _step(disk, model, name, offset, random_bytes(length))
        assert disk.read(0, size) == model


def _step(disk: Any, model: bytearray, name: str, offset: int, data: bytes) -> None:
    end = offset + len(data)
    if name == "read":
        got = disk.read(offset, len(data))
        assert isinstance(got, bytes)
        assert got == model[offset:end]
    elif name == "write":
        disk.write(offset, memoryview(data))
        model[offset:end] = data
    elif name == "write_zeroes":
        disk.write_zeroes(offset, len(data))
        model[offset:end] = bytes(len(data))
    elif name == "discard":
        disk.discard(offset, len(data))
        now = disk.read(offset, len(data))
        # Each byte is zero or what it was; the protocol leaves the choice to the disk.
        assert all(new in (0, old) for new, old in zip(now, model[offset:end], strict=True))
        model[offset:end] = now
    else:
        disk.flush()


@every_disk
@pytest.mark.parametrize(("offset", "length"), [(SIZE, 1), (SIZE - 1, 2), (-1, 1), (1 << 70, 1), (0, SIZE + 1)])
def test_outside_is_refused_and_nothing_happens(make: Maker, offset: int, length: int) -> None:
    content = random.Random(1).randbytes(SIZE)
    with opened(make, content) as disk:
        for call in (
            lambda: disk.read(offset, length),
            lambda: disk.write(offset, bytes(length)),
            lambda: disk.discard(offset, length),
            lambda: disk.write_zeroes(offset, length),  # type: ignore[attr-defined]
        ):
            with pytest.raises(OSError, match="outside"):
                call()
        with pytest.raises(OSError, match="outside"):
            disk.read(0, -1)
        assert disk.read(0, SIZE) == content


@every_disk
def test_nothing_at_the_end_is_allowed(make: Maker) -> None:
    with opened(make, bytes(SIZE)) as disk:
        assert disk.read(SIZE, 0) == b""
        disk.write(SIZE, b"")
        disk.discard(SIZE, 0)
        disk.flush()


@every_disk
def test_closing_twice_is_harmless(make: Maker, tmp_path: Path) -> None:
    disk = make(tmp_path, bytes(SIZE))
    disk.close()
    with open(tmp_path / "other", "wb") as other:  # may get the descriptor that was freed
        disk.close()
        other.write(b"still open")
