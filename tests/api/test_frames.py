from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.api.frames import Demultiplexer
from gasang.core.errors import BadInputError
from support.fake_daemon import frame

FRAMES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50)), max_size=10)


@given(FRAMES, st.integers(min_value=1, max_value=60))
def test_streams_come_apart_however_they_are_cut(frames: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(frame(number, piece) for number, piece in frames)
    sorted_out = {1: b"", 2: b""}
    sorter = Demultiplexer()
    for start in range(0, len(data), size):
        for number, piece in sorter.feed(data[start : start + size]):
            sorted_out[number] += piece
    assert sorted_out == {wanted: b"".join(piece for number, piece in frames if number == wanted) for wanted in (1, 2)}


def test_a_long_frame_is_not_waited_for() -> None:
    begun = bytes([1, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF]) + b"so far"
    assert list(Demultiplexer().feed(begun)) == [(1, b"so far")]


@pytest.mark.parametrize("head", [b"\x03\0\0\0", b"\x01\0\x01\0", b"HTTP"])
def test_a_foreign_head_is_refused(head: bytes) -> None:
    with pytest.raises(BadInputError, match="no known head"):
        list(Demultiplexer().feed(head + b"\0\0\0\1x"))


def test_frames_of_one_stream_are_written_at_once() -> None:
    data = frame(1, b"a") + frame(1, b"") + frame(1, b"b") + frame(2, b"c") + frame(1, b"d")
    assert list(Demultiplexer().feed(data)) == [(1, b"ab"), (2, b"c"), (1, b"d")]


def test_exit_codes_are_a_stream_for_who_wants_them() -> None:
    told = b"\1\0\0\0\0\0\0\1x\4\0\0\0\0\0\0\4\0\0\0\x7f"
    assert list(Demultiplexer(codes=True).feed(told)) == [(1, b"x"), (4, b"\0\0\0\x7f")]
    with pytest.raises(BadInputError):
        list(Demultiplexer().feed(told))
