"""The input and output of this process, joined to a container's or an exec's: keys, window, signals, and how a person leaves.

The main thread shows what the daemon sends; the console's thread sends what is typed. Leaving closes the connection, which wakes
the main thread; what then becomes of the machine is the verb's affair, by `Console.left`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from gasang.api.answer import Answer
from gasang.api.client import Client
from gasang.api.frames import MULTIPLEXED, STDERR, Demultiplexer
from gasang.cli.console import StreamConsole
from gasang.cli.terminal import DetachKeys
from gasang.core.console import WindowSize
from gasang.core.errors import GasangError

READ = 1 << 18


def console_for(*, interactive: bool, tty: bool, keys: str | None = None) -> StreamConsole:
    """A console as -i, -t and --detach-keys ask for it. Raises UsageError where -i and -t are given and standard input is no terminal."""
    detach = DetachKeys()
    if keys is not None:
        from gasang.daemon.containers.streams import detach_keys

        detach = DetachKeys(detach_keys(keys), leave_key=False)
    return StreamConsole(raw=interactive and tty, reads_input=interactive, split=detach.split)


def converse(stream: Answer, console: StreamConsole, resize: Callable[[WindowSize], None] | None = None) -> None:
    """Join the console to a connection that was upgraded, until the other side ends it or the person leaves."""
    multiplexed = stream.headers.get("content-type") == MULTIPLEXED
    connection, early = stream.take_over()
    console.on_quit(partial(_hang_up, connection))
    console.on_input(partial(_send, connection))
    if resize:
        console.on_resize(resize)
    show = _shower(console, multiplexed)
    data = early
    while console.left is None:
        if data:
            show(data)
        try:
            data = connection.recv(READ)
        except ConnectionError:
            data = b""
        if not data:
            return


def _shower(console: StreamConsole, multiplexed: bool) -> Callable[[bytes], None]:
    """What shows bytes of the connection."""
    if not multiplexed:
        return console.write
    frames = Demultiplexer()

    def show(data: bytes) -> None:
        for number, piece in frames.feed(data):
            (console.write_error if number == STDERR else console.write)(piece)

    return show


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):  # the other side may have ended it
        connection.shutdown(socket.SHUT_RDWR)


def _send(connection: socket.socket, data: bytes) -> None:
    """What was typed; b"" ends the command's input and leaves its output open."""
    with suppress(OSError):  # a command that has ended hears nothing
        if data:
            connection.sendall(data)
        else:
            connection.shutdown(socket.SHUT_WR)


def resizer(client: Client, path: str) -> Callable[[WindowSize], None]:
    """Tells the daemon of the window's size; a command that is not there any more does not mind."""

    def resize(size: WindowSize) -> None:
        with suppress(GasangError):
            client.call("POST", f"{path}/resize", {"h": size.rows, "w": size.columns})

    return resize
