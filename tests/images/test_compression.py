"""Decompression: what was compressed comes back, and nothing hostile gets through."""

from __future__ import annotations

import gzip
import lzma

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.images.compression import PIECE, expand, expand_bytes, sniff

COMPRESS = {"xz": lzma.compress, "gz": gzip.compress, "zst": zstandard.compress, "": bytes}
FORMS = sorted(COMPRESS)
PACKED = sorted(form for form in COMPRESS if form)


@given(st.binary(max_size=3 * PIECE), st.sampled_from(FORMS), st.integers(1, 5000))
def test_what_goes_in_comes_out(data: bytes, form: str, size: int) -> None:
    packed = COMPRESS[form](data)
    pieces = (packed[start : start + size] for start in range(0, len(packed), size))
    assert b"".join(expand(pieces, form, "x", len(data))) == data


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=4), st.sampled_from(PACKED))
def test_several_streams_make_one(parts: list[bytes], form: str) -> None:
    packed = b"".join(COMPRESS[form](part) for part in parts)
    assert expand_bytes(packed, "x", 1000) == b"".join(parts)


@pytest.mark.parametrize("form", ["xz", "gz"])
def test_padding_after_a_stream_is_no_data(form: str) -> None:
    assert expand_bytes(COMPRESS[form](b"hello") + bytes(8), "x", 100, form) == b"hello"


@pytest.mark.parametrize("form", PACKED)
@pytest.mark.parametrize("keep", [0, 1, 20])
def test_a_stream_cut_short_is_told(form: str, keep: int) -> None:
    packed = COMPRESS[form](bytes(range(256)) * 20)
    with pytest.raises(BadInputError, match="x: its compressed data ends early"):
        expand_bytes(packed[:keep], "x", 1 << 20, form)


@given(st.binary(max_size=300), st.sampled_from(PACKED))
def test_garbage_is_told(data: bytes, form: str) -> None:
    with pytest.raises(BadInputError, match="compressed data"):
        expand_bytes(b"\x01" + data, "x", 1 << 20, form)


@pytest.mark.parametrize("form", FORMS)
def test_a_bomb_is_stopped_at_the_limit(form: str) -> None:
    packed = COMPRESS[form](bytes(8 << 20))
    pieces = (packed[start : start + PIECE] for start in range(0, len(packed), PIECE))
    seen = bytearray()
    with pytest.raises(BadInputError, match="unpacks to more than 1000 bytes"):
        seen.extend(part for data in expand(pieces, form, "x", 1000) for part in data)
    assert len(seen) <= 1000


def test_an_unknown_form_is_told() -> None:
    with pytest.raises(BadInputError, match=r"compression \.lz is not known"):
        expand_bytes(b"", "x", 1, "lz")


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_recognised(form: str) -> None:
    assert sniff(COMPRESS[form](b"data")[:6]) == form
