"""Compressed streams of layers: every form, in pieces of any size, never more at once than a piece."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.images.layers.stream import PIECE, inflate

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "two gzip members": lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]),
    "padded gzip": lambda data: gzip.compress(data) + bytes(1000),
    "zstd": zstandard.compress,
    "two zstd frames": lambda data: zstandard.compress(data[:100]) + zstandard.compress(data[100:]),
    "nothing": bytes,
}


def run(raw: bytes, size: int) -> list[bytes]:
    pieces = iter([raw[at : at + size] for at in range(0, len(raw), size)])
    return list(inflate(lambda: next(pieces, b""), "layer x"))


@pytest.mark.parametrize("compress", FORMS.values(), ids=FORMS.keys())
@given(data=st.binary(min_size=1, max_size=3000).map(lambda part: b"tar" + part * 5), size=st.integers(1, 4000))
def test_forms(compress: Callable[[bytes], bytes], data: bytes, size: int) -> None:
    assert b"".join(run(compress(data), size)) == data


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_bomb_comes_in_pieces(name: str) -> None:
    data = bytes(64 << 20)
    pieces = run(FORMS[name](data), 1 << 18)
    assert sum(map(len, pieces)) == len(data)
    assert max(map(len, pieces)) <= PIECE


@pytest.mark.parametrize("raw", [gzip.compress(b"x" * 5000)[:-4], gzip.compress(b"x" * 5000)[:20], gzip.compress(b"x" * 99) + b"noise"])
def test_damaged_gzip(raw: bytes) -> None:
    with pytest.raises(BadInputError, match="its compressed data is damaged"):
        run(raw, 7)


def test_other_forms_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"its compression \.xz is none that layers have"):
        run(lzma.compress(b"x"), 100)
    wrong = bytearray(zstandard.compress(bytes(range(256)) * 40))
    wrong[30] ^= 0xFF
    with pytest.raises(BadInputError, match="its compressed data is damaged"):
        run(bytes(wrong)[:200] + b"\xff" * 300, 100)
    assert run(b"", 1) == []
