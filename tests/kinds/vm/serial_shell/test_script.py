"""What is typed at shells, and the marks that are found in what they say."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.kinds.vm.serial_shell.prompt import Seen, seen
from gasang.kinds.vm.serial_shell.script import MOST_DIGITS, Command, Mark, Marks, lines

NONCE = "gasang-0123-"


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=5))
def test_lines_are_short_and_harmless(words: list[str]) -> None:
    typed = lines(Command(words), NONCE)
    assert all(len(line) < 255 and line.isascii() and line.decode().isprintable() and b"!" not in line for line in typed)
    marks = Marks(NONCE)
    echo = b"\r\n".join(typed)
    assert marks.feed(echo)[1] is None, "an echo is no mark"


def fed(pieces: list[bytes]) -> tuple[bytes, list[Mark]]:
    marks, before, found = Marks(NONCE), b"", []
    for piece in pieces:
        rest = piece
        while True:
            plain, mark, rest = marks.feed(rest)
            before += plain
            if mark is None:
                break
            found.append(mark)
    return before, found


@given(st.lists(st.sampled_from([b"a", b"\r\n", NONCE.encode(), b"b", b"e", b"12", b";", b"gasang-"]), max_size=30), st.data())
def test_marks_are_found_however_it_comes(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    before, found = fed([whole])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    ends = [0, *cuts, len(whole)]
    pieces = [whole[start:end] for start, end in itertools.pairwise(ends)]
    assert fed(pieces) == (before, found)


def test_no_more_is_kept_than_a_mark() -> None:
    marks = Marks(NONCE)
    data = NONCE.encode() + b"e" + b"1" * 100_000
    plain, mark, _ = marks.feed(data)
    assert mark is None
    assert len(data) - len(plain) <= len(NONCE) + 1 + MOST_DIGITS


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (b"\r\n\x1b[?2004hroot@web:/# ", Seen.SHELL),
        (b"\x1b]0;root@web: /\x07\x1b[01;32mroot\x1b[00m:\x1b[01;34m/\x1b[00m$ ", Seen.SHELL),
        (b"/ # \x1b[6n", Seen.SHELL),
        (b"~ $ \x1b[K", Seen.SHELL),
        (b"web% ", Seen.SHELL),
        (b"fsck: 35%", Seen.OTHER),
        (b"# \r\n[    1.0] kernel words", Seen.OTHER),
        (b"Debian GNU/Linux 13 web ttyS0\r\n\r\nweb login: ", Seen.LOGIN),
        (b"Password: ", Seen.LOGIN),
        (b"root's password for web:", Seen.LOGIN),
        (b"\r\n\x1b[0m \r\n", Seen.NOTHING),
        (b"", Seen.NOTHING),
        (b">>> ", Seen.OTHER),
    ],
)
def test_what_is_seen(said: bytes, what: Seen) -> None:
    assert seen(said) is what


@given(st.binary(max_size=6000))
def test_anything_may_be_said(said: bytes) -> None:
    assert seen(said) in Seen
