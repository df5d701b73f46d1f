"""DNS messages: a query read, an answer made, a foreign answer checked. Bytes to values and back; everything that comes in is hostile.

A query is one question; its name is read without pointers (there is nothing before it to point to). Of a foreign answer we read just
enough to know that it answers our question and how long it may be kept: every length is checked against the message, and names are
skipped, never followed, so no pointer can loop.

Reference: RFC 1035 section 4; RFC 6891 (EDNS); RFC 2308 section 5 (how long to keep a "no").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from gasang.core.errors import BadInputError

A: Final = 1
SOA: Final = 6
PTR: Final = 12
AAAA: Final = 28
OPT: Final = 41
IN: Final = 1

NO_ERROR: Final = 0
FORMAT_ERROR: Final = 1
SERVER_FAILURE: Final = 2
NO_SUCH_NAME: Final = 3
NOT_IMPLEMENTED: Final = 4
REFUSED: Final = 5

HEADER: Final = 12
_HEAD = struct.Struct(">HHHHHH")
_QUESTION_TAIL = struct.Struct(">HH")
_RECORD = struct.Struct(">HHIH")
_RESPONSE: Final = 0x8000
_TRUNCATED: Final = 0x0200
_WANTS_RECURSION: Final = 0x0100
_RECURSES: Final = 0x0080
_AUTHORITATIVE: Final = 0x0400
_OPCODE: Final = 0x7800
_NAME_LIMIT: Final = 255
_MOST_RECORDS: Final = 4096
_SMALLEST_DATAGRAM: Final = 512
_OUR_DATAGRAM: Final = 4096


@dataclass(frozen=True, slots=True)
class Query:
    """A question. `name` is in lower case without the last dot; `question` its bytes; `room` what an answer in one datagram may take.

    `edns` are the flags of the asker's EDNS record; None: it sent none.
    """

    id: int
    flags: int
    name: str
    type: int
    klass: int
    question: bytes
    room: int
    edns: int | None

    @property
    def opcode(self) -> int:
        """What is asked for; 0 is a query."""
        return (self.flags & _OPCODE) >> 11


@dataclass(frozen=True, slots=True)
class Foreign:
    """What matters of an answer from elsewhere.

    Its code, how many seconds it may be kept (0: not at all), and where its times to live stand.
    """

    code: int
    truncated: bool
    keep: int
    lives: tuple[int, ...]


def read_query(data: bytes) -> Query:
    """A query from its bytes.

    Raises BadInputError if it is none, or not exactly one question.
    """
    if len(data) < HEADER:
        raise _bad(f"{len(data)} bytes hold no header")
    identity, flags, questions, answers, authorities, additional = _HEAD.unpack_from(data)
    if flags & _RESPONSE:
        raise _bad("it is an answer where a query was expected")
    if questions != 1 or answers or authorities > _MOST_RECORDS or additional > _MOST_RECORDS:
        raise _bad(f"it has {questions} questions and {answers} answers")
    labels, end = _labels(data, HEADER)
    kind, klass = _unpack(_QUESTION_TAIL, data, end)
    end += 4
    size, edns = 0, None
    for record in _records(data, end, authorities + additional):
        if record.type == OPT:
            size, edns = record.klass, record.life & 0xFFFF
    name = ".".join(_shown(label) for label in labels)
    room = min(max(size, _SMALLEST_DATAGRAM), _OUR_DATAGRAM)
    return Query(identity, flags, name, kind, klass, data[HEADER:end], room, edns)


def identity_of(data: bytes) -> int | None:
    """The number of a message that `read_query` refused, to tell its sender so; None if it was no query at all."""
    if len(data) < HEADER or data[2] & 0x80:
        return None
    return int.from_bytes(data[:2], "big")


def format_error(identity: int) -> bytes:
    """The answer to what could not be read."""
    return _HEAD.pack(identity, _RESPONSE | FORMAT_ERROR, 0, 0, 0, 0)


def reply(query: Query, code: int, records: Sequence[bytes] = (), *, limit: int = 65535, own: bool = True) -> bytes:
    """An answer of ours. What does not fit into `limit` bytes is left out, and the answer says so."""
    extra = b"\0" + struct.pack(">HHIH", OPT, _OUR_DATAGRAM, 0, 0) if query.edns is not None else b""
    size = HEADER + len(query.question) + len(extra)
    kept: list[bytes] = []
    for record in records:
        size += len(record)
        if size > limit:
            break
        kept.append(record)
    flags = _RESPONSE | (query.flags & (_OPCODE | _WANTS_RECURSION)) | _RECURSES | (_AUTHORITATIVE if own else 0) | code
    flags |= _TRUNCATED if len(kept) < len(records) else 0
    return _HEAD.pack(query.id, flags, 1, len(kept), 0, 1 if extra else 0) + query.question + b"".join(kept) + extra


def address_record(address: str, seconds: int) -> bytes:
    """A record that gives the question's name this address."""
    packed = ip_address(address).packed
    return b"\xc0\x0c" + _RECORD.pack(A if len(packed) == 4 else AAAA, IN, seconds, len(packed)) + packed


def name_record(name: str, seconds: int) -> bytes:
    """A record that gives the question's address this name.

    Raises BadInputError when DNS has no room for such a name.
    """
    packed = encode_name(name)
    return b"\xc0\x0c" + _RECORD.pack(PTR, IN, seconds, len(packed)) + packed


def encode_name(name: str) -> bytes:
    """A name as labels.

    Raises BadInputError when a label or the whole is empty or too long.
    """
    labels = [label.encode() for label in name.split(".")]
    packed = b"".join(bytes((len(label) & 0xFF,)) + label for label in labels) + b"\0"
    if any(not 1 <= len(label) <= 63 for label in labels) or len(packed) > _NAME_LIMIT:
        raise BadInputError(f"name {name!r}", "DNS has no room for it")
    return packed


def address_asked(name: str) -> str | None:
    """The address that a PTR question for `name` is about; None if it is about none."""
    labels = name.split(".")
    if name.endswith(".in-addr.arpa") and len(labels) == 6:
        text = ".".join(reversed(labels[:4]))
    elif name.endswith(".ip6.arpa") and len(labels) == 34 and all(len(label) == 1 for label in labels[:32]):
        digits = "".join(reversed(labels[:32]))
        text = ":".join(digits[start : start + 4] for start in range(0, 32, 4))
    else:
        return None
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def check_answer(data: bytes, identity: int, question: bytes) -> Foreign:
    """Check that `data` answers `question`, asked under `identity`.

    Raises BadInputError if it is damaged, or answers something else.
    """
    if len(data) < HEADER:
        raise _bad(f"{len(data)} bytes hold no header")
    number, flags, questions, answers, authorities, additional = _HEAD.unpack_from(data)
    if number != identity or not flags & _RESPONSE or questions != 1 or data[HEADER : HEADER + len(question)] != question:
        raise _bad("it answers something else")
    lives: list[int] = []
    shortest: int | None = None
    refusal: int | None = None
    for index, record in enumerate(_records(data, HEADER + len(question), answers + authorities + additional)):
        if record.type == OPT:
            continue
        lives.append(record.life_at)
        shortest = record.life if shortest is None else min(shortest, record.life)
        if record.type == SOA and answers <= index < answers + authorities and len(record.data) >= 20:
            refusal = min(record.life, int.from_bytes(record.data[-4:], "big"))
    code = flags & 0xF
    truncated = bool(flags & _TRUNCATED)
    return Foreign(code, truncated, 0 if truncated else _keep(code, answers, shortest, refusal), tuple(lives))


def _keep(code: int, answers: int, shortest: int | None, refusal: int | None) -> int:
    if code == NO_ERROR and answers:
        return shortest or 0
    return refusal or 0 if code in (NO_ERROR, NO_SUCH_NAME) else 0


def aged(data: bytes, lives: Sequence[int], seconds: int, query: Query) -> bytes:
    """A kept answer for a new asker, `seconds` later."""
    copy = bytearray(data)
    copy[0:2] = query.id.to_bytes(2, "big")
    copy[HEADER : HEADER + len(query.question)] = query.question
    for position in lives:
        left = max(0, int.from_bytes(copy[position : position + 4], "big") - seconds)
        copy[position : position + 4] = left.to_bytes(4, "big")
    return bytes(copy)


def renumbered(data: bytes, identity: int) -> bytes:
    """The message under another number."""
    return identity.to_bytes(2, "big") + data[2:]


def emptied(data: bytes, question: bytes) -> bytes:
    """An answer cut down to its question, marked as truncated, so that the asker comes again by TCP."""
    flags = int.from_bytes(data[2:4], "big") | _TRUNCATED
    return data[:2] + flags.to_bytes(2, "big") + struct.pack(">HHHH", 1, 0, 0, 0) + question


@dataclass(frozen=True, slots=True)
class _Record:
    type: int
    klass: int
    life: int
    life_at: int
    data: bytes


def _records(data: bytes, position: int, count: int) -> Iterator[_Record]:
    if count > _MOST_RECORDS:
        raise _bad(f"it claims {count} records")
    for _ in range(count):
        position = _skip_name(data, position)
        kind, klass, life, size = _unpack(_RECORD, data, position)
        start = position + _RECORD.size
        if start + size > len(data):
            raise _bad(f"a record claims {size} bytes where {len(data) - start} are left")
        # RFC 2181 section 8: a time to live with the top bit set means none.
        yield _Record(kind, klass, life if life < 1 << 31 else 0, position + 4, data[start : start + size])
        position = start + size


def _labels(data: bytes, position: int) -> tuple[list[bytes], int]:
    """The labels of a name without pointers, and where it ends."""
    labels: list[bytes] = []
    start = position
    while True:
        size = _byte(data, position)
        if size == 0:
            return labels, position + 1
        if size > 63:
            raise _bad("its name has a label that is none")
        position += 1 + size
        if position > len(data) or position - start > _NAME_LIMIT - 1:
            raise _bad("its name leaves the message or is too long")
        labels.append(data[position - size : position])


def _shown(label: bytes) -> str:
    """A label in lower case (of ASCII, as DNS has it), so that two that differ never look the same, whatever their bytes."""
    return label.lower().decode("latin-1").replace("\\", "\\\\").replace(".", "\\.")


def _skip_name(data: bytes, position: int) -> int:
    while True:
        size = _byte(data, position)
        if size == 0:
            return position + 1
        if size >= 0xC0:
            return position + 2
        if size > 63:
            raise _bad("it has a label that is none")
        position += 1 + size


def _byte(data: bytes, position: int) -> int:
    if position >= len(data):
        raise _bad("it ends in the middle of a name")
    return data[position]


def _unpack(shape: struct.Struct, data: bytes, position: int) -> tuple[int, ...]:
    if position + shape.size > len(data):
        raise _bad("it ends in the middle of a record")
    return shape.unpack_from(data, position)


def _bad(cause: str) -> BadInputError:
    return BadInputError("DNS message", cause)
