"""What the host is advised about memory, as it shows it (VmFlags of proc_pid_smaps(5))."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.host.memory import FileRun, LazyMemory
from gasang.host.pages import PAGE

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this host takes no advice")

SIZE = 4 << 20
MERGES = os.path.exists("/sys/kernel/mm/ksm/run")
HUGE = os.path.exists("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.fixture
def lazy() -> Iterator[LazyMemory]:
    made = LazyMemory(SIZE, "test")
    yield made
    made.close()


def flags(lazy: LazyMemory) -> list[set[str]]:
    """Of each mapping that the memory has."""
    found, inside = [], False
    for line in Path("/proc/self/smaps").read_text(encoding="ascii").splitlines():
        span = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if span:
            inside = lazy.address <= int(span[1], 16) < lazy.address + lazy.size
        elif inside and line.startswith("VmFlags:"):
            found.append(set(line.split()[1:]))
    return found


def test_other_advice_may_be_given(lazy: LazyMemory) -> None:
    lazy.advise(merge=False)
    lazy.make_private()
    assert all(not shown & {"mg", "hg"} for shown in flags(lazy))


@pytest.mark.skipif(not MERGES, reason="this kernel merges no pages")
def test_private_memory_may_be_merged(lazy: LazyMemory, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * SIZE)
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    lazy.map_files([FileRun(descriptor, 0, SIZE // 2)])
    os.close(descriptor)
    assert all("mg" in shown for shown in flags(lazy))
    lazy.discard(0, 16 * PAGE)
    assert all("mg" in shown for shown in flags(lazy))
    lazy.release()
    assert all("mg" in shown for shown in flags(lazy))


@pytest.mark.skipif(not HUGE, reason="this kernel has no huge pages of its own")
def test_huge_pages_are_asked_for_before_and_after(lazy: LazyMemory) -> None:
    lazy.advise(merge=False, huge=True)
    lazy.write(0, b"x" * SIZE)
    lazy.make_private()
    assert all("hg" in shown for shown in flags(lazy))
    assert lazy.view == b"x" * SIZE


@pytest.mark.skipif(not HUGE, reason="this kernel has no huge pages of its own")
def test_memory_of_huge_pages_begins_with_one_and_stays_so() -> None:
    made = LazyMemory(SIZE, "test", huge=True)
    assert made.address % (2 << 20) == 0
    assert len(made.view) == SIZE
    made.view[SIZE - 1] = 1
    assert made.is_private
    assert all("hg" in shown for shown in flags(made))
    made.release()
    assert made.view[SIZE - 1] == 0
    assert all("hg" in shown for shown in flags(made))
    made.advise()
    assert all("hg" not in shown for shown in flags(made))
    made.close()
