"""Netlink messages: made, read, and whatever else comes."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.host import netlink
from gasang.host.netlink import Answer, Message, NetlinkError

ATTRIBUTES = st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=40)), max_size=8)


@given(ATTRIBUTES)
def test_attributes_are_read_as_they_were_made(pairs: list[tuple[int, bytes]]) -> None:
    data = b"".join(netlink.attribute(kind, value) for kind, value in pairs)
    assert list(netlink.attributes(data)) == pairs
    assert list(netlink.attributes(netlink.nested(7, data))) == [(7, data)]


@given(st.lists(st.tuples(st.integers(16, 100), st.binary(max_size=50)), min_size=1, max_size=6), st.integers(1, 1 << 30))
def test_batches_are_read_as_they_were_made(parts: list[tuple[int, bytes]], first: int) -> None:
    last = len(parts) - 1
    data = netlink.encode([Message(kind, netlink.CREATE, body) for kind, body in parts], first, last)
    read = list(netlink.decode(data))
    assert [(answer.kind, answer.body) for answer in read] == parts
    assert [answer.sequence for answer in read] == list(range(first, first + len(parts)))
    assert [bool(answer.flags & netlink.ACK) for answer in read] == [index == last for index in range(len(parts))]


@given(st.binary(max_size=120))
def test_whatever_comes_is_messages_or_refused(data: bytes) -> None:
    try:
        answers = list(netlink.decode(data))
    except BadInputError:
        return
    assert sum(16 + len(answer.body) for answer in answers) <= len(data)
    for answer in answers:
        try:
            assert sum(len(value) for _, value in netlink.attributes(answer.body)) <= len(answer.body)
            netlink.refusal(answer)
        except BadInputError:
            continue


@given(st.data())
def test_a_damaged_message_never_breaks_the_reader(data: st.DataObject) -> None:
    whole = bytearray(netlink.encode([Message(16, 0, netlink.text(3, "eth0") + netlink.u32(4, 1500))] * 2, 1, 1))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = [list(netlink.attributes(answer.body)) for answer in netlink.decode(bytes(whole))]
    except BadInputError:
        return
    assert len(read) <= 2


def test_what_the_kernel_says_of_a_refusal_is_read() -> None:
    words = netlink.attribute(1, b"no such thing\0")
    body = struct.pack("=i", -errno.ENODEV) + bytes(16) + words
    assert netlink.refusal(Answer(netlink.ERROR, 0x300, 1, body)) == (errno.ENODEV, "no such thing")
    assert netlink.refusal(Answer(netlink.ERROR, 0x100, 1, body)) == (errno.ENODEV, "")
    assert netlink.refusal(Answer(netlink.ERROR, 0x300, 1, struct.pack("=i", 0))) == (0, "")
    with pytest.raises(BadInputError):
        netlink.refusal(Answer(netlink.ERROR, 0, 1, b"\0"))


def test_a_refusal_names_what_was_refused() -> None:
    with (
        netlink.Socket(netlink.ROUTE) as route,
        pytest.raises(NetlinkError, match=r"interface nothing-here: the kernel refused: .*No such device") as caught,
    ):
        route.send([Message(18, 0, bytes(16) + netlink.text(3, "nothing-here"), "interface nothing-here")])
    assert caught.value.number == errno.ENODEV


def test_refusals_can_be_forgiven_and_the_socket_goes_on() -> None:
    missing = Message(18, 0, bytes(16) + netlink.text(3, "nothing-here"), "interface nothing-here")
    there = Message(18, 0, struct.pack("=BxHiII", 0, 0, 1, 0, 0), "lo")
    with netlink.Socket(netlink.ROUTE) as route:
        answers = route.send([missing, there, missing], forgiven=frozenset({errno.ENODEV}))
        assert len(answers) == 1
        with pytest.raises(NetlinkError):
            route.send([missing, there])
        assert len(route.send([there])) == 1
