"""What a guest is answered that asks its terminal for its size."""

from __future__ import annotations

import sys

import pytest
from bench.processes import running
from bench.terminal import Terminal

ASKS = b"\x1b[6n\x1b[32766;32766H\x1b[6n"
SAYS = b"\x1b[24;1R\x1b[24;80R"


def test_it_tells_where_its_cursor_is_and_where_it_goes_at_most() -> None:
    assert Terminal().answers(b"text" + ASKS + b"\r\n") == SAYS


@pytest.mark.parametrize("size", range(1, len(ASKS)))
def test_a_question_comes_in_pieces(size: int) -> None:
    terminal = Terminal()
    pieces = [ASKS[at : at + size] for at in range(0, len(ASKS), size)]
    assert b"".join(map(terminal.answers, pieces)) == SAYS


@pytest.mark.parametrize(("sent", "at"), [(b"\x1b[3;7H", b"3;7"), (b"\x1b[0;0H", b"1;1"), (b"\x1b[1;99999H", b"1;80")])
def test_its_cursor_stays_on_it(sent: bytes, at: bytes) -> None:
    assert Terminal().answers(sent + b"\x1b[6n") == b"\x1b[%bR" % at


@pytest.mark.parametrize("text", [b"", b"\x1b[6", b"6n", b"\x1b[m\x1b[!p", b"\x1b]104\x07", b"\x1b[123456;1H", b"\x1b" * 100])
def test_what_is_no_question_has_no_answer(text: bytes) -> None:
    terminal = Terminal()
    assert terminal.answers(text) == b""
    assert terminal.answers(b"x") == b""


def test_a_machine_is_answered_on_its_standard_input() -> None:
    program = f"import os, sys; os.write(1, {ASKS!r}); got = sys.stdin.buffer.read({len(SAYS)}); print(got == {SAYS!r}, flush=True)"
    with running([sys.executable, "-c", program], terminal=Terminal()) as machine:
        machine.wait_for("True", 30)
