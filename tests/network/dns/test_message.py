"""DNS messages: ours read back, and whatever anybody sends."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.network.dns import message

LABEL = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_", min_size=1, max_size=20)
NAME = st.lists(LABEL, min_size=1, max_size=6).map(".".join)


def query(name: str, kind: int = message.A, identity: int = 7, edns: int | None = None, klass: int = 1) -> bytes:
    extra = b"" if edns is None else b"\0" + struct.pack(">HHIH", message.OPT, edns, 0, 0)
    head = struct.pack(">HHHHHH", identity, 0x0100, 1, 0, 0, 1 if extra else 0)
    return head + message.encode_name(name) + struct.pack(">HH", kind, klass) + extra


@given(NAME, st.integers(0, 65535), st.integers(0, 65535), st.none() | st.integers(0, 65535))
def test_a_query_is_read(name: str, kind: int, identity: int, edns: int | None) -> None:
    read = message.read_query(query(name, kind, identity, edns))
    assert (read.name, read.type, read.id) == (name.lower(), kind, identity)
    assert read.room == (512 if edns is None else min(max(edns, 512), 4096))
    assert (read.edns is None) == (edns is None)


@given(st.binary(max_size=200))
def test_whatever_is_sent_is_a_query_or_refused(data: bytes) -> None:
    try:
        read = message.read_query(data)
    except BadInputError:
        return
    assert data[12 : 12 + len(read.question)] == read.question
    message.check_answer(message.reply(read, message.NO_SUCH_NAME), read.id, read.question)


@given(st.data())
def test_a_query_damaged_anywhere_never_breaks_the_reader(data: st.DataObject) -> None:
    whole = bytearray(query("some.name.example", edns=1232))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        read = message.read_query(cut)
    except BadInputError:
        return
    assert read.question in cut


@given(st.data())
def test_an_answer_damaged_anywhere_never_breaks_the_reader(data: st.DataObject) -> None:
    asked = message.read_query(query("some.name.example", edns=1232))
    records = [message.address_record("192.0.2.1", 60), message.address_record("2001:db8::1", 60)]
    whole = bytearray(message.reply(asked, 0, records))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        foreign = message.check_answer(cut, asked.id, asked.question)
    except BadInputError:
        return
    assert all(position + 4 <= len(cut) for position in foreign.lives)
    assert len(message.aged(cut, foreign.lives, 10, asked)) == len(cut)


def test_pointers_and_loops_in_a_question_are_refused() -> None:
    head = struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0)
    for name in (b"\xc0\x0c", b"\x01a\xc0\x0c", b"\x40a\0", b"\xff", b"\x3f" + b"a" * 10):
        with pytest.raises(BadInputError):
            message.read_query(head + name + struct.pack(">HH", 1, 1))


def test_a_name_too_long_is_refused() -> None:
    head = struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0)
    longest = b"\x3f" + b"a" * 63
    tail = struct.pack(">HH", 1, 1)
    assert message.read_query(head + longest * 3 + b"\x3d" + b"a" * 61 + b"\0" + tail)
    with pytest.raises(BadInputError, match="too long"):
        message.read_query(head + longest * 4 + b"\0" + tail)


def test_answers_and_more_than_one_question_are_refused() -> None:
    good = query("a.b")
    for flags, questions, answers in ((0x8100, 1, 0), (0x0100, 2, 0), (0x0100, 0, 0), (0x0100, 1, 1)):
        data = struct.pack(">HHHHHH", 7, flags, questions, answers, 0, 0) + good[12:]
        with pytest.raises(BadInputError):
            message.read_query(data)
    assert message.identity_of(struct.pack(">HHHHHH", 7, 0x8100, 1, 0, 0, 0)) is None
    assert message.identity_of(b"\0\7" + bytes(10)) == 7
    assert message.identity_of(b"\0") is None


def test_names_that_look_alike_stay_apart() -> None:
    head = struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0)
    tail = b"\0" + struct.pack(">HH", 1, 1)
    names = [
        message.read_query(head + name + tail).name
        for name in (b"\x03a.b", b"\x01a\x01b", b"\x02a\\\x01b", b"\x04a\\.b", b"\x01\xc0", b"\x01\xe0")
    ]
    assert len(set(names)) == len(names)


def test_what_does_not_fit_is_cut_and_said_so() -> None:
    asked = message.read_query(query("many"))
    records = [message.address_record(f"10.0.0.{number}", 5) for number in range(200)]
    answer = message.reply(asked, 0, records, limit=asked.room)
    assert len(answer) <= 512
    assert message.check_answer(answer, asked.id, asked.question).truncated
    assert not message.check_answer(message.reply(asked, 0, records), asked.id, asked.question).truncated


def test_how_long_an_answer_may_be_kept() -> None:
    asked = message.read_query(query("a.b", edns=1232))
    answer = message.reply(asked, 0, [message.address_record("10.0.0.1", 60), message.address_record("10.0.0.2", 30)])
    foreign = message.check_answer(answer, asked.id, asked.question)
    assert (foreign.keep, len(foreign.lives)) == (30, 2)
    older = message.check_answer(message.aged(answer, foreign.lives, 20, asked), asked.id, asked.question)
    assert older.keep == 10
    soa = b"\xc0\x0c" + struct.pack(">HHIH", message.SOA, 1, 900, 22) + b"\0\0" + struct.pack(">IIIII", 1, 2, 3, 4, 120)
    negative = struct.pack(">HHHHHH", 7, 0x8183, 1, 0, 1, 0) + asked.question + soa
    assert message.check_answer(negative, 7, asked.question).keep == 120
    without = struct.pack(">HHHHHH", 7, 0x8183, 1, 0, 0, 0) + asked.question
    assert message.check_answer(without, 7, asked.question).keep == 0
    failed = struct.pack(">HHHHHH", 7, 0x8182, 1, 0, 1, 0) + asked.question + soa
    assert message.check_answer(failed, 7, asked.question).keep == 0


def test_answers_to_something_else_are_refused() -> None:
    asked = message.read_query(query("a.b"))
    answer = message.reply(asked, 0)
    for identity, question in ((8, asked.question), (7, message.read_query(query("a.c")).question)):
        with pytest.raises(BadInputError, match="something else"):
            message.check_answer(answer, identity, question)
    with pytest.raises(BadInputError):
        message.check_answer(query("a.b"), 7, asked.question)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("2.0.17.172.in-addr.arpa", "172.17.0.2"),
        (".".join("1" + "0" * 31) + ".ip6.arpa", "::1"),
        ("2.0.17.in-addr.arpa", None),
        ("x.0.17.172.in-addr.arpa", None),
        ("999.0.17.172.in-addr.arpa", None),
        ("web", None),
    ],
)
def test_addresses_asked_backwards(name: str, address: str | None) -> None:
    assert message.address_asked(name) == address


@pytest.mark.parametrize("name", ["", "a..b", "a" * 64, ".".join(["a" * 60] * 5)])
def test_names_dns_has_no_room_for(name: str) -> None:
    with pytest.raises(BadInputError, match="no room"):
        message.encode_name(name)
