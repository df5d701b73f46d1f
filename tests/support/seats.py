"""A program at a terminal of this host, as the one at a guest's serial console: what is typed and shown goes over a socket."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress


class Console:
    """Give `connect` to who wants to sit down there; `shown` is all that was shown."""

    def __init__(self, program: Sequence[str], environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        self.shown = b""
        self._seat: socket.socket | None = None
        self.process = subprocess.Popen(
            program, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=dict(environment),
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
        )  # fmt: skip
        os.close(slave)
        self._showing = threading.Thread(target=self._show)
        self._showing.start()

    def connect(self) -> socket.socket:
        """A connection to it."""
        ours, theirs = socket.socketpair()
        self._seat = theirs
        threading.Thread(target=self._type, args=(theirs,)).start()
        return ours

    def _type(self, seat: socket.socket) -> None:
        with seat, suppress(OSError):
            while data := seat.recv(4096):
                os.write(self._master, data)

    def _show(self) -> None:
        with suppress(OSError):  # nobody has the terminal open any more
            while data := os.read(self._master, 4096):
                self.shown += data
                if self._seat is not None:
                    with suppress(OSError):
                        self._seat.sendall(data)
        if self._seat is not None:
            with suppress(OSError):
                self._seat.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.wait()
        self._showing.join()
        os.close(self._master)


@contextmanager
def console(*program: str, **environment: str) -> Iterator[Console]:
    """One with that program, ended with the block."""
    made = Console(program, {"PATH": os.environ["PATH"], "PS1": "guest# ", "TERM": "vt102", "HOME": "/", "PWD": "/", **environment})
    try:
        yield made
    finally:
        made.close()
