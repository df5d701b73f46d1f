"""Decompression: what was compressed comes back, and nothing hostile gets through."""

from __future__ import annotations

import gzip
import lzma

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.images.compression import PIECE, STEP, ZSTD_SLICE, expand, expand_bytes, sniff

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


def bomb_of_blocks(count: int) -> bytes:
    """A Zstandard frame of repeated bytes (RFC 8878, 3.1.1): each of its blocks makes 128 KiB of four bytes."""
    block = ((128 << 10) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    last = (1 << 1 | 1).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\0\x88" + block * count + last


@pytest.mark.parametrize(
    ("form", "packed", "most"),
    [
        ("xz", lzma.compress(bytes(64 << 20)), STEP),
        ("gz", gzip.compress(bytes(32 << 20)), STEP),
        ("zst", bomb_of_blocks(8000), ZSTD_SLICE // 4 * (128 << 10)),
    ],
)
def test_no_step_makes_much_of_little(form: str, packed: bytes, most: int) -> None:
    """Else the limit would be checked only after a gigabyte has been made."""
    assert len(packed) <= 1 << 15
    sizes = [len(data) for data in expand([packed], form, "x", 1 << 40)]
    assert max(sizes) <= most
    assert sum(sizes) >= 32 << 20


def test_a_dictionary_larger_than_any_preset_is_refused() -> None:
    packed = lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}])
    with pytest.raises(BadInputError, match="Memory usage limit exceeded"):
        expand_bytes(packed, "x", 100)


@settings(max_examples=20)
@given(st.integers(1, 2), st.sampled_from(PACKED), st.integers(-2, 2))
def test_results_around_the_size_of_a_step(steps: int, form: str, more: int) -> None:
    data = bytes(range(256)) * (steps * STEP // 256) + bytes(3)
    data = data[: steps * STEP + more]
    packed = COMPRESS[form](data)
    assert expand_bytes(packed + packed, "x", 2 * len(data)) == data + data
