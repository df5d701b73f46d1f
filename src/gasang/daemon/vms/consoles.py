"""The serial consoles of machines whose guests have no agent: commands are typed there, one at a time, beside who is attached."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from gasang.core.errors import StateError
from gasang.daemon.containers.process import Process
from gasang.daemon.containers.record import Container
from gasang.daemon.containers.streams import Ends
from gasang.daemon.vms.exec import Console
from gasang.kinds.vm.serial_shell.shell import SerialShell

_ENDS: Final = Ends(stdin=True, stdout=True, stderr=True, live=True, replay=False, multiplexed=False)
"""Those of an attached client whose end ends nothing."""


class Consoles:
    """Those of a daemon's machines; `process_of` gives who owns a machine's streams."""

    def __init__(self, process_of: Callable[[Container], Process | None]) -> None:
        self._process_of = process_of
        self._turns: dict[str, threading.Lock] = {}

    def of(self, container: Container) -> Console | None:
        """A machine's, if what is typed at it reaches its console, and not the input of its command."""
        settings, own = container.machine, bool(container.config["Entrypoint"] or container.config["Cmd"])
        if not container.config["OpenStdin"] or not (settings.get("kernel") or settings.get("tty") or not own):
            return None
        connect = partial(self._connect, container, asyncio.get_running_loop())
        return Console(SerialShell(connect, container.subject, self._turns.setdefault(container.id, threading.Lock())))

    def forget(self, container: Container) -> None:
        """It has ended."""
        self._turns.pop(container.id, None)

    def _connect(self, container: Container, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """Somebody who is attached; not to be asked for on the event loop. Raises StateError for a machine that has ended."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                asyncio.run_coroutine_threadsafe(self._attach(container, theirs), loop).result()
        except BaseException:
            ours.close()
            raise
        return ours

    async def _attach(self, container: Container, stream: socket.socket) -> None:
        process = self._process_of(container)
        if process is None:
            raise StateError(container.subject, "it has ended", "gasang start starts it")
        await process.attach(stream, b"", _ENDS)
