"""Messages of the protocol on the host's side. What the guest sends is hostile: `Reader` is where it is checked, and only there."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from typing import Final, NamedTuple

from gasang.kinds.vm.agent import errors
from gasang.kinds.vm.agent.protocol import HEADER_SIZE, MAGIC, MESSAGES, VERSION, Message

HEADER: Final = struct.Struct("<IHHIi")
"""protocol.Header."""
_SAID_BY_GUEST: Final[dict[int, Message]] = {message.kind: message for message in MESSAGES if not message.by_host}
_PIECE: Final = 64 * 1024


class Said(NamedTuple):
    """A message of the guest's that has a known kind and an allowed length."""

    kind: int
    value: int
    content: bytes


class Reader:
    """Turns bytes into messages; keeps at most one that is not whole."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._kept = bytearray()

    def feed(self, data: bytes) -> list[Said]:
        """The messages that these bytes complete. Raises BadInputError for what no agent of ours says."""
        self._kept += data
        found: list[Said] = []
        at = 0
        while len(self._kept) - at >= HEADER_SIZE:
            kind, size, value = self._header(at)
            if len(self._kept) - at < HEADER_SIZE + size:
                break
            at += HEADER_SIZE
            found.append(Said(kind, value, bytes(self._kept[at : at + size])))
            at += size
        del self._kept[:at]
        return found

    def _header(self, at: int) -> tuple[int, int, int]:
        magic, version, kind, size, value = HEADER.unpack_from(self._kept, at)
        if magic != MAGIC:
            raise errors.odd(self._subject, "a message without its mark")
        if version != VERSION:
            raise errors.odd(self._subject, f"version {version}, this build speaks {VERSION}")
        message = _SAID_BY_GUEST.get(kind)
        if message is None:
            raise errors.odd(self._subject, f"a message of kind {kind}")
        if not message.least <= size <= message.most:
            raise errors.odd(self._subject, f"{message.name} of {size} bytes")
        return kind, size, value


def packed(kind: int, content: bytes = b"", value: int = 0) -> bytes:
    """A message to the guest."""
    return HEADER.pack(MAGIC, VERSION, kind, len(content), value) + content


class Wire:
    """A connection to an agent: any thread may send, one receives. `patience` is for how many seconds the guest may take nothing."""

    def __init__(self, connection: socket.socket, subject: str, patience: float) -> None:
        self.subject = subject
        self._connection = connection
        self._patience = patience
        self._reader = Reader(subject)
        self._waiting: deque[Said] = deque()
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """The connection's descriptor."""
        return self._connection.fileno()

    def send(self, kind: int, content: bytes = b"", value: int = 0) -> None:
        """Send a message. Raises StateError where the agent is gone, TimedOutError where it takes nothing."""
        self.send_packed(packed(kind, content, value))

    def send_packed(self, data: bytes) -> None:
        """As `send`, of messages that are packed."""
        try:
            with self._sending:
                self._connection.settimeout(self._patience)
                self._connection.sendall(data)
        except TimeoutError as error:
            raise errors.silent(self.subject, self._patience) from error
        except OSError as error:
            raise errors.gone(self.subject) from error

    def arrived(self) -> list[Said]:
        """What has come, where the descriptor is readable. Raises StateError at the connection's end, BadInputError for nonsense."""
        try:
            data = self._connection.recv(_PIECE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError as error:
            raise errors.gone(self.subject) from error
        if not data:
            raise errors.gone(self.subject)
        return self._reader.feed(data)

    def receive(self) -> Said:
        """The next message. Raises TimedOutError beside what `arrived` raises."""
        while not self._waiting:
            self._wait()
            self._waiting.extend(self.arrived())
        return self._waiting.popleft()

    def _wait(self) -> None:
        from select import POLLIN, poll

        poller = poll()
        poller.register(self._connection, POLLIN)
        if not poller.poll(self._patience * 1000):
            raise errors.silent(self.subject, self._patience)

    def waiting(self) -> list[Said]:
        """Messages that came together with one that was received."""
        found = list(self._waiting)
        self._waiting.clear()
        return found

    def hang_up(self) -> None:
        """End the connection, also under a thread that receives; it is still to be closed."""
        with contextlib.suppress(OSError):  # the agent was faster
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Forget the connection. Twice is once."""
        self._connection.close()
