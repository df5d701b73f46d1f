"""A process that has loaded what machines need: they are born as its forks, begin at once, and share with it what was loaded.

``python -m gasang.kinds.vm.process.nursery DESCRIPTOR``: over that socket come requests (packets.py) with two sockets each, the link to the
machine's stand-in and where it tells that it is ready, and with the tap of its network card, if it has one. It ends with the socket; the
machines stay. It has one thread, so that what it forks is whole.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Final

from gasang.core.errors import GasangError, UsageError
from gasang.core.progress import Silent
from gasang.host.syscalls import machine_name
from gasang.kinds.vm.platforms import default_architecture, platform_of
from gasang.kinds.vm.process import packets
from gasang.kinds.vm.process.apart import can_be_apart, fork_apart
from gasang.kinds.vm.process.calls import program
from gasang.kinds.vm.process.control import Handed, receive
from gasang.kinds.vm.process.entries import born, stood
from gasang.kinds.vm.process.first import first_program
from gasang.kinds.vm.snapshot.fork import BROKEN

STAND: Final = "stand"
"""Asks for a machine that is restored and waits for being forked; it has no streams. "heir" is the folder of the one that forks replace."""
READY: Final = packets.answer("ready")
_LATER: Final = (
    "gasang.images.initrd", "gasang.images.initramfs", "gasang.kinds.vm.pull", "gasang.kinds.vm.machine", "gasang.kinds.vm.disks",
    "gasang.kinds.vm.guest_ports", "gasang.kinds.vm.folders", "gasang.kinds.vm.ballooning", "gasang.kinds.vm.agent.executable",
    "gasang.kinds.vm.snapshot.take", "gasang.kinds.vm.snapshot.fork", "gasang.accel.soft.state", "termios", "tty",
)  # fmt: skip
"""What a machine loads when it first needs it; here that is now."""


def _load() -> None:
    for name in _LATER:
        import_module(name)
    program(machine_name())
    if can_be_apart():
        first_program()
    with suppress(GasangError):  # a machine that needs it says so itself
        platform_of(default_architecture()).prepare(Silent())
    gc.collect()
    gc.freeze()  # the collector would write to what all of them share


def serve(connection: socket.socket) -> None:
    """Until the other end goes."""
    connection.set_inheritable(False)  # families' first processes go on where this one was killed, and the other end is to hear of that
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended but their stand-ins
    _load()
    connection.sendall(READY)
    while (received := receive(connection)) is not None:
        packet, _, handed = received
        try:
            with suppress(UsageError):  # who asked sees its sockets end
                _bear(connection, packet, handed)
        finally:
            for each in handed:
                each.close()


def _bear(connection: socket.socket, packet: bytes, handed: list[Handed]) -> None:
    verb, words = packets.read_request(packet)
    folder, streams, heir = words.get("folder"), words.get("streams", -1), words.get("heir", "")
    sockets = [each for each in handed[:2] if isinstance(each, socket.socket)]
    taps = handed[2:]  # a device's descriptor, or a socket: what carries frames
    wrong = type(streams) is not int or (streams < 0) != (verb == STAND)
    if not isinstance(folder, str) or not isinstance(heir, str) or wrong or len(sockets) != 2 or len(taps) > (verb != STAND):
        raise UsageError("birth", "it needs a folder, a process whose streams it takes, and two sockets", "send all of them")
    if fork_apart():
        return
    code = BROKEN
    try:
        connection.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        link, told = sockets
        tap = os.dup(taps[0].fileno()) if taps else -1
        if verb == STAND:
            code = stood(Path(folder), link, told.detach(), Path(heir) if heir else None)
        else:
            code = born(Path(folder), streams, link, told.detach(), tap)
    except BaseException:
        traceback.print_exc()  # nobody above could tell of it: this process has no caller
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
