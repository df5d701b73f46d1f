"""SHA-256 of several streams at once, against hashlib's."""

from __future__ import annotations

import ctypes
import hashlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.images.digests import together
from gasang.images.digests.sha256 import CONSTANTS, hash_one
from gasang.images.digests.state import INITIAL, WIDE
from gasang.images.digests.together import Together, hashing


def test_the_constants_are_the_standards() -> None:
    assert (INITIAL[0], INITIAL[7]) == (0x6A09E667, 0x5BE0CD19)  # FIPS 180-4, 5.3.3
    assert (CONSTANTS[0], CONSTANTS[63]) == (0x428A2F98, 0xC67178F2)  # 4.2.2


def test_the_examples_of_the_standard() -> None:
    company = Together()
    for text in (b"abc", b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", b""):
        stream = company.new()
        stream.update(text)
        assert stream.hexdigest() == hashlib.sha256(text).hexdigest()


def test_plain_python_gives_the_same() -> None:
    data = bytes(range(128))
    states = [(ctypes.c_uint32 * 8)(*INITIAL) for _ in range(2)]
    address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
    hash_one(states[0], address, 2)
    hash_one.python(states[1], address, 2)
    assert list(states[0]) == list(states[1])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams of which little may wait, so that small ones are hashed together too."""
    monkeypatch.setattr(together, "WAITING", 300)


Pieces = st.lists(st.tuples(st.integers(0, 11), st.binary(max_size=200) | st.integers(0, 900).map(lambda size: b"x" * size)), max_size=80)


@pytest.mark.usefixtures("impatient")
@given(Pieces)
def test_streams_in_turn_have_the_digests_that_each_alone_has(pieces: list[tuple[int, bytes]]) -> None:
    company = Together()
    streams = [company.new() for _ in range(12)]
    alone = [hashlib.sha256() for _ in streams]
    for index, piece in pieces:
        streams[index].update(piece)
        alone[index].update(piece)
    assert [stream.hexdigest() for stream in streams] == [digest.hexdigest() for digest in alone]


@pytest.mark.parametrize("flags", [set(), set(WIDE)], ids=["plain", "wide"])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 11])
def test_streams_of_threads(count: int, flags: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    there = together._flags()
    monkeypatch.setattr(together, "_flags", lambda: flags & there)
    company = Together()
    block = bytes(range(256)) * 1021  # no multiple of a block
    results: dict[int, str] = {}

    def feed(index: int) -> None:
        stream = company.new()
        for turn in range(40):
            stream.update(block[index : len(block) - turn])
        results[index] = stream.hexdigest()

    threads = [threading.Thread(target=feed, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(count):
        expected = hashlib.sha256(b"".join(block[index : len(block) - turn] for turn in range(40)))
        assert results[index] == expected.hexdigest()


def test_what_waits_is_bounded() -> None:
    company = Together()
    stream = company.new()
    for _ in range(100):
        stream.update(bytes(100_001))
        assert stream.waiting <= together.WAITING


def test_few_or_small_streams_are_hashlibs() -> None:
    assert hashing(2, 1 << 40) is hashlib.sha256
    assert hashing(20, 1000) is hashlib.sha256


@pytest.mark.parametrize(
    ("flags", "pays"),
    [("flags\t\t: fpu avx2 bmi2\nbugs\t: x", True), ("flags\t\t: avx2 sha_ni\n", False), ("flags\t: sse2\n", False), ("", False)],
)
def test_many_streams_are_hashed_together_where_that_pays(flags: str, pays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together.Path, "read_text", lambda path: flags)
    assert together._lanes_pay() is pays
