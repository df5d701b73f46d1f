"""Which pages the host holds: told alike by runs and by words, and without either."""

from __future__ import annotations

import ctypes
import mmap
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gasang.host import pages
from gasang.host.pages import PAGE, PageRun, page_runs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the host has no pagemap")
COUNT = 5000


@contextmanager
def mapped() -> Iterator[tuple[int, mmap.mmap]]:
    """The address of a file's pages, copied when they are written."""
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * COUNT * PAGE)
        file.flush()
        made = mmap.mmap(file.fileno(), COUNT * PAGE, mmap.MAP_PRIVATE)
        made.madvise(mmap.MADV_RANDOM)  # no page comes that was not asked for
        anchor = ctypes.c_char.from_buffer(made)
        try:
            yield ctypes.addressof(anchor), made
        finally:
            del anchor
            made.close()


def told(address: int, size: int = COUNT * PAGE) -> tuple[set[int], set[int]]:
    """Numbers of the pages that are ours, and of those that are the file's."""
    own, shared = set[int](), set[int]()
    for run in page_runs(address, size):
        (own if run.own else shared).update(range(run.offset // PAGE, (run.offset + run.length) // PAGE))
    return own, shared


@pytest.mark.parametrize("scans", [True, False])
def test_ours_and_the_files(scans: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not scans:
        monkeypatch.setattr(pages, "_SCAN", 0)  # as on an earlier Linux: there is no such call
    with mapped() as (address, memory):
        written = {0, 1, 7, COUNT - 1, *range(100, 4000, 2)}  # more runs than are told of at once
        for page in written:
            memory[page * PAGE] = 0x79
        assert memory[50 * PAGE : 50 * PAGE + 1] == b"x"
        own, shared = told(address)
        assert own == written
        assert 50 in shared
        assert not own & shared
        assert told(address, 2 * PAGE)[0] == {0, 1}
        assert told(address + 8 * PAGE, 90 * PAGE)[0] == set()


def test_a_host_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*words: object, **more: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", missing)
    assert list(page_runs(0, 3 * PAGE)) == [PageRun(0, 3 * PAGE, own=True)]
