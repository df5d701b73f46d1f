"""What guests tell of themselves, and what they may not do by it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.images.control import ControlPort, Counter, last_line, printable


def control() -> tuple[ControlPort, list[str], list[tuple[int, int]]]:
    stages: list[str] = []
    steps: list[tuple[int, int]] = []
    return ControlPort(stages.append, lambda done, total: steps.append((done, total))), stages, steps


def test_the_guests_words() -> None:
    port, stages, steps = control()
    for data in (b"stage mou", b"nting\nprogress 3 77\nexit 4", b"2\nerror disk is dam", b"aged\nrest"):
        port.take(data)
    assert (stages, steps, port.code, port.error) == (["mounting"], [(3, 77)], 42, "disk is damaged")


def test_whether_there_is_an_agent_is_told_once() -> None:
    for first, second, expected in (("agent-ready", "no-agent", (True, 0)), ("no-agent", "agent-ready", (False, 1))):
        port, stages, _ = control()
        told: list[int] = []
        port.on_no_agent = lambda told=told: told.append(1)
        assert port.has_agent is None
        port.take(f"stage {first}\nstage {second}\nstage {first}\n".encode())
        assert (port.has_agent, len(told)) == expected
        assert stages == [first, second, first]


NO_WORDS = ("exit", "exit -1", "exit 256", "exit 1e1", "exit 99999", "exit ½", "progress 1", "progress 1 2 3", "progress a b", "hello")


@pytest.mark.parametrize("line", NO_WORDS)
def test_words_that_are_none(line: str) -> None:
    port, stages, steps = control()
    port.take(f"{line}\n".encode())
    assert (stages, steps, port.code, port.error) == ([], [], None, "")


WORDS = st.sampled_from([b"exit ", b"stage ", b"error ", b"progress ", b"\n", b" ", b"\xff", b"0", b"255", "٣".encode(), b"x" * 5000])


@given(pieces=st.lists(st.binary(max_size=30) | WORDS | st.lists(WORDS, max_size=5).map(b"".join), max_size=20))
@settings(max_examples=500, deadline=None)
def test_a_guest_may_write_anything(pieces: list[bytes]) -> None:
    port, stages, steps = control()
    for piece in pieces:
        port.take(piece)
    assert port.code is None or 0 <= port.code <= 255
    assert len(port.error) <= 256
    assert all(len(stage) <= 64 for stage in stages)
    assert all(done >= 0 and total >= 0 for done, total in steps)
    assert len(port._pending) <= ControlPort.LONGEST


def test_the_first_error_counts_and_steers_no_terminal() -> None:
    port, _, _ = control()
    port.take(b"error package a: \x1b[2Jits script failed\nerror package b: depends on a\n")
    assert port.error == "package a: ?[2Jits script failed"
    assert printable("a\tb\u202ec") == "a?b?c"


class Steps:
    """A step that notes how it is advanced."""

    def __init__(self) -> None:
        self.amounts: list[int] = []

    def advance(self, amount: int, detail: str = "") -> None:
        self.amounts.append(amount)


def test_a_counter_only_goes_forward() -> None:
    steps = Steps()
    counter = Counter(steps)
    for done in (1, 3, 3, 2, 5):
        counter.reached(done, 5)
    assert steps.amounts == [1, 2, 2]


def test_the_last_line() -> None:
    assert last_line(b"one\ntwo\x07\n\n") == "two?"
    assert last_line(b"\n") == "it said nothing"
