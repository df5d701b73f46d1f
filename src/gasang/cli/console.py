"""The console of a machine on this process's own standard input and output.

On a terminal in raw mode every key goes to the guest and Ctrl-] leaves. Elsewhere Ctrl-C is ours: the first one says what a
second one would do, the second one ends the machine, a third one stops waiting for that. SIGTERM, SIGHUP and an output that
nobody reads end the machine too. Input is read by a thread of its own, which starts with `on_input`.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from enum import Enum
from functools import partial
from types import FrameType, TracebackType
from typing import Final

from gasang.cli.exits import INTERRUPTED, NOBODY_READS, OK, SIGNALLED
from gasang.cli.listener import Listener
from gasang.cli.signals import ending_signals
from gasang.cli.terminal import RESET, RawMode, split_at_leave_key, window_size
from gasang.core.console import WindowSize

_CHUNK: Final = 1 << 16
_FIRST_INTERRUPT: Final = b"gasang: the machine goes on; press Ctrl-C again to stop it\n"


PASSED_ON: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
"""The signals that can be passed on to a machine."""


class Leave(Enum):
    """Why the person left the machine."""

    KEY = "Ctrl-]"
    INTERRUPT = "Ctrl-C"
    NOBODY_READS = "nobody reads the output"
    SIGNAL = "a signal"


class StreamConsole:
    """A console on open files (standard input, output and error by number). Use it as a context manager, in the main thread.

    `raw`: the input is a terminal whose every key goes to the guest, but for those that `split` finds to leave. `reads_input`:
    without it the guest's input is at its end from the start.
    """

    def __init__(
        self,
        *,
        raw: bool,
        reads_input: bool,
        descriptors: tuple[int, int, int] = (0, 1, 2),
        split: Callable[[bytes], tuple[bytes, bool]] = split_at_leave_key,
    ) -> None:
        self._split = split
        self._input, self._output, self._error = descriptors
        self._raw = RawMode(self._input) if raw else None
        self._reads_input = reads_input
        self._undo = ExitStack()
        self._lock = threading.Lock()
        self._quit: Callable[[], None] | None = None
        self._pass_on: Callable[[int], None] | None = None
        self._listener = Listener()
        self._interrupts = 0
        self._interrupts_in_main = 0
        self._broken = False
        self._signal_number = 0
        self.left: Leave | None = None

    def __enter__(self) -> StreamConsole:
        self._undo.callback(self._listener.close)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._undo.close()

    @property
    def leave_code(self) -> int:
        """The exit code of a command whose person left."""
        if self.left is Leave.SIGNAL:
            return SIGNALLED + self._signal_number
        return {None: OK, Leave.KEY: OK, Leave.INTERRUPT: INTERRUPTED}.get(self.left, NOBODY_READS)

    # output

    def write(self, data: bytes) -> None:
        """Show what the guest wrote to its console or standard output. Safe from any thread; never raises."""
        self._write(self._output, data)

    def write_error(self, data: bytes) -> None:
        """Show what the guest wrote to its standard error. Safe from any thread; never raises."""
        self._write(self._error, data)

    def _write(self, descriptor: int, data: bytes) -> None:
        with self._lock:
            broken = self._broken or not _write_all(descriptor, data)
            first = broken and not self._broken
            self._broken = broken
        if first:
            self._leave(Leave.NOBODY_READS)

    # leaving

    def on_quit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when the person leaves. From now on Ctrl-C and SIGTERM no longer unwind this process."""
        self._quit = callback
        if self.left is not None:
            callback()
            return
        if self._pass_on and self._raw is None:
            for number in PASSED_ON:
                self._listener.listen(number, partial(self._pass_on, number))
            return
        if self._raw is None:
            self._listener.listen(signal.SIGINT, self._interrupted, self._interrupted_in_main)
        for number in ending_signals():
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._listener.listen(number, partial(self._ended, number))

    def _leave(self, reason: Leave) -> None:
        if self.left is None:
            self.left = reason
            if self._quit:
                self._quit()

    def _interrupted(self) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            _write_all(self._error, _FIRST_INTERRUPT)
        else:
            self._leave(Leave.INTERRUPT)

    def _interrupted_in_main(self, number: int, frame: FrameType | None) -> None:
        self._interrupts_in_main += 1
        if self._interrupts_in_main > 2:
            raise KeyboardInterrupt

    def _ended(self, number: int) -> None:
        self._signal_number = number
        self._leave(Leave.SIGNAL)

    def pass_signals(self, callback: Callable[[int], None]) -> None:
        """Have `callback` called with the number of each signal that this process gets, instead of leaving. Call it before `on_quit`."""
        self._pass_on = callback

    # input

    def on_input(self, callback: Callable[[bytes], None]) -> None:
        """Enter raw mode if asked for, and call `callback` with what is typed; b"" once when the input has ended."""
        if self._raw:
            self._undo.enter_context(self._raw)
            self._undo.callback(_write_all, self._output, RESET)
        if not self._reads_input:
            callback(b"")
            return
        wake_read, wake_write = os.pipe()
        reader = threading.Thread(target=self._read, args=(callback, wake_read), name="console-input", daemon=True)
        reader.start()
        self._undo.callback(_stop_reader, reader, wake_read, wake_write)

    def _read(self, callback: Callable[[bytes], None], wake: int) -> None:
        while True:
            ready, _, _ = select.select([self._input, wake], [], [])
            if wake in ready:
                return
            data = _read_some(self._input)
            if self._raw:
                if not data:  # the terminal has gone
                    self._leave(Leave.KEY)
                    return
                data, leaves = self._split(data)
                if leaves:
                    if data:
                        callback(data)
                    self._leave(Leave.KEY)
                    return
                if not data:  # held back
                    continue
            callback(data)
            if not data:
                return

    # the window

    def on_resize(self, callback: Callable[[WindowSize], None]) -> None:
        """Call `callback` now and at each change with the window's size; never where the output is no terminal."""

        def changed() -> None:
            size = window_size(self._output)
            if size:
                callback(size)

        changed()
        if hasattr(signal, "SIGWINCH") and os.isatty(self._output):
            self._listener.listen(signal.SIGWINCH, changed)


def _write_all(descriptor: int, data: bytes) -> bool:
    """Write all of `data`, waiting where the file is set not to block; False if nobody can read it any more."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except OSError:
            return False
    return True


def _read_some(descriptor: int) -> bytes:
    """What can be read now; b"" at the end, also where a terminal has gone (EIO)."""
    try:
        return os.read(descriptor, _CHUNK)
    except BlockingIOError:
        select.select([descriptor], [], [])
        return _read_some(descriptor)
    except OSError:
        return b""


def _stop_reader(reader: threading.Thread, wake_read: int, wake_write: int) -> None:
    """End the reading thread and close its pipe. A reader that is held inside its callback keeps the pipe."""
    os.write(wake_write, b"\0")
    reader.join(timeout=1)
    if not reader.is_alive():
        os.close(wake_read)
        os.close(wake_write)
