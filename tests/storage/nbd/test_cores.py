"""Both ends of the protocol against one another and against nonsense, without a socket."""

from __future__ import annotations

import contextlib
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import GasangError
from gasang.storage.nbd import protocol as wire
from gasang.storage.nbd.address import Address, parse
from gasang.storage.nbd.allocation import Allocation
from gasang.storage.nbd.client_core import Link, Question, RefusedError, Talk, ask, greet
from gasang.storage.nbd.protocol import Extent, ProtocolError
from gasang.storage.nbd.server_core import Export, Request, Session

EXPORT = Export("disk", 1 << 20, read_only=False, description="a disk")


def drive(talk: Talk, come: bytearray) -> None:
    """Have a talk where all that will come is there; what comes is taken from it. Raises EOFError where more is wanted."""
    wants = next(talk)
    try:
        while True:
            if isinstance(wants, bytes):
                wants = talk.send(b"")
                continue
            if wants > len(come):
                raise EOFError
            taken = bytes(come[:wants])
            del come[:wants]
            wants = talk.send(taken)
    except StopIteration:
        return


def agreed(*, structured: bool = True, name: str = "disk") -> tuple[Session, Link]:
    """A session and a link that have found one another, byte by byte."""
    session, link = Session({"disk": EXPORT, "other": Export("other", 512, read_only=True)}), Link()
    talk = greet(link, name, structured=structured)
    come = bytearray(session.greeting())
    wants = next(talk)
    try:
        while True:
            if isinstance(wants, bytes):
                for byte in wants:
                    come += session.feed(bytes((byte,)))
                wants = talk.send(b"")
            else:
                assert wants <= len(come)
                taken = bytes(come[:wants])
                del come[:wants]
                wants = talk.send(taken)
    except StopIteration:
        return session, link


def talked(link: Link, question: Question, answers: bytes) -> Question:
    come = bytearray(answers)
    drive(ask(link, question), come)
    assert not come
    return question


@pytest.mark.parametrize("structured", [True, False])
def test_they_agree_and_answer(structured: bool) -> None:
    session, link = agreed(structured=structured)
    assert session.export is EXPORT
    assert (link.size, link.structured, link.context) == (1 << 20, structured, 1 if structured else None)
    assert link.flags & wire.SEND_ZEROES
    assert link.flags & wire.MULTI_CONN
    data = bytes(range(256)) * 2
    question = Question(wire.READ, 7, 512, 512)
    assert talked(link, question, session.data_head(Request(wire.READ, 0, 7, 512, 512)) + data).found == data
    failed = talked(link, Question(wire.READ, 8, 0, 512), session.failed(Request(wire.READ, 0, 8, 0, 512), 5, "broken"))
    assert failed.error == 5
    assert failed.why == ("broken" if structured else "")
    assert not talked(link, Question(wire.WRITE, 9, 0, 4, 0, b"data"), session.done(Request(wire.WRITE, 0, 9, 0, 4))).error
    if structured:
        request = Request(wire.STATUS, 0, 3, 0, 4096)
        extents = [Extent(1024, 3), Extent(3072, 0)]
        assert talked(link, Question(wire.STATUS, 3, 0, 4096), session.status(request, extents)).extents == extents


def test_a_disk_that_is_not_there_is_refused() -> None:
    with pytest.raises(RefusedError, match="no disk of that name"):
        agreed(name="nowhere")


def test_requests_come_whole_however_they_are_cut() -> None:
    rng = random.Random(1)
    session, _ = agreed()
    sent = b"".join(
        struct.pack(">IHHQQI", wire.REQUEST, 0, command, number, number * 512, 512)
        + (bytes((number,)) * 512 if command == wire.WRITE else b"")
        for number, command in enumerate([wire.READ, wire.WRITE, wire.FLUSH, wire.WRITE, wire.TRIM, wire.WRITE] * 5)
    )
    found = []
    while sent:
        cut = rng.randrange(1, 900)
        found += [(each.command, each.cookie, bytes(each.data)) for each in session.requests(sent[:cut])]
        sent = sent[cut:]
    assert [cookie for _, cookie, _ in found] == list(range(30))
    assert all(data == bytes((cookie,)) * 512 for command, cookie, data in found if command == wire.WRITE)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Request(wire.READ, 0, 1, (1 << 20) - 1, 2), 22),
        (Request(wire.WRITE, 0, 1, 1 << 20, 1, b"!"), 28),
        (Request(wire.READ, 4096, 1, 0, 1), 22),
        (Request(99, 0, 1, 0, 1), 22),
        (Request(wire.STATUS, 0, 1, 0, 0), 22),
        (Request(wire.TRIM, wire.FUA, 1, 0, 512), 0),
        (Request(wire.READ, 0, 1, 0, 512), 0),
    ],
)
def test_senseless_requests(request_: Request, code: int) -> None:
    assert agreed()[0].fault(request_) == code


def test_nothing_is_written_to_a_disk_that_is_only_read() -> None:
    session, link = agreed(name="other")
    assert link.read_only
    assert session.fault(Request(wire.WRITE, 0, 1, 0, 1, b"!")) == 1


@given(st.lists(st.binary(max_size=200), max_size=6), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_client_may_send_anything(pieces: list[bytes], begun: bool) -> None:
    session = Session({"": EXPORT})
    head = struct.pack(">I", 3) if begun else b""
    try:
        for piece in (head, *(struct.pack(">QII", wire.IHAVEOPT, len(piece) % 13, len(piece)) + piece for piece in pieces), *pieces):
            if session.export is None:
                session.feed(piece)
            else:
                for request in session.requests(piece):
                    session.fault(request)
    except ProtocolError:
        pass


@given(st.binary(max_size=300), st.data())
@settings(max_examples=150, deadline=None)
def test_a_server_may_send_anything(noise: bytes, data: st.DataObject) -> None:
    session, link = agreed()
    question = Question(wire.READ, 7, 0, 64)
    good = session.data_head(Request(wire.READ, 0, 7, 0, 64)) + bytes(64)
    status = session.status(Request(wire.STATUS, 0, 7, 0, 64), [Extent(64, 0)])
    which = data.draw(st.sampled_from([good, status]))
    at = data.draw(st.integers(0, len(which) - 1))
    if which is status:
        question = Question(wire.STATUS, 7, 0, 64)
    for answers in (noise, which[:at] + noise, which[:at] + bytes((which[at] ^ 1 << (len(noise) % 8),)) + which[at + 1 :]):
        asked = Question(question.command, 7, 0, 64)
        try:
            drive(ask(link, asked), bytearray(answers))
        except (ProtocolError, EOFError):
            continue
        assert asked.error or len(asked.found) == 64 or asked.extents
    with contextlib.suppress(ProtocolError, RefusedError, EOFError):
        drive(greet(Link(), "disk"), bytearray(Session.greeting()[: at % 19] + noise))


def test_allocation_is_kept_up() -> None:
    calls = []

    def runs() -> object:
        calls.append(1)
        return iter([(100, 100), (300, 50)])

    allocation = Allocation(runs)  # type: ignore[arg-type]
    allocation.wrote(0, 50)
    assert allocation.extents(0, 400) == [Extent(100, 3), Extent(100, 0), Extent(100, 3), Extent(50, 0), Extent(50, 3)]
    allocation.wrote(150, 200)
    assert allocation.extents(150, 300) == [Extent(200, 0), Extent(100, 3)]
    allocation.wrote(10, 5)
    assert allocation.extents(0, 110) == [Extent(10, 3), Extent(5, 0), Extent(85, 3), Extent(10, 0)]
    assert len(calls) == 1
    allocation.dropped()
    assert allocation.extents(200, 10) == [Extent(10, 3)]
    assert len(calls) == 2


def test_addresses() -> None:
    assert parse("nbd://host/a%20b") == Address("a b", "host")
    assert parse("nbd://[::1]:99/") == Address("", "::1", 99)
    for text in ("nbd://host:7/web", "nbd+unix:///web?socket=/run/disk.sock", "nbd://[::1]:99/"):
        assert str(parse(text)) == text
    for text in ("nbd://", "nbd://host:x/", "nbd+unix:///a", "nbd+unix://host/a?socket=b", "nbd://h/a?b=c", "nbds://h/a"):
        with pytest.raises(GasangError):
            parse(text)
