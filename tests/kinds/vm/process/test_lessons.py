"""What twins have decoded is decoded by their parent, too."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from gasang.kinds.vm.process import lessons
from gasang.kinds.vm.process.lessons import Lesson, learn, teach
from support.supervised import eventually


class Machine:
    """A machine that knows code, and learns."""

    def __init__(self, *known: dict[int, int]) -> None:
        self.known = list(known)
        self.learnt: dict[int, int] = {}
        self.most = 0
        self.ended = threading.Event()
        self.still = False

    def note_code(self, known: dict[int, dict[int, int]]) -> None:
        known[0] = dict(self.known.pop(0) if len(self.known) > 1 else self.known[0])

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        self.still = True
        yield
        self.still = False

    def decode_again(self, known: Mapping[int, dict[int, int]]) -> None:
        assert self.still
        self.most = max(self.most, len(known[0]))
        self.learnt |= known[0]

    def beside(self, thread: threading.Thread) -> None:
        thread.start()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "MOMENTS", (0.01, 0.02))
    monkeypatch.setattr(lessons, "_BETWEEN", 0.0)


def ends() -> tuple[Lesson, Lesson]:
    """The same two ends, as parent and twin have them."""
    told, heard = socket.socketpair()
    return Lesson(told, heard), Lesson(told.dup(), heard.dup())


def test_the_parent_learns_what_is_new_and_what_it_has_forgotten() -> None:
    own = dict.fromkeys(range(100), 1)
    parent: Any = Machine(own)
    twin: Any = Machine({7: 1}, {7: 1, 8: 1}, {7: 3, 8: 1, **dict.fromkeys(range(1000, 1500), 1)})
    ours, theirs = ends()
    teach(twin, theirs)
    learn(parent, ours)
    eventually(lambda: len(parent.learnt) == 600)
    assert (parent.learnt[7], parent.learnt[8], parent.most <= 48) == (3, 1, True)
    eventually(lambda: ours.heard.fileno() == -1)


def test_one_that_was_forked_before_recalls_nothing() -> None:
    parent: Any = Machine({1: 1})
    twin: Any = Machine({7: 1}, {7: 1, 8: 1}, {7: 3, 8: 1})
    ours, theirs = ends()
    teach(twin, theirs)
    learn(parent, ours, recalls=False)
    eventually(lambda: ours.heard.fileno() == -1)
    assert parent.learnt == {7: 3, 8: 1}


def test_a_twin_that_was_not_born_or_ends_at_once() -> None:
    parent: Any = Machine({1: 1})
    ours, theirs = ends()
    for end in theirs:
        end.close()
    learn(parent, ours)
    eventually(lambda: ours.heard.fileno() == -1)
    assert parent.learnt == {1: 1}
    twin: Any = Machine({1: 1})
    twin.ended.set()
    ours, theirs = ends()
    teach(twin, theirs)
    for end in ours:
        end.close()
    eventually(lambda: theirs.told.fileno() == -1)
