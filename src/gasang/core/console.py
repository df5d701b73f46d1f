"""The console of a machine: the seam between what runs a guest and whoever sits in front of it.

The machine writes what the guest says; the console calls back with what the person types, the size of the window, the end of
the input and the wish to leave. Callbacks come from the console's own thread, or from the main thread in a signal handler;
they must return at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol


class WindowSize(NamedTuple):
    """The size of a terminal's window, in characters."""

    columns: int
    rows: int


class Console(Protocol):
    """Where a machine's input comes from and its output goes."""

    def write(self, data: bytes) -> None:
        """Show what the guest wrote to its console or standard output. Safe from any thread; never raises."""
        ...

    def write_error(self, data: bytes) -> None:
        """Show what the guest wrote to its standard error. Safe from any thread; never raises."""
        ...

    def on_input(self, callback: Callable[[bytes], None]) -> None:
        """Call `callback` with bytes as they are typed; b"" once when the input has ended. Starts reading."""
        ...

    def on_resize(self, callback: Callable[[WindowSize], None]) -> None:
        """Call `callback` now and at each change with the window's size; never where the output is no terminal."""
        ...

    def on_quit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when the person leaves (Ctrl-], a second Ctrl-C, SIGTERM, a closed output): end the machine."""
        ...
