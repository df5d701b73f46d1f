"""A command in the guest, as the host holds it: its streams, its signals, its end."""

from __future__ import annotations

import contextlib
import os
import select
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple, Self

from gasang.core.console import WindowSize
from gasang.core.errors import GasangError, UsageError
from gasang.kinds.vm.agent import errors
from gasang.kinds.vm.agent.protocol import CREDIT, ENDED, ERRORS, INPUT, OUTPUT, PIECE, RESIZE, SIGNAL, WINDOW
from gasang.kinds.vm.agent.wire import Said, Wire

STDOUT, STDERR = 1, 2
_STREAMS: Final = {OUTPUT: STDOUT, ERRORS: STDERR}
_END: Final = struct.Struct("<iiii")
_READABLE: Final = select.POLLIN | select.POLLHUP | select.POLLERR

Output = Callable[[int, bytes], object]
"""Takes a stream's number (1 or 2) and bytes of it; a call that waits holds the command up."""


class Outcome(NamedTuple):
    """How a command ended: its exit code, or 128 + `signal` where a signal (not 0 then) ended it."""

    code: int
    signal: int


class Running:
    """A command that has been started. `run` passes its streams on and returns its end; close it, or leave the block.

    Closing it before its end leaves the command to itself: its streams are closed, and a terminal hangs up.
    """

    def __init__(self, wire: Wire, pid: int) -> None:
        self.pid = pid
        """In the guest."""
        self.outcome: Outcome | None = None
        self._wire = wire
        self._credit = WINDOW
        self._input: int | None = None
        self._early: memoryview | None = None

    def signal(self, number: int) -> None:
        """Send the command a signal; from any thread. One that has ended hears nothing. Raises UsageError for what is no signal."""
        if not 1 <= number <= 64:
            raise UsageError(f"signal {number}", "there is no such signal", "give one from 1 to 64")
        self._tell(SIGNAL, number)

    def resize(self, size: WindowSize) -> None:
        """Its terminal has another size; from any thread."""
        self._tell(RESIZE, (size.rows & 0x7FFF) << 16 | size.columns & 0xFFFF)

    def _tell(self, kind: int, value: int) -> None:
        if self.outcome is None:
            with contextlib.suppress(GasangError):  # it is just ending: whoever waits for it hears of that
                self._wire.send(kind, b"", value)

    def run(self, output: Output, source: int | bytes | None = None) -> Outcome:
        """Give it what `source` (a descriptor or bytes) has until that ends, and `output` all it writes, until it ends.

        Raises StateError where the guest or its agent is gone, BadInputError where it says what no agent says, TimedOutError where it takes
        nothing.
        """
        if isinstance(source, int):
            self._input = source
        else:
            self._early = memoryview(source or b"")
            self._feed()
        for said in self._wire.waiting():
            self._hear(said, output)
        while self.outcome is None:
            self._round(output)
        return self.outcome

    def _round(self, output: Output) -> None:
        poller = select.poll()
        poller.register(self._wire, select.POLLIN)
        if self._input is not None and self._credit > 0:
            poller.register(self._input, select.POLLIN)
        for descriptor, events in poller.poll():
            if descriptor == self._wire.fileno():
                for said in self._wire.arrived():
                    self._hear(said, output)
            elif events & (_READABLE | select.POLLNVAL) and self.outcome is None:
                self._take()

    def _take(self) -> None:
        """Pass on what the descriptor has."""
        assert self._input is not None
        try:
            data = os.read(self._input, min(PIECE, self._credit))
        except BlockingIOError:
            return
        except OSError:  # a terminal that has hung up, a descriptor that was closed: both are its end
            data = b""
        if not data:
            self._input = None
        self._credit -= len(data)
        self._tell_input(data)

    def _feed(self) -> None:
        """Pass on as much of the bytes given as there is credit for, and their end."""
        if self._early is None:
            return
        while self._early and self._credit:
            piece = self._early[: min(PIECE, self._credit)]
            self._early = self._early[len(piece) :]
            self._credit -= len(piece)
            self._tell_input(bytes(piece))
        if not self._early:
            self._early = None
            self._tell_input(b"")

    def _tell_input(self, data: bytes) -> None:
        self._wire.send(INPUT, data)

    def _hear(self, said: Said, output: Output) -> None:
        if self.outcome is not None:
            raise errors.odd(self._wire.subject, "more behind a command's end")
        if said.kind in _STREAMS:
            if said.content:
                output(_STREAMS[said.kind], said.content)
        elif said.kind == CREDIT and 0 < said.value <= WINDOW - self._credit:
            self._credit += said.value
            if self._input is None:
                self._feed()
        elif said.kind == ENDED:
            code, signal, _, _ = _END.unpack(said.content)
            if not (0 <= code <= 255 and 0 <= signal <= 127):
                raise errors.odd(self._wire.subject, f"exit code {code}, signal {signal}")
            self.outcome = Outcome(code, signal)
        else:
            raise errors.odd(self._wire.subject, f"a message of kind {said.kind} while a command runs")

    def hang_up(self) -> None:
        """Leave the command to itself; from any thread. Whoever is in `run` gets a StateError."""
        self._wire.hang_up()

    def close(self) -> None:
        """Hang up, where nobody is in `run`. Twice is once."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
