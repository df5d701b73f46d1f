"""The interrupt controller: priorities, thresholds, claims, gateways, and a model it must agree with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.devices.plic import Plic


class Board:
    """A PLIC with three contexts, of which number 1 is not connected."""

    def __init__(self, sources: int = 40) -> None:
        self.wires = {0: False, 2: False}
        self.plic = Plic(sources, [lambda level: self.set(0, level), None, lambda level: self.set(2, level)])

    def set(self, context: int, level: bool) -> None:
        assert self.wires[context] != level, "only changes are told"
        self.wires[context] = level

    def priority(self, source: int, value: int) -> None:
        self.plic.write(4 * source, 4, value)

    def enable(self, context: int, *sources: int) -> None:
        for word in range(2):
            self.plic.write(
                0x2000 + 0x80 * context + 4 * word, 4, sum(1 << source - 32 * word for source in sources if source // 32 == word)
            )

    def threshold(self, context: int, value: int) -> None:
        self.plic.write(0x20_0000 + 0x1000 * context, 4, value)

    def claim(self, context: int) -> int:
        return self.plic.read(0x20_0004 + 0x1000 * context, 4)

    def complete(self, context: int, source: int) -> None:
        self.plic.write(0x20_0004 + 0x1000 * context, 4, source)

    def pending(self) -> int:
        return self.plic.read(0x1000, 4) | self.plic.read(0x1004, 4) << 32


def test_a_raised_line_is_claimed_served_and_completed() -> None:
    board = Board()
    line = board.plic.line(35)
    board.priority(35, 1)
    board.enable(0, 35)
    line.set(True)
    assert board.wires == {0: True, 2: False}
    assert board.pending() == 1 << 35
    assert board.claim(0) == 35
    assert (board.wires[0], board.pending(), board.claim(0)) == (False, 0, 0)
    line.set(False)
    board.complete(0, 35)
    assert not board.wires[0]


def test_a_line_still_up_at_completion_asks_again_and_not_before() -> None:
    board = Board()
    line = board.plic.line(1)
    board.priority(1, 1)
    board.enable(0, 1)
    line.set(True)
    assert board.claim(0) == 1
    line.set(False)
    line.set(True)
    assert not board.wires[0]
    board.complete(0, 1)
    assert board.wires[0]
    assert board.claim(0) == 1


def test_a_line_that_falls_before_its_claim_takes_the_request_back() -> None:
    board = Board()
    line = board.plic.line(1)
    board.priority(1, 1)
    board.enable(0, 1)
    line.set(True)
    line.set(False)
    assert (board.wires[0], board.claim(0)) == (False, 0)


def test_the_highest_priority_wins_and_the_lowest_number_among_equals() -> None:
    board = Board()
    for source, priority in ((3, 1), (4, 5), (33, 5), (9, 2)):
        board.priority(source, priority)
        board.plic.line(source).set(True)
    board.enable(0, 3, 4, 33, 9)
    assert [board.claim(0) for _ in range(5)] == [4, 33, 9, 3, 0]


def test_the_threshold_masks_the_wire_but_not_the_claim() -> None:
    board = Board()
    board.priority(7, 3)
    board.enable(2, 7)
    board.threshold(2, 3)
    board.plic.line(7).set(True)
    assert not board.wires[2]
    board.threshold(2, 2)
    assert board.wires[2]
    board.threshold(2, 7)
    assert not board.wires[2]
    assert board.claim(2) == 7


def test_priority_zero_never_interrupts() -> None:
    board = Board()
    board.enable(0, 5)
    board.plic.line(5).set(True)
    assert (board.wires[0], board.claim(0), board.pending()) == (False, 0, 1 << 5)


def test_both_contexts_hear_and_the_first_claim_wins() -> None:
    board = Board()
    board.priority(5, 1)
    board.enable(0, 5)
    board.enable(2, 5)
    board.plic.line(5).set(True)
    assert board.wires == {0: True, 2: True}
    assert (board.claim(2), board.claim(0)) == (5, 0)
    assert board.wires == {0: False, 2: False}


def test_a_completion_of_a_source_not_enabled_is_ignored() -> None:
    board = Board()
    board.priority(5, 1)
    board.enable(0, 5)
    board.plic.line(5).set(True)
    assert board.claim(0) == 5
    board.enable(0)
    board.complete(0, 5)
    board.enable(0, 5)
    assert not board.wires[0]
    for nonsense in (0, 6, 41, 0xFFFF_FFFF):
        board.complete(0, nonsense)
    assert not board.wires[0]
    board.complete(0, 5)
    assert board.wires[0]


def test_registers_keep_what_exists_only() -> None:
    board = Board(sources=40)
    board.priority(40, 0xFFFF_FFFF)
    board.priority(41, 1)
    board.priority(0, 1)
    assert [board.plic.read(4 * source, 4) for source in (0, 40, 41)] == [0, 7, 0]
    for word in range(3):
        board.plic.write(0x2000 + 4 * word, 4, 0xFFFF_FFFF)
        board.plic.write(0x2080 + 4 * word, 4, 0xFFFF_FFFF)
    assert [board.plic.read(0x2000 + 4 * word, 4) for word in range(3)] == [0xFFFF_FFFE, 0x1FF, 0]
    assert board.plic.read(0x2080, 4) == 0
    board.threshold(0, 0xFF)
    board.threshold(1, 0xFF)
    assert [board.plic.read(0x20_0000 + 0x1000 * context, 4) for context in (0, 1, 2, 3)] == [7, 0, 0, 0]


@pytest.mark.parametrize("sources", [0, 1024])
def test_refuses_impossible_shapes(sources: int) -> None:
    with pytest.raises(ValueError, match="sources"):
        Plic(sources, [])


@pytest.mark.parametrize("source", [0, 41])
def test_has_no_line_for_a_source_that_is_not_there(source: int) -> None:
    with pytest.raises(ValueError, match="source"):
        Board(40).plic.line(source)


def test_loading_drives_the_wires() -> None:
    board, other = Board(), Board()
    board.priority(1, 1)
    board.enable(2, 1)
    board.plic.line(1).set(True)
    other.plic.load(board.plic.save())
    assert other.wires == {0: False, 2: True}
    assert other.claim(2) == 1


STEP = st.one_of(
    st.tuples(st.just("line"), st.integers(1, 6), st.booleans()),
    st.tuples(st.just("priority"), st.integers(1, 6), st.integers(0, 7)),
    st.tuples(st.just("enable"), st.sampled_from([0, 2]), st.sets(st.integers(1, 6))),
    st.tuples(st.just("threshold"), st.sampled_from([0, 2]), st.integers(0, 7)),
    st.tuples(st.just("claim"), st.sampled_from([0, 2]), st.just(0)),
    st.tuples(st.just("complete"), st.sampled_from([0, 2]), st.integers(0, 7)),
)


@given(st.lists(STEP, max_size=40))
def test_agrees_with_a_model_of_sets(steps: list[tuple[str, int, object]]) -> None:
    board = Board(6)
    up: set[int] = set()
    claimed: set[int] = set()
    priority = dict.fromkeys(range(7), 0)
    enabled: dict[int, set[int]] = {0: set(), 2: set()}
    threshold = {0: 0, 2: 0}
    for name, who, what in steps:
        if name == "line":
            board.plic.line(who).set(bool(what))
            (up.add if what else up.discard)(who)
        elif name == "priority":
            priority[who] = int(str(what))
            board.priority(who, priority[who])
        elif name == "enable":
            assert isinstance(what, set)
            enabled[who] = what
            board.enable(who, *what)
        elif name == "threshold":
            threshold[who] = int(str(what))
            board.threshold(who, threshold[who])
        elif name == "claim":
            candidates = sorted((-priority[s], s) for s in (up - claimed) & enabled[who] if priority[s])
            expected = candidates[0][1] if candidates else 0
            assert board.claim(who) == expected
            claimed |= {expected} - {0}
        else:
            board.complete(who, int(str(what)))
            claimed -= {int(str(what))} & enabled[who]
        for context in (0, 2):
            assert board.wires[context] == any(priority[s] > threshold[context] for s in (up - claimed) & enabled[context])
