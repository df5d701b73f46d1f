"""Control files: paragraphs, fields, continued values, damage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.images.deb822 import paragraph, paragraphs

NAMES = st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True)
VALUES = st.from_regex(r"([!-~]([ -~]{0,8}[!-~])?)?", fullmatch=True)


@given(st.lists(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4), max_size=4))
def test_fields_come_back(wanted: list[dict[str, str]]) -> None:
    text = "\n\n".join("".join(f"{name.title()}: {value}\n" for name, value in fields.items()) for fields in wanted)
    assert list(paragraphs(text, "x")) == wanted


def test_continued_values_keep_their_lines() -> None:
    assert paragraph("Files:\n a 1\n\tb 2\nNext: x\n", "x") == {"files": "\na 1\nb 2", "next": "x"}


def test_comments_are_no_fields() -> None:
    assert paragraph("# a comment\nA: 1\n", "x") == {"a": "1"}


@pytest.mark.parametrize("text", [" continued", "no colon", ": no name", "A: 1\na: 2"])
def test_damage_is_told(text: str) -> None:
    with pytest.raises(BadInputError, match=r"index x: its line .* is no field"):
        list(paragraphs(text, "index x"))


@pytest.mark.parametrize("text", ["", "\n\n\n"])
def test_an_empty_file_is_told(text: str) -> None:
    with pytest.raises(BadInputError, match="it is empty"):
        paragraph(text, "x")
