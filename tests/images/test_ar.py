"""ar archives: members as they are, lies told."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.images.ar import members
from support.debian_archive import ar_of

NAMES = st.from_regex(r"[a-z][a-z.]{0,14}", fullmatch=True)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=50)), max_size=4))
def test_members_come_back(parts: list[tuple[str, bytes]]) -> None:
    data = ar_of(*parts)
    found = [(entry.name, data[entry.start : entry.start + entry.size]) for entry in members(io.BytesIO(data), "x")]
    assert found == parts


def test_a_trailing_slash_is_no_part_of_the_name() -> None:
    assert [entry.name for entry in members(io.BytesIO(ar_of(("data.tar/", b""))), "x")] == ["data.tar"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not start as a .deb does"),
        (b"PK\3\4", "does not start as a .deb does"),
        (ar_of(("a", b"12345678"))[:-1], "says 8 bytes, the file ends before that"),
        (ar_of(("a", b""))[:-1], "header at byte 8 is damaged"),
        (ar_of(("a", b"")).replace(b"0         `", b"-1        `"), "header at byte 8 is damaged"),
        (ar_of(("a", b"")).replace(b"0         `", b"9999999999`"), "says 9999999999 bytes"),
    ],
)
def test_damage_is_told(data: bytes, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        list(members(io.BytesIO(data), "package x"))


@given(st.binary(max_size=200))
def test_garbage_never_gets_through(data: bytes) -> None:
    raw = b"!<arch>\n" + data
    try:
        found = list(members(io.BytesIO(raw), "x"))
    except BadInputError:
        return
    assert all(entry.start >= 8 + 60 and entry.start + entry.size <= len(raw) for entry in found)
