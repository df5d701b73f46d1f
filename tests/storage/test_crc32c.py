"""CRC-32C against its published check value and against itself, row by row."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gasang.storage.crc32c import START, crc32c, crc32c_rows, uniform


def test_published_values() -> None:
    assert crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283
    assert crc32c(bytes(32)) ^ 0xFFFFFFFF == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"\xff" * 32) ^ 0xFFFFFFFF == 0x62A8AB43
    assert crc32c(bytes(range(32))) ^ 0xFFFFFFFF == 0x46DD794E


def test_nothing_leaves_the_register() -> None:
    assert crc32c(b"") == START


@given(st.binary(max_size=64), st.binary(max_size=64), st.integers(0, START))
def test_it_continues(a: bytes, b: bytes, register: int) -> None:
    assert crc32c(a + b, register) == crc32c(b, crc32c(a, register))


@given(st.integers(0, 70), st.integers(1, 40), st.data(), st.randoms(use_true_random=False))
def test_rows_are_as_one_by_one(count: int, stride: int, data: st.DataObject, random: Random) -> None:
    width = data.draw(st.integers(0, stride))
    rows = random.randbytes(count * stride)
    register = random.getrandbits(32)
    planes = crc32c_rows(rows, stride, width, uniform(register, count))
    got = [int.from_bytes(bytes(plane[i] for plane in planes), "little") for i in range(count)]
    assert got == [crc32c(rows[i * stride : i * stride + width], register) for i in range(count)]
