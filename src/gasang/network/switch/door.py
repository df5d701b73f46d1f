"""A switch behind a unix socket: who connects is plugged into a port of its own, and the connection is the cable.

Messages are frames as on `network.user.service.cable`. Who may open the socket decides the file's mode: its owner alone.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gasang.core.errors import GasangError, NotFoundError, OutOfSpaceError, PermissionDeniedError, StateError
from gasang.network.switch import vxlan
from gasang.network.switch.ports import Allowed
from gasang.network.switch.switch import Switch

_BUFFER: Final = 4 << 20
_MODE: Final = 0o600


class Door:
    """The socket at `path`, and the switch behind it, whose ports may all do the same. `told` hears who came and went, in words."""

    def __init__(
        self, path: str, allowed: Allowed, told: Callable[[str], None] = lambda _words: None, tunnel: vxlan.Vxlan | None = None
    ) -> None:
        """`tunnel` leads to switches of other hosts. Raises StateError where somebody listens there, UnsupportedError, GasangError."""
        self._path = path
        self._allowed = allowed
        self._told = told
        self._socket = _listening(path)
        try:
            self._switch = Switch(gone=lambda number: told(f"port {number}: gone"))
            if tunnel is not None:
                outward = Allowed(vlan=allowed.vlan, isolated=allowed.isolated, outward=True)
                self._switch.add(vxlan.listening(tunnel), outward, tunnel)
        except GasangError:
            self.close()
            raise

    def serve(self) -> None:
        """Take in whoever comes, until `close` is called by another thread or an exception comes."""
        while True:
            try:
                arrived, _ = self._socket.accept()
            except OSError:
                return
            arrived.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            descriptor = arrived.detach()
            try:
                self._switch.add(descriptor, self._allowed, added=lambda number: self._told(f"port {number}: connected"))
            except OutOfSpaceError as error:
                os.close(descriptor)
                self._told(str(error))
            except StateError:  # it was closed meanwhile
                os.close(descriptor)
                return

    def close(self) -> None:
        """Nobody is taken in any more, and all are unplugged. Twice is once."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        if hasattr(self, "_switch"):
            self._switch.close()


def connect(path: str) -> int:
    """The descriptor of a new cable to the switch at `path`; the caller's to close.

    Raises NotFoundError, PermissionDeniedError, GasangError.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        made.connect(path)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        made.close()
        raise NotFoundError(f"switch {path}", "nobody listens there", f"start it with gasang network switch {path}") from error
    except PermissionError as error:
        made.close()
        raise PermissionDeniedError(f"switch {path}", "it is another user's", "ask them, or start your own") from error
    except OSError as error:
        made.close()
        raise GasangError(f"switch {path}", f"it cannot be reached ({error.strerror})", "name the socket of a switch") from error
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return made.detach()


def _listening(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    before = os.umask(0o777 & ~_MODE)
    try:
        try:
            made.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or _is_alive(path):
                raise
            os.unlink(path)
            made.bind(path)
        made.listen()
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise StateError(f"socket {path}", "something is there already", "choose another path") from error
        raise GasangError(f"socket {path}", f"it cannot be made ({error.strerror})", "choose another path") from error
    finally:
        os.umask(before)
    return made


def _is_alive(path: str) -> bool:
    """Whether there is anything but a socket that nobody listens at."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        try:
            asking.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True
