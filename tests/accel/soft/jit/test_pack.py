"""Regions in a file: what was written is read, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.accel.soft.jit.messages import Answer
from gasang.accel.soft.jit.pack import LOOKED_AT, MOST_BYTES, MOST_PAGES, USED, content_digest, look, pack_entry, read_entry, stamp_of

KEY = b"k" * 32
CONTENTS = {0: b"\1" * 4096, -2: b"\2" * 4096}
ANSWER = Answer(0, (0, -8192), {delta: stamp_of(content) for delta, content in CONTENTS.items()}, (0, 4, -8192), 0.25, b"code" * 100)
ENTRY = pack_entry(KEY, ANSWER, CONTENTS, multi=True, used=77)


def test_a_region_is_read_as_it_was_written() -> None:
    assert read_entry(KEY, ENTRY) == ANSWER
    entry = look(ENTRY + b"more", 1000)
    assert (entry.offset, entry.size, entry.used, entry.multi, entry.steps) == (1000, len(ENTRY), 77, True, 3)
    assert [(page.delta, page.stamp, page.digest) for page in entry.pages] == [
        (delta, stamp_of(content), content_digest(content)) for delta, content in CONTENTS.items()
    ]


@pytest.mark.parametrize("multi", [False, True])
def test_a_brief_region_is_known_as_one(multi: bool) -> None:
    brief = ANSWER._replace(brief=True)
    raw = pack_entry(KEY, brief, CONTENTS, multi=multi, used=0)
    assert read_entry(KEY, raw) == brief
    assert (look(raw, 0).brief, look(raw, 0).multi) == (True, multi)
    assert not look(ENTRY, 0).brief


@given(st.integers(0, len(ENTRY) - 1), st.integers(1, 255))
def test_no_byte_can_be_another(place: int, change: int) -> None:
    raw = bytearray(ENTRY)
    raw[place] ^= change
    entry = look(ENTRY, 0)
    if entry.used_at <= place < entry.used_at + USED.size:
        assert read_entry(KEY, bytes(raw)) == ANSWER
    else:
        with pytest.raises(ValueError, match="entry"):
            read_entry(KEY, bytes(raw))


@given(st.integers(0, len(ENTRY) - 1))
def test_what_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="entry"):
        read_entry(KEY, ENTRY[:length])


@given(st.binary(max_size=200) | st.binary(max_size=LOOKED_AT).map(lambda raw: ENTRY[:12] + raw))
def test_any_bytes_are_an_entry_or_none(raw: bytes) -> None:
    with pytest.raises(ValueError, match="entry"):
        read_entry(KEY, raw)


def test_code_for_another_compiler_is_refused() -> None:
    with pytest.raises(ValueError, match="damaged"):
        read_entry(b"x" * 32, ENTRY)


def test_places_off_the_pages_are_refused() -> None:
    raw = pack_entry(KEY, ANSWER._replace(places=(0, 4096)), CONTENTS, multi=False, used=0)
    with pytest.raises(ValueError, match="reaches out"):
        read_entry(KEY, raw)


def test_a_region_too_large_is_not_kept() -> None:
    many = dict.fromkeys(range(MOST_PAGES + 1), b"")
    for answer in (ANSWER._replace(stamps=dict.fromkeys(many, 1)), ANSWER._replace(image=bytes(MOST_BYTES))):
        with pytest.raises(ValueError, match="a region"):
            pack_entry(KEY, answer, {**many, **CONTENTS}, multi=False, used=0)


def test_pages_are_known_by_their_content() -> None:
    assert stamp_of(bytes(4096)) == stamp_of(bytes(4096)) != stamp_of(b"\1" * 4096)
    assert stamp_of(bytes(4096)) != 0
