"""A switch in a process of its own, which outlives who started it: `python -m gasang.network.switch.served LISTENING NAMESPACE`.

Both are descriptors: of the socket where it is told what to do (control.py), and of the network namespace in which the cables of its
ports are; that one is only kept, so that the cables stay. Frames are hostile, so the process has given up all that it does not need before
it reads one: it sees no file of the host and no interface, has no capability, and is nobody.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from gasang.core.errors import BadInputError, GasangError, NotFoundError, UsageError
from gasang.host import confining
from gasang.host.namespaces import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS
from gasang.host.processes import CAPABILITIES
from gasang.network.switch import control
from gasang.network.switch.library import load
from gasang.network.switch.switch import Switch

_NOBODY: Final = 65534
_SYS_ADMIN: Final = CAPABILITIES.index("SYS_ADMIN")
_LAST_CAPABILITY: Final = "/proc/sys/kernel/cap_last_cap"


class Server:
    """The switch and those who tell it what to do."""

    def __init__(self, listening: socket.socket, namespace: int) -> None:
        self._listening = listening
        self._namespace = namespace
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        self._switch = Switch(gone=self._gone)
        self._selector = selectors.DefaultSelector()
        self._selector.register(listening, selectors.EVENT_READ)
        self._open = True

    def serve(self) -> None:
        """Until it is told to end."""
        while self._open:
            for key, _events in self._selector.select():
                if key.fileobj is self._listening:
                    self._selector.register(self._listening.accept()[0], selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    self._hear(key.fileobj)
        self._switch.close()

    def _hear(self, connection: socket.socket) -> None:
        descriptor = -1
        try:
            request, descriptor = control.receive(connection)
            if not request:
                raise ConnectionResetError
            verb = str(request.pop("do", ""))
            if verb not in _VERBS:
                raise UsageError("switch", f"it cannot {verb[:20]!r}", "restart the daemon")
            value, given = _VERBS[verb](self, request, descriptor)
            descriptor = -1
            try:
                control.send(connection, {"done": value}, given)
            finally:
                if given >= 0 and given != self._namespace:
                    os.close(given)
        except (GasangError, OSError) as error:
            if descriptor >= 0:
                os.close(descriptor)
            if isinstance(error, BadInputError | OSError):
                self._selector.unregister(connection)
                connection.close()
                return
            with suppress(OSError):
                control.send(connection, control.failure(error))

    def _named(self, name: str, number: int) -> None:
        """In the thread of the switch."""
        with self._lock:
            self._numbers[name] = number

    def _gone(self, number: int) -> None:
        """In the thread of the switch."""
        with self._lock:
            self._numbers = {name: other for name, other in self._numbers.items() if other != number}

    def _take_out(self, name: str) -> bool:
        with self._lock:
            number = self._numbers.pop(name, None)
        if number is not None:
            self._switch.remove(number)
        return number is not None

    # verbs

    def hello(self, words: Mapping[str, Any], _descriptor: int) -> tuple[Any, int]:
        """Which ports there are; the namespace of their cables, where that is wanted."""
        return list(self._numbers), self._namespace if words.get("namespace") else -1

    def add(self, words: Mapping[str, Any], descriptor: int) -> tuple[Any, int]:
        """A port of that name, instead of one that there was. Raises GasangError; then the descriptor is the caller's."""
        if descriptor < 0:
            raise UsageError("port of a switch", "no descriptor came with it", "restart the daemon")
        allowed, vxlan, name = control.allowed_of(words.get("allowed")), control.vxlan_of(words.get("vxlan")), str(words.get("name"))
        self._take_out(name)
        return self._switch.add(descriptor, allowed, vxlan, added=lambda number: self._named(name, number)), -1

    def remove(self, words: Mapping[str, Any], _descriptor: int) -> tuple[Any, int]:
        """Take a port out; none of that name is no failure."""
        return self._take_out(str(words.get("name"))), -1

    def counts(self, _words: Mapping[str, Any], _descriptor: int) -> tuple[Any, int]:
        """What has passed each port."""
        return {name: asdict(self._switch.counts(number)) for name, number in dict(self._numbers).items()}, -1

    def mirror(self, _words: Mapping[str, Any], _descriptor: int) -> tuple[Any, int]:
        """A mirror's number and socket. Raises OutOfSpaceError."""
        made, number = self._switch.mirror()
        return number, made.detach()

    def missed(self, words: Mapping[str, Any], _descriptor: int) -> tuple[Any, int]:
        """How many frames a mirror was too slow for."""
        try:
            return self._switch.missed(int(words["mirror"])), -1
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise NotFoundError("mirror of a switch", "there is none of that number", "begin the capture anew") from error

    def end(self, _words: Mapping[str, Any], _descriptor: int) -> tuple[Any, int]:
        """No more frames."""
        self._open = False
        return True, -1


_VERBS: Final[Mapping[str, Callable[[Server, Mapping[str, Any], int], tuple[Any, int]]]] = {
    "hello": Server.hello,
    "add": Server.add,
    "remove": Server.remove,
    "counts": Server.counts,
    "mirror": Server.mirror,
    "missed": Server.missed,
    "end": Server.end,
}


def confine() -> None:
    """Give up what the host lets us give up; before there is a second thread."""
    steps: list[Callable[[], None]] = [lambda: confining.be_opaque(opaque=True), confining.no_new_privileges]
    last = int(_read(_LAST_CAPABILITY))
    if confining.capabilities() >> _SYS_ADMIN & 1:
        from pathlib import Path

        steps.append(lambda: confining.new_namespaces(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS))
        steps.append(lambda: confining.own_root((), Path(__file__).parent))
    steps += [lambda: os.setgroups([]), lambda: os.setresgid(*[_NOBODY] * 3)]
    # Bounds first, while we may; who is nobody then has none of what there was.
    steps += [lambda: _drop_bounds(last), lambda: os.setresuid(*[_NOBODY] * 3), lambda: confining.keep_capabilities(0, last)]
    for step in steps:
        with suppress(OSError, GasangError):
            step()


def _drop_bounds(last: int) -> None:
    confining.keep_capabilities(1 << CAPABILITIES.index("SETUID") | 1 << CAPABILITIES.index("SETPCAP"), last)
    confining.drop_bounds(last)


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def main(arguments: list[str]) -> int:
    """Serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load()
    from gasang.native import ctype_of
    from gasang.network.switch import state

    for struct in (state.Switch, state.Tunnel):  # what is read later is not there any more
        ctype_of(struct)
    listening = socket.socket(fileno=int(arguments[0]))
    confine()
    Server(listening, int(arguments[1])).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
