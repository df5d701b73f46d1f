"""What machine and compile service say to each other, and what they do not believe."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import pytest

from gasang.accel.soft.jit.messages import (
    FARTHEST,
    MOST_BYTES,
    PLACES,
    Answer,
    Page,
    Request,
    pack_answer,
    pack_request,
    read_answer,
    read_request,
)
from gasang.cpus.riscv64.state import PAGE_SIZE

PAGE = Page(bytes(range(256)) * 16, b"\1" * PLACES, 77)
PAGES = {0: PAGE, -3: PAGE._replace(stamp=78, heats=(3, 0, 1 << 62))}
REQUEST = Request(5, 0x7FE, True, ((12, -4096),), PAGES, 44, full=True)


def test_a_request_arrives_as_it_was() -> None:
    stream = io.BytesIO(pack_request(REQUEST) * 2)
    assert read_request(stream) == read_request(stream) == REQUEST
    assert read_request(stream) is None


def test_an_answer_arrives_as_it_was() -> None:
    answer = Answer(5, (0, 4096), {0: 77, 1: (1 << 64) - 1}, (0, 4, 4096), 0.5, b"code")
    assert read_answer(io.BytesIO(pack_answer(answer))) == answer


@pytest.mark.parametrize("length", [0, 3, 8, 20, 5000])
def test_a_message_cut_off_is_the_end(length: int) -> None:
    assert read_request(io.BytesIO(pack_request(REQUEST)[:length])) is None


@pytest.mark.parametrize(
    "change",
    [
        {"hot": -1}, {"hot": PAGE_SIZE}, {"hot": "0"}, {"jumps": [[0, None]]}, {"jumps": [[1 << 40, 0]]},
        {"pages": []},
        {"pages": [[FARTHEST + 1, 77], [0, 78]]}, {"pages": [[0, 0], [1, 1]]}, {"pages": [[0, 1 << 64], [1, 1]]},
        {"pages": [[0, 77, -1], [1, 1]]}, {"pages": [[0, 77], [1, 1, "much"]]}, {"pages": [[0, 77, 2**63 + 1], [1, 1]]},
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(change: dict[str, Any]) -> None:
    raw = pack_request(REQUEST)
    first, second = struct.unpack_from("<II", raw)
    head = json.dumps({**json.loads(raw[8 : 8 + first]), **change}).encode()
    with pytest.raises(ValueError, match=r"is not between|pages in"):
        read_request(io.BytesIO(struct.pack("<II", len(head), second) + head + raw[8 + first :]))


def test_a_message_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="a message of"):
        read_request(io.BytesIO(struct.pack("<II", 1, MOST_BYTES)))


def test_a_message_without_a_head_is_refused() -> None:
    with pytest.raises(ValueError, match="without a head"):
        read_answer(io.BytesIO(struct.pack("<II", 2, 0) + b"[]"))
