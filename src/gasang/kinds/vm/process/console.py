"""The console of a machine whose process has a supervisor: the three standard streams are its guest's (core.console.Console).

Signals and the link of a twin come to one thread, which tells of them. In a forked process `renew` connects it to other streams.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from gasang.core.console import WindowSize
from gasang.host.leaving import leave
from gasang.kinds.vm.process.control import begin
from gasang.kinds.vm.process.streams import take_streams

_CHUNK: Final = 1 << 16
ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
PASSED_OVER: Final = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGPIPE, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
"""What would end or stop a process, and means nothing to a machine."""
GONE: Final = 137
"""The exit code of a twin whose stand-in was killed."""
_SHORTLY: Final = 0.1


class SupervisedConsole:
    """On descriptors 0, 1 and 2. Made, and renewed, in the main thread. `left` is the number of the signal that ended the machine.

    One that is `absent` has no streams until it is renewed.
    """

    def __init__(self, *, tty: bool, reads_input: bool, link: socket.socket | None = None, absent: bool = False) -> None:
        self._tty = tty
        self._absent = absent
        self._reads_input = reads_input
        self._typed: Callable[[bytes], None] | None = None
        self._resized: Callable[[WindowSize], None] | None = None
        self._quit: Callable[[], None] = lambda: None
        self.ask_to_end: Callable[[], bool] = lambda: False
        """Has the guest end by itself; False where it cannot be asked. It may take its time."""
        self._is_asked = False
        self.link = link
        self.left: int | None = None
        self._begin()

    def _begin(self) -> None:
        if self._tty and not self._absent:
            import termios
            import tty

            tty.setraw(0, termios.TCSANOW)  # what has been typed already is the guest's
        self._lock = threading.Lock()
        self._wake, self._wakes = os.pipe()
        os.set_blocking(self._wakes, False)
        signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        for number in (*ENDING, signal.SIGWINCH):
            signal.signal(number, lambda *_: None)
        for number in PASSED_OVER:
            signal.signal(number, signal.SIG_IGN)
        begin(partial(self._hear, self._wake, self.link))

    def renew(self, streams: Sequence[int], link: socket.socket) -> None:
        """In a forked process: the streams are these three descriptors from now on.

        Signals come over `link` as well, a byte each, and its end is the machine's. Raises OSError, OutOfSpaceError.
        """
        take_streams(streams, tty=self._tty)
        self._absent = False
        if self.link is not None:
            self.link.close()
        self.link = link
        self._is_asked = False
        signal.set_wakeup_fd(-1)
        os.close(self._wakes)
        os.close(self._wake)
        self._begin()
        if self._typed is not None:
            self.on_input(self._typed)
        self._tell_size()

    # output

    def write(self, data: bytes) -> None:
        """Show what the guest wrote to its console or standard output."""
        self._write(1, data)

    def write_error(self, data: bytes) -> None:
        """Show what the guest wrote to its standard error."""
        self._write(2, data)

    def _write(self, descriptor: int, data: bytes) -> None:
        rest = memoryview(data)
        with self._lock, suppress(OSError):  # its supervisor is gone, and the machine goes next
            while rest:
                rest = rest[os.write(descriptor, rest) :]

    # input

    def on_input(self, callback: Callable[[bytes], None]) -> None:
        """Call `callback` with what is typed; b"" once when the input has ended."""
        self._typed = callback
        if self._absent:
            return
        if not self._reads_input:
            callback(b"")
            return
        threading.Thread(target=self._read, args=(callback,), name="input", daemon=True).start()

    def _read(self, callback: Callable[[bytes], None]) -> None:
        data = b" "
        while data:
            try:
                data = os.read(0, _CHUNK)
            except OSError:  # the terminal has gone
                data = b""
            callback(data)

    # signals

    def on_quit(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the machine is to end."""
        self._quit = callback
        if self.left is not None:
            callback()

    def on_resize(self, callback: Callable[[WindowSize], None]) -> None:
        """Call `callback` now and at each change with the window's size; never where there is no terminal."""
        self._resized = callback
        self._tell_size()

    def _tell_size(self) -> None:
        if self._tty and not self._absent and self._resized is not None:
            with suppress(OSError):
                size = os.get_terminal_size(0)
                if size.columns and size.lines:
                    self._resized(WindowSize(size.columns, size.lines))

    def _hear(self, wake: int, link: socket.socket | None) -> None:
        sources = [wake] if link is None else [wake, link.fileno()]
        waiting = select.poll()
        for source in sources:
            waiting.register(source, select.POLLIN)
        while True:
            try:
                for source, _ in waiting.poll():
                    self._attend(source, wake)
            except (MemoryError, RuntimeError):  # the latter: no thread can be made
                time.sleep(_SHORTLY)  # no event tells when there is some again

    def _attend(self, source: int, wake: int) -> None:
        numbers = _numbers(source)
        if source != wake and not numbers:
            leave(GONE)  # nobody waits for this machine any more, but for its end
        for number in numbers:
            self._signalled(number)

    def end(self) -> None:
        """As if TERM had come."""
        os.write(self._wakes, bytes([signal.SIGTERM]))

    def _signalled(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self._tell_size()
        elif number == signal.SIGTERM and not self._is_asked:
            self._is_asked = True
            threading.Thread(target=self._ask, name="end", daemon=True).start()
        elif number in ENDING:
            self._leave(number)

    def _ask(self) -> None:
        if not self.ask_to_end():
            self._leave(signal.SIGTERM)

    def _leave(self, number: int) -> None:
        if self.left is None:
            self.left = number
            self._quit()


def _numbers(source: int) -> bytes:
    try:
        return os.read(source, 64)
    except OSError:
        return b""
