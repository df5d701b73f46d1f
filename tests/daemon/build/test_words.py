"""Words of a Dockerfile: quotes, escapes, variables."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import UsageError
from gasang.daemon.build.words import expanded, raw_words, split

VARIABLES = {"a": "1", "empty": "", "path": "/x y"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$a", "1"),
        ("${a}b", "1b"),
        ("$ab", ""),
        (r"\$a", "$a"),
        ("'$a'", "$a"),
        ('"$a"', "1"),
        (r'"\$a \" \x"', '$a " \\x'),
        ("${none:-x}", "x"),
        ("${empty:-x}", "x"),
        ("${empty-x}", ""),
        ("${a:+x}", "x"),
        ("${none:+x}", ""),
        ("${none:-${a}}", "1"),
        ("$", "$"),
        ("a$-b", "a$-b"),
        ("${path}", "/x y"),
    ],
)
def test_replacement(text: str, result: str) -> None:
    assert expanded(text, VARIABLES) == result


def test_words_are_split_outside_quotes_after_reading() -> None:
    assert split('a "b c" $path d\\ e', VARIABLES) == ["a", "b c", "/x y", "d e"]
    assert split('"" x', {}) == ["", "x"]


def test_raw_words_keep_their_quotes() -> None:
    assert raw_words("A=\"b c\" D='e f' G=h\\ i") == ['A="b c"', "D='e f'", "G=h\\ i"]


@pytest.mark.parametrize("text", ["'a", '"a', "${a", "${}", "${a:x}", "${none:?must be set}"])
def test_what_is_malformed_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        expanded(text, VARIABLES)


@given(st.text(alphabet="ab ${}:-+?\"'\\", max_size=60))
def test_any_text_ends(text: str) -> None:
    for reader in (lambda: expanded(text, VARIABLES), lambda: split(text, VARIABLES), lambda: raw_words(text)):
        with suppress(UsageError):
            reader()


@given(st.text(alphabet="abc/.:-_", max_size=40))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert expanded(text, VARIABLES) == text
