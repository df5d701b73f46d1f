"""Memory gathered in huge pages: which places are worth it, and that its content stays what it was."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.host import memory
from gasang.host.huge import HUGE, MOST_HOLES, collapse, full
from gasang.host.memory import LazyMemory

SIZE = 4 * HUGE
COLLAPSES = sys.platform.startswith("linux") and os.path.exists("/sys/kernel/mm/transparent_hugepage/enabled") and tuple(
    int(part) for part in re.findall(r"\d+", os.uname().release)[:2]
) >= (6, 1)  # fmt: skip
collapses = pytest.mark.skipif(not COLLAPSES, reason="this kernel gathers no pages (MADV_COLLAPSE)")


@pytest.fixture
def lazy() -> Iterator[LazyMemory]:
    made = LazyMemory(SIZE, "test")
    yield made
    made.close()


def huge_bytes(lazy: LazyMemory) -> int:
    """Of the memory, as the host shows it."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="ascii").splitlines():
        span = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if span:
            inside = lazy.address <= int(span[1], 16) < lazy.address + lazy.size
        elif inside and (shown := re.match(r"(?:AnonHugePages|ShmemPmdMapped|FilePmdMapped): *(\d+) kB", line)):
            found += int(shown[1]) * 1024
    return found


def test_a_huge_page_is_full_when_little_of_it_was_never_touched() -> None:
    assert list(full([(0, HUGE)], SIZE)) == [0]
    assert list(full([(0, HUGE - MOST_HOLES)], SIZE)) == [0]
    assert list(full([(0, HUGE - MOST_HOLES - 4096)], SIZE)) == []
    assert list(full([(4096, 3 * HUGE)], SIZE)) == [0, HUGE, 2 * HUGE]
    assert list(full([(HUGE - 4096, HUGE + 8192)], SIZE)) == [HUGE]
    assert list(full([(3 * HUGE, HUGE)], SIZE - 4096 * 100)) == []
    assert list(full([], SIZE)) == []


def test_several_runs_fill_a_huge_page_together() -> None:
    assert list(full([(HUGE, HUGE // 2), (HUGE + HUGE // 2 + 4096, HUGE // 2 - 4096)], SIZE)) == [HUGE]
    assert list(full([(HUGE, HUGE // 2), (HUGE + HUGE // 2 + MOST_HOLES + 4096, 4096)], SIZE)) == []


@collapses
def test_what_is_filled_lies_in_huge_pages_afterwards(lazy: LazyMemory) -> None:
    content = os.urandom(HUGE)
    lazy.view[HUGE : 2 * HUGE] = content
    lazy.view[2 * HUGE + 4096 : 2 * HUGE + 4097] = b"x"
    assert huge_bytes(lazy) == 0
    assert list(lazy.gather()) == [True]
    assert huge_bytes(lazy) == HUGE
    assert lazy.view[HUGE : 2 * HUGE] == content
    assert lazy.touched() == HUGE + 4096
    assert list(lazy.content()) == [(HUGE, HUGE), (2 * HUGE + 4096, 4096)]


@collapses
def test_what_is_gathered_already_is_left_alone(lazy: LazyMemory) -> None:
    lazy.view[:HUGE] = bytes(range(256)) * (HUGE // 256)
    assert list(lazy.gather()) == [True]
    assert list(lazy.gather()) == []


@collapses
def test_what_was_given_back_and_filled_again_is_gathered_again(lazy: LazyMemory) -> None:
    lazy.view[:HUGE] = b"a" * HUGE
    list(lazy.gather())
    lazy.discard(HUGE // 2, HUGE // 2)
    assert list(lazy.content()) == [(0, HUGE // 2)]
    assert lazy.view[HUGE // 2 - 1 : HUGE // 2 + 1] == b"a\0"
    assert list(lazy.gather()) == []
    lazy.view[HUGE // 2 : HUGE] = b"b" * (HUGE // 2)
    assert list(lazy.gather()) == [True]
    assert huge_bytes(lazy) == HUGE
    assert lazy.view[HUGE - 1] == ord("b")


@collapses
def test_a_fork_copies_gathered_memory_by_small_pages(lazy: LazyMemory) -> None:
    content = os.urandom(HUGE)
    lazy.view[:HUGE] = content
    list(lazy.gather())
    lazy.make_private()
    child = os.fork()
    if not child:
        lazy.view[0] ^= 255
        own = sum(length for _, length in lazy.written())
        os._exit(0 if own == 4096 and lazy.view[1:HUGE] == content[1:] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert lazy.view[:HUGE] == content


def test_what_the_host_has_no_huge_page_for_is_tried_again(lazy: LazyMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    lazy.view[: 2 * HUGE] = b"a" * (2 * HUGE)
    answers = [errno.ENOMEM, errno.EINVAL, 0]
    monkeypatch.setattr(memory, "collapse", lambda address: answers.pop(0))
    assert list(lazy.gather()) == [False, False]
    assert list(lazy.gather()) == [True]
    assert list(lazy.gather()) == []


def test_memory_that_is_copied_on_write_is_not_gathered(lazy: LazyMemory) -> None:
    lazy.view[:] = b"a" * SIZE
    steps = lazy.gather()
    next(steps)
    lazy.make_private()
    assert list(steps) == []
    assert list(lazy.gather()) == []


def test_what_is_no_memory_is_told() -> None:
    assert collapse(0) != 0
