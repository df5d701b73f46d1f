"""Copy-on-write memory: filled from files, kept across `make_private`, and what of it was touched."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import OutOfSpaceError
from gasang.host.memory import FileRun, LazyMemory
from gasang.host.pages import PAGE, page_runs

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this host has no memory of this kind")

PAGES = 64
SIZE = PAGES * PAGE


@pytest.fixture
def lazy() -> Iterator[LazyMemory]:
    made = LazyMemory(SIZE, "test")
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(b"".join(bytes([number + 1]) * PAGE for number in range(PAGES)))
    descriptor = os.open(path, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def pages(runs: Iterator[tuple[int, int]]) -> set[int]:
    return {page for offset, length in runs for page in range(offset // PAGE, (offset + length) // PAGE)}


def test_files_appear_where_they_belong_and_are_never_changed(lazy: LazyMemory, file: int) -> None:
    lazy.write(0, b"before" * 1000)
    address = lazy.address
    lazy.map_files([FileRun(file, 2 * PAGE, 3 * PAGE), FileRun(file, 10 * PAGE, PAGE)])
    assert lazy.address == address
    expected = b"".join(bytes([page + 1 if page in (2, 3, 4, 10) else 0]) * PAGE for page in range(PAGES))
    assert lazy.view == expected
    lazy.write(3 * PAGE, b"changed")
    lazy.write(20 * PAGE, b"y" * (40 * PAGE))
    assert lazy.view[3 * PAGE : 3 * PAGE + 8] == b"changed\4"
    assert os.pread(file, 8, 3 * PAGE) == b"\4" * 8
    assert pages(lazy.content()) >= {2, 3, 4, 10, *range(20, 60)}
    written = pages(lazy.written())
    assert written >= {3, *range(20, 60)}
    assert not written & {2, 4, 10}


def test_only_what_was_touched_is_told(lazy: LazyMemory, file: int) -> None:
    lazy.map_files([FileRun(file, 0, SIZE)])
    lazy.write(7 * PAGE, b"x")
    runs = list(page_runs(lazy.address, lazy.size))
    assert [run for run in runs if run.own] == [(7 * PAGE, PAGE, True)]
    lazy.prefetch(30 * PAGE, 2 * PAGE, write=True)
    assert {30, 31} <= pages(lazy.written())


def test_a_fork_has_its_own_and_the_content_stays(lazy: LazyMemory) -> None:
    lazy.write(0, b"kept" * (SIZE // 4))
    lazy.make_private()
    lazy.make_private()
    assert lazy.is_private
    assert lazy.view == b"kept" * (SIZE // 4)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        lazy.write(0, b"child" * 1000)
        os.write(write, bytes(lazy.view[:5]))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 9) == b"child"
    assert lazy.view == b"kept" * (SIZE // 4)
    lazy.write(0, b"p" * SIZE)
    assert lazy.view == b"p" * SIZE
    assert pages(lazy.content()) == set(range(PAGES))
    os.close(read)
    os.close(write)


def test_released_memory_is_zeroes(lazy: LazyMemory, file: int) -> None:
    lazy.map_files([FileRun(file, 0, SIZE)])
    lazy.release()
    assert not any(lazy.view)
    assert pages(lazy.content()) <= set(range(PAGES))


def test_what_cannot_be_mapped_is_told(lazy: LazyMemory) -> None:
    read, write = os.pipe()
    with pytest.raises(OutOfSpaceError, match="cannot map"):
        lazy.map_files([FileRun(read, 0, PAGE)])
    os.close(read)
    os.close(write)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, PAGES - 1), st.binary(min_size=1, max_size=3)), max_size=10))
def test_zeroes_are_recognised(writes: list[tuple[int, bytes]]) -> None:
    made = LazyMemory(SIZE, "test")
    for page, data in writes:
        made.write(page * PAGE + 100, data)
    assert pages(made.content()) == {page for page, data in writes}
    for page in range(PAGES):
        assert made.is_zero(page * PAGE, PAGE) == (not any(made.view[page * PAGE : (page + 1) * PAGE]))
    made.close()
