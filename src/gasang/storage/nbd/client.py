"""A disk that an NBD server offers, as a file for images to lie in (storage/images/store.py).

A connection that breaks is made again for a while, and what had not been answered is asked again. What was written and is not known to
be on stable storage is kept until it is, and written once more on a new connection: a server that died in between has lost nothing of
ours. One request at a time; not locked.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gasang.core.errors import BadInputError, GasangError, NotFoundError, PermissionDeniedError, StateError, TimedOutError
from gasang.storage.bounds import check_range
from gasang.storage.images.pieces import joined
from gasang.storage.nbd import protocol as wire
from gasang.storage.nbd.address import Address
from gasang.storage.nbd.client_core import Link, Question, RefusedError, Talk, ask, greet
from gasang.storage.nbd.protocol import STATE_ZERO, ProtocolError

UNFLUSHED_MAX: Final = 16 << 20
"""Bytes of writes that are kept; then they are flushed."""
_STATUS_STEP: Final = 1 << 30
_SLOWEST: Final = 1 << 16
"""Bytes a second of a reply, below which a server counts as one that stands still."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: to connect, without an answer, and in which a lost connection comes back."""

    connect: float = 10.0
    answer: float = 30.0
    lost: float = 60.0


class NbdStore:
    """An open disk of a server's. Everything may raise OSError if the server fails or stays away."""

    def __init__(self, address: Address, *, read_only: bool, patience: Patience | None = None) -> None:
        """Connect. Raises NotFoundError, PermissionDeniedError, TimedOutError, StateError, BadInputError, GasangError."""
        self.name = str(address)
        self._address = address
        self._patience = patience or Patience()
        self._cookie = 0
        self._unflushed: list[tuple[int, bytes | None, int]] = []
        self._unflushed_size = 0
        self._socket: socket.socket | None = None
        self._met = False
        """Whether a socket that was connected already has been taken."""
        self._gone = False
        """Whether the last wait for the server was in vain: the next one is short."""
        self._link = Link()
        try:
            self._connect()
        except (OSError, ProtocolError, RefusedError) as error:
            self._hang_up()
            raise self._told(error) from error
        if not self._link.size:
            self.close()
            raise BadInputError(f"disk {self.name}", "it is empty", "name another export")
        if not read_only and self._link.read_only:
            self.close()
            raise StateError(f"disk {self.name}", "its server offers it for reading only", "say ,readonly")
        self.read_only = read_only

    def _told(self, error: Exception) -> GasangError:
        subject = f"disk {self.name}"
        if isinstance(error, RefusedError):
            return NotFoundError(subject, f"the server does not offer it: {error}", "ask who runs the server")
        if isinstance(error, ProtocolError):
            return BadInputError(subject, f"its server cannot be understood: {error}", "check the address")
        if isinstance(error, TimeoutError):
            return TimedOutError(subject, "its server does not answer", "check the address and the server")
        if isinstance(error, PermissionError):
            return PermissionDeniedError(subject, "its socket may not be opened", "change its permissions")
        reason = getattr(error, "strerror", None) or str(error)
        return NotFoundError(subject, f"its server cannot be reached ({reason})", "check the address, and that the server runs")

    # The connection ----------------------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        where = self._address
        if where.descriptor >= 0:
            if self._met:
                raise ConnectionRefusedError(errno.ECONNREFUSED, "its process has ended")
            self._met = True
            made = self._socket = socket.socket(fileno=where.descriptor)
        elif where.path:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket = made
            made.settimeout(self._patience.connect)
            made.connect(where.path)
        else:
            made = self._socket = socket.create_connection((where.host, where.port), self._patience.connect)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.settimeout(self._patience.answer)
        link = Link()
        self._drive(greet(link, where.name))
        if self._link.size and (link.size != self._link.size or (link.read_only and not self._link.read_only)):
            raise RefusedError("its disk is another one now")
        self._link = link

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _drive(self, talk: Talk) -> None:
        """Have a talk. Raises OSError for a connection that broke or was too slow, and what the talk raises."""
        assert self._socket is not None
        came = b""
        try:
            wants = next(talk)
            while True:
                if isinstance(wants, int):
                    came = self._receive(wants)
                else:
                    self._socket.sendall(wants)
                wants = talk.send(came)
        except StopIteration:
            return

    def _receive(self, length: int) -> bytes:
        assert self._socket is not None
        end = time.monotonic() + self._patience.answer + length / _SLOWEST
        parts = []
        while length:
            part = self._socket.recv(min(length, 1 << 20))
            if not part:
                raise ConnectionResetError(errno.ECONNRESET, "the server hung up")
            parts.append(part)
            length -= len(part)
            if length and time.monotonic() > end:
                raise TimeoutError("the server is too slow")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _again(self, cause: Exception) -> None:
        """A new connection in the place of one that is lost. Raises OSError where none can be had in time."""
        self._hang_up()
        end = time.monotonic() + (0 if self._gone else self._patience.lost)
        wait = 0.05
        while True:
            try:
                self._connect()
                for offset, data, length in self._unflushed:
                    self._put(offset, data, length)
                self._gone = False
                return
            except (ProtocolError, RefusedError) as error:
                self._hang_up()
                raise OSError(errno.EIO, f"{self.name}: {error}") from error
            except OSError as error:
                self._hang_up()
                if time.monotonic() + wait > end:
                    self._gone = True
                    raise OSError(errno.EIO, f"{self.name}: the connection is lost ({cause}) and does not come back ({error})") from error
            time.sleep(wait)  # a server that is gone tells nobody when it is back
            wait = min(2 * wait, 2.0)

    def _ask(self, question: Question) -> Question:
        """The question answered. Raises OSError for what the server cannot do, and one that stays away."""
        while True:
            try:
                if self._socket is None:
                    raise ConnectionResetError(errno.ECONNRESET, "it was given up")
                self._one(question)
                break
            except ProtocolError as error:
                self._hang_up()
                raise OSError(errno.EIO, f"{self.name}: {error}") from error
            except OSError as error:
                self._again(error)
        if question.error:
            number = wire.HOST_ERRORS.get(question.error, errno.EIO)
            raise OSError(number, f"{self.name}: the server says {question.why or errno.errorcode[number]}")
        return question

    def _one(self, question: Question) -> None:
        self._cookie += 1
        question.cookie = self._cookie
        question.error, question.found, question.extents = 0, b"", None
        self._drive(ask(self._link, question))

    # The disk ----------------------------------------------------------------------------------------------------------------------

    def size(self) -> int:
        """Bytes of the disk."""
        return self._link.size

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes; zeroes behind the end."""
        have = max(0, min(length, self._link.size - offset))
        grain = self._link.minimum
        begin, end = offset // grain * grain, min(-(-(offset + have) // grain) * grain, self._link.size)
        parts = [
            self._ask(Question(wire.READ, 0, at, min(self._link.maximum, end - at))).found
            for at in range(begin, end if have else begin, self._link.maximum)
        ]
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if begin != offset or len(data) != length:
            data = data[offset - begin : offset - begin + have].ljust(length, b"\0")
        return data

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store all of `data`; raise OSError behind the end too."""
        check_range(self._link.size, offset, len(data))
        grain = self._link.minimum
        if offset % grain or (offset + len(data)) % grain:
            begin, end = offset // grain * grain, min(-(-(offset + len(data)) // grain) * grain, self._link.size)
            whole = bytearray(self.read(begin, end - begin))
            whole[offset - begin : offset - begin + len(data)] = data
            offset, data = begin, whole
        view = memoryview(data)
        for at in range(0, len(view), self._link.maximum):
            piece = bytes(view[at : at + self._link.maximum])
            self._ask(Question(wire.WRITE, 0, offset + at, len(piece), 0, piece))
            self._remember(offset + at, piece, len(piece))

    def _put(self, offset: int, data: bytes | None, length: int) -> None:
        """Once more what was done before the connection was lost. Raises OSError."""
        question = Question(wire.WRITE if data is not None else wire.ZEROES, 0, offset, length, 0, data or b"")
        self._one(question)
        if question.error:
            raise OSError(errno.EIO, f"{self.name}: what was written cannot be written again")

    def _remember(self, offset: int, data: bytes | None, length: int) -> None:
        self._unflushed.append((offset, data, length))
        self._unflushed_size += len(data or b"") + 64
        if self._unflushed_size > UNFLUSHED_MAX:
            self.flush()

    def flush(self) -> None:
        """Return once all that was written is on the server's stable storage."""
        if self._unflushed:
            if self._link.flags & wire.SEND_FLUSH:
                self._ask(Question(wire.FLUSH, 0))
            self._unflushed.clear()
            self._unflushed_size = 0

    def punch(self, offset: int, length: int) -> bool:
        """Whether a range that lies inside reads as zeroes now."""
        if not self._link.flags & wire.SEND_ZEROES or offset % self._link.minimum or length % self._link.minimum:
            return False
        step = (1 << 31) // self._link.minimum * self._link.minimum
        for at in range(offset, offset + length, step):
            part = min(step, offset + length - at)
            self._ask(Question(wire.ZEROES, 0, at, part))
            self._remember(at, None, part)
        return True

    def truncate(self, size: int) -> None:
        """The server's disk keeps its size. Raises OSError."""
        if size != self._link.size:
            raise OSError(errno.EOPNOTSUPP, f"{self.name}: a disk on a server does not change its size")

    def data(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of what may be other than zero, in order: what the server tells, else everything."""
        return joined(self._data())

    def _data(self) -> Iterator[tuple[int, int]]:
        if self._link.context is None:
            yield 0, self._link.size
            return
        at, end = 0, self._link.size
        while at < end:
            extents = self._ask(Question(wire.STATUS, 0, at, min(_STATUS_STEP, end - at))).extents
            assert extents
            for extent in extents:
                length = min(extent.length, end - at)
                if length > 0 and not extent.state & STATE_ZERO:
                    yield at, length
                at += length

    def close(self) -> None:
        """Take leave; a second time does nothing. Raises OSError if what was written cannot be kept."""
        if self._socket is None and not self._unflushed:
            return
        try:
            self.flush()
            if self._socket is not None:
                self._socket.sendall(wire.request_head.pack(wire.REQUEST, 0, wire.DISCONNECT, 0, 0, 0))
        finally:
            self._hang_up()
