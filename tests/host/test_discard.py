"""Memory given back to the host while it is in use: it reads as zeroes then, whatever kind of memory it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.core.errors import OutOfSpaceError
from gasang.host import memory
from gasang.host.memory import FileRun, LazyMemory
from gasang.host.pages import PAGE

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this host takes nothing back")

PAGES = 64
SIZE = PAGES * PAGE
FULL = b"".join(bytes([page + 1]) * PAGE for page in range(PAGES))


@pytest.fixture
def lazy() -> Iterator[LazyMemory]:
    made = LazyMemory(SIZE, "test")
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(FULL)
    descriptor = os.open(path, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def expected(*emptied: range) -> bytes:
    gone = {page for pages in emptied for page in pages}
    return b"".join(bytes([0 if page in gone else page + 1]) * PAGE for page in range(PAGES))


def pages(runs: Iterator[tuple[int, int]]) -> set[int]:
    return {page for offset, length in runs for page in range(offset // PAGE, (offset + length) // PAGE)}


def test_memory_that_others_could_map(lazy: LazyMemory) -> None:
    lazy.write(0, FULL)
    lazy.discard(2 * PAGE, 20 * PAGE)
    assert pages(lazy.content()) == {*range(2), *range(22, PAGES)}
    assert lazy.view == expected(range(2, 22))


def test_parts_of_pages_stay(lazy: LazyMemory) -> None:
    lazy.write(0, FULL)
    lazy.discard(PAGE - 1, 2 * PAGE)
    assert lazy.view == expected(range(1, 2))
    for offset, length in ((5 * PAGE + 1, PAGE), (5 * PAGE, PAGE - 1), (5 * PAGE, 0), (SIZE, 0)):
        lazy.discard(offset, length)
    assert lazy.view == expected(range(1, 2))


def test_copy_on_write_memory_without_a_file(lazy: LazyMemory) -> None:
    lazy.map_files([])
    lazy.write(0, FULL)
    lazy.discard(3 * PAGE, PAGE)
    assert 3 in pages(lazy.written()), "no page of ours is left to tell"
    assert lazy.view[:].tobytes() == expected(range(3, 4))
    lazy.map_files([])
    assert 3 not in pages(lazy.written())


def test_a_files_content_is_gone_and_that_counts_as_written(lazy: LazyMemory, file: int) -> None:
    lazy.map_files([FileRun(file, 0, SIZE)])
    lazy.write(30 * PAGE, b"x")
    lazy.discard(20 * PAGE, 16 * PAGE)
    assert not pages(lazy.content()) & set(range(20, 36))
    assert pages(lazy.written()) >= set(range(20, 36))
    assert lazy.view == expected(range(20, 36))
    assert os.pread(file, 1, 20 * PAGE) == bytes([21])
    lazy.write(25 * PAGE, b"again")
    lazy.discard(25 * PAGE, PAGE)
    assert lazy.view == expected(range(20, 36))


def test_a_little_of_a_files_content_stays(lazy: LazyMemory, file: int) -> None:
    lazy.map_files([FileRun(file, 0, SIZE)])
    lazy.discard(20 * PAGE, 15 * PAGE)
    assert lazy.view == FULL


def test_so_many_mappings_and_no_more(lazy: LazyMemory, file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MOST_PLACES", 1)
    lazy.map_files([FileRun(file, 0, SIZE)])
    lazy.discard(0, 16 * PAGE)
    lazy.discard(32 * PAGE, 16 * PAGE)
    assert lazy.view == expected(range(16))


def test_what_the_host_cannot_map_stays(lazy: LazyMemory, file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lazy.map_files([FileRun(file, 0, SIZE)])

    def refuse(*arguments: int) -> None:
        raise OutOfSpaceError("guest memory", "the host cannot map it", "raise vm.max_map_count")

    monkeypatch.setattr(memory, "_map_fixed", refuse)
    lazy.discard(0, SIZE)
    assert lazy.view == FULL
    assert pages(lazy.content()) == set(range(PAGES))


def test_a_fork_keeps_what_the_other_discards(lazy: LazyMemory) -> None:
    lazy.write(0, FULL)
    lazy.make_private()
    child = os.fork()
    if child == 0:
        lazy.discard(0, SIZE)
        os._exit(any(lazy.view))
    assert os.waitpid(child, 0)[1] == 0
    assert lazy.view == FULL
