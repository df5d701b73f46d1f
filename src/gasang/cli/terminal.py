"""The person's terminal: raw mode that is always undone, and the key that leaves.

Raw mode hands every key to the guest, Ctrl-C too; the one key that stays ours is Ctrl-]. Whatever ends the command (its
own end, an exception, SIGTERM, ``sys.exit`` elsewhere) the terminal gets its settings back; after SIGKILL nothing can, and
``reset`` helps.
"""

from __future__ import annotations

import atexit
import os
import sys
from types import TracebackType
from typing import Any, Final

from gasang.core.console import WindowSize
from gasang.core.errors import UnsupportedError, UsageError

LEAVE_KEY: Final = 0x1D
"""Ctrl-], as telnet and virsh have it."""

DOCKERS_KEYS: Final = b"\x10\x11"
"""Ctrl-p Ctrl-q."""

RESET: Final = b"\x1b[0m\x1b[?25h\x1b[?1l\x1b>\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l"
"""Undoes what a guest that is left in the middle of a full-screen program leaves behind: colours, a hidden cursor,
application keys, mouse reports, bracketed paste (xterm control sequences, DECSTR's parts that do not clear the screen)."""


def split_at_leave_key(data: bytes) -> tuple[bytes, bool]:
    """What was typed before Ctrl-], and whether it was typed."""
    before, key, _ = data.partition(bytes([LEAVE_KEY]))
    return before, bool(key)


class DetachKeys:
    """Ctrl-], or a sequence of keys, Ctrl-p Ctrl-q as Docker has it. The beginning of the sequence is held back until it is clear."""

    def __init__(self, sequence: bytes = DOCKERS_KEYS, *, leave_key: bool = True) -> None:
        self._sequence = sequence
        self._leave = LEAVE_KEY if leave_key else None
        self._held = b""

    def split(self, data: bytes) -> tuple[bytes, bool]:
        """What is for the guest of what was typed, and whether the person leaves."""
        kept = bytearray()
        for key in data:
            if key == self._leave:
                return bytes(kept), True
            self._held += bytes([key])
            while not self._sequence.startswith(self._held):
                kept.append(self._held[0])
                self._held = self._held[1:]
            if self._held == self._sequence:
                return bytes(kept), True
        return bytes(kept), False


def window_size(descriptor: int) -> WindowSize | None:
    """The size of the terminal at `descriptor`; None if it is no terminal or does not know."""
    try:
        columns, rows = os.get_terminal_size(descriptor)
    except OSError:
        return None
    return WindowSize(columns, rows) if columns > 0 and rows > 0 else None


class RawMode:
    """A terminal without line editing, echo and signals while entered; as it was before, afterwards."""

    def __init__(self, descriptor: int) -> None:
        if sys.platform == "win32":
            raise UnsupportedError("terminal", "this build drives terminals through termios, which Windows lacks", "run without -t")
        if not os.isatty(descriptor):
            raise UsageError("option -t", "standard input is no terminal", "leave -t out, or run it from a terminal")
        self._descriptor = descriptor
        self._before: list[Any] | None = None

    def __enter__(self) -> RawMode:
        import termios
        import tty

        self._before = termios.tcgetattr(self._descriptor)
        atexit.register(self.restore)
        tty.setraw(self._descriptor, termios.TCSADRAIN)
        return self

    def restore(self) -> None:
        """Undo raw mode; nothing happens the second time, nor on a terminal that has gone."""
        import termios

        before, self._before = self._before, None
        if before is None:
            return
        atexit.unregister(self.restore)
        try:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)
        except termios.error:
            return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.restore()
