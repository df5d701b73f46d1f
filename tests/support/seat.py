"""Somebody at the console of a machine behind the daemon, without a terminal in between."""

from __future__ import annotations

import os
from pathlib import Path

from gasang.api.client import Client, path_of

SECONDS = 240.0


class Seat:
    """Attached to the machine `name` of the daemon whose GASANG_HOME is `home`."""

    def __init__(self, home: Path, name: str) -> None:
        words = {"stream": 1, "stdin": 1, "stdout": 1}
        self._answer = Client(os.fspath(home / "run" / "docker.sock")).upgrade(path_of("containers", name, "attach"), words)
        self.socket, self._held = self._answer.take_over()
        self.socket.settimeout(SECONDS)

    def until(self, words: bytes) -> bytes:
        """What the guest says, up to and with the words."""
        while words not in self._held:
            part = self.socket.recv(65536)
            assert part, self._held
            self._held += part
        before, _, self._held = self._held.partition(words)
        return before + words

    def line(self) -> bytes:
        """What it says next."""
        return self.until(b"\n").strip(b"\r\n")

    def type(self, key: bytes) -> bytes:
        """The line that it says to a key."""
        self.socket.sendall(key)
        return self.line()

    def ask(self, command: str) -> str:
        """What a command of the guest's shell writes to its terminal."""
        self.socket.sendall(f"echo $((7*382))begin; {command}; echo $((7*191))end\n".encode())
        self.until(b"2674begin\r\n")
        return self.until(b"1337end").decode().replace("\r", "").removesuffix("1337end").strip()

    def close(self) -> None:
        """Leave."""
        self.socket.close()
