"""Netlink: how Linux is told about its network, as messages in bytes, and a socket that carries a batch of them.

A message is a header {length u32, type u16, flags u16, sequence u32, port u32} and a body; a body ends in attributes {length u16,
kind u16, value, padded to 4 bytes}. Everything up to `Socket` is bytes to values and back. The kernel answers in order, so only the
last message of a batch asks for an acknowledgement: one system call carries the batch there, one (as a rule) the answer back.

Reference: RFC 3549; linux/netlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gasang.core.errors import BadInputError, GasangError, PermissionDeniedError, UnsupportedError

ROUTE: Final = 0
NETFILTER: Final = 12

REQUEST: Final = 0x001
ACK: Final = 0x004
DUMP: Final = 0x300
EXCL: Final = 0x200
CREATE: Final = 0x400
REPLACE: Final = 0x100
APPEND: Final = 0x800

ERROR: Final = 2
DONE: Final = 3
NESTED: Final = 0x8000

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=i")
_LARGEST_ANSWER = 1 << 16
_KIND_MASK = 0x3FFF
_SOL_NETLINK = 270
_CAP_ACK = 10
_EXT_ACK = 11
_ACK_CAPPED = 0x100
_ACK_TLVS = 0x200
_ACK_TEXT = 1


class NetlinkError(GasangError):
    """The kernel refused a message; `number` is its errno."""

    def __init__(self, subject: str, number: int, text: str = "") -> None:
        cause = f"{text} ({os.strerror(number)})" if text else os.strerror(number)
        super().__init__(subject, f"the kernel refused: {cause}")
        self.number = number


@dataclass(frozen=True, slots=True)
class Message:
    """One message to the kernel: its type, its flags beyond REQUEST and ACK, its body, and what it is about (for errors)."""

    kind: int
    flags: int
    body: bytes
    subject: str = "the network"


@dataclass(frozen=True, slots=True)
class Answer:
    """One message from the kernel."""

    kind: int
    flags: int
    sequence: int
    body: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute with its padding."""
    return _ATTRIBUTE.pack(len(value) + 4, kind) + value + b"\0" * (-len(value) & 3)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """An attribute with a string, ended by a zero byte."""
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    """An attribute with one byte."""
    return attribute(kind, bytes((value,)))


def u32(kind: int, value: int) -> bytes:
    """An attribute with a 32-bit number in the host's order."""
    return attribute(kind, value.to_bytes(4, "little" if _LITTLE else "big"))


_LITTLE = struct.pack("=H", 1) == b"\1\0"


def encode(messages: Sequence[Message], first: int, last: int) -> bytes:
    """The batch in bytes, numbered from `first`; only the message at index `last` asks to be acknowledged."""
    parts: list[bytes] = []
    for index, message in enumerate(messages):
        flags = message.flags | REQUEST | (ACK if index == last else 0)
        padding = b"\0" * (-len(message.body) & 3)
        parts += (_HEADER.pack(16 + len(message.body), message.kind, flags, first + index, 0), message.body, padding)
    return b"".join(parts)


def decode(data: bytes) -> Iterator[Answer]:
    """The messages in one datagram.

    Raises BadInputError where a length leaves the datagram.
    """
    position = 0
    while position < len(data):
        if len(data) - position < 16:
            raise BadInputError("netlink answer", f"{len(data) - position} bytes are left where a header needs 16")
        size, kind, flags, sequence, _port = _HEADER.unpack_from(data, position)
        if size < 16 or position + size > len(data):
            raise BadInputError("netlink answer", f"a message claims {size} bytes where {len(data) - position} are left")
        yield Answer(kind, flags, sequence, data[position + 16 : position + size])
        position += (size + 3) & ~3


def attributes(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Kind (without its flag bits) and value of each attribute from `start` on.

    Raises BadInputError where a length leaves the data.
    """
    position = start
    while len(data) - position >= 4:
        size, kind = _ATTRIBUTE.unpack_from(data, position)
        if size < 4 or position + size > len(data):
            raise BadInputError("netlink attribute", f"it claims {size} bytes where {len(data) - position} are left")
        yield kind & _KIND_MASK, data[position + 4 : position + size]
        position += (size + 3) & ~3


def refusal(answer: Answer) -> tuple[int, str]:
    """The errno (0: acknowledged) and the kernel's own words in an answer of type ERROR or DONE.

    Raises BadInputError if it is too short to hold them.
    """
    if len(answer.body) < 4:
        raise BadInputError("netlink answer", f"an error of {len(answer.body)} bytes holds no number")
    number = -_NUMBER.unpack_from(answer.body)[0]
    if not number or not answer.flags & _ACK_TLVS or answer.kind != ERROR:
        return number, ""
    return number, _words(answer)


def _words(answer: Answer) -> str:
    if len(answer.body) < 20:
        return ""
    copied = 16 if answer.flags & _ACK_CAPPED else max(16, _HEADER.unpack_from(answer.body, 4)[0])
    for kind, value in attributes(answer.body, 4 + ((copied + 3) & ~3)):
        if kind == _ACK_TEXT:
            return value.rstrip(b"\0").decode(errors="replace")
    return ""


class Socket:
    """A netlink socket of one protocol, in the network namespace in which it was opened."""

    def __init__(self, protocol: int) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        except OSError as error:
            raise UnsupportedError(f"netlink protocol {protocol}", f"the kernel has none ({error.strerror})") from error
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._sequence = 1

    def close(self) -> None:
        """Close."""
        self._socket.close()

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, messages: Sequence[Message], *, forgiven: frozenset[int] = frozenset()) -> list[Answer]:
        """Send all in one call and wait until the last is acknowledged; the answers that were asked for.

        `forgiven` are errnos that are no failure here. Raises NetlinkError (the first refusal), PermissionDeniedError.
        """
        return self.transact(messages, len(messages) - 1, (len(messages) - 1,), forgiven)

    def transact(
        self, messages: Sequence[Message], last: int, ends: Collection[int], forgiven: frozenset[int] = frozenset()
    ) -> list[Answer]:
        """As `send`; the message at index `last` is to be acknowledged, and an answer to one at an index of `ends` is the last answer."""
        first = self._post(encode(messages, self._sequence, last), len(messages))
        answers: list[Answer] = []
        worst: tuple[int, int, str] | None = None
        done = False
        while not done:
            for answer in self._receive():
                index = answer.sequence - first
                if not 0 <= index < len(messages):
                    continue
                if answer.kind != ERROR:
                    answers.append(answer)
                    continue
                number, words = refusal(answer)
                if number and number not in forgiven:
                    worst = worst or (index, number, words)
                done = done or index in ends
        if worst:
            raise _refused(messages[worst[0]].subject, worst[1], worst[2])
        return answers

    def dump(self, message: Message) -> list[Answer]:
        """Everything the kernel lists for this request.

        Raises NetlinkError, PermissionDeniedError.
        """
        while True:
            first = self._post(encode([Message(message.kind, message.flags | DUMP, message.body, message.subject)], self._sequence, 0), 1)
            answers, torn = self._collect(first, message.subject)
            if not torn:
                return answers

    def _collect(self, sequence: int, subject: str) -> tuple[list[Answer], bool]:
        """The answers up to DONE; and whether the table changed meanwhile (then they may be torn)."""
        answers: list[Answer] = []
        torn = False
        while True:
            for answer in self._receive():
                if answer.sequence != sequence:
                    continue
                torn = torn or bool(answer.flags & 0x10)
                if answer.kind in (ERROR, DONE):
                    number, words = refusal(answer) if len(answer.body) >= 4 else (0, "")
                    if number:
                        raise _refused(subject, number, words)
                    return answers, torn
                answers.append(answer)

    def _post(self, data: bytes, count: int) -> int:
        first = self._sequence
        self._sequence = (self._sequence + count) & 0x7FFFFFFF or 1
        self._socket.send(data)
        return first

    def _receive(self) -> Iterator[Answer]:
        return decode(self._socket.recv(_LARGEST_ANSWER))


def _refused(subject: str, number: int, words: str) -> GasangError:
    if number in (errno.EPERM, errno.EACCES):
        return PermissionDeniedError(subject, f"the kernel refused ({words or os.strerror(number)})", "run as root, or with CAP_NET_ADMIN")
    return NetlinkError(subject, number, words)
