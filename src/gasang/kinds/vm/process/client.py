"""Asking a machine's process: over the control socket in its folder. Blocking calls; each is a connection of its own."""

from __future__ import annotations

import array
import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import BadInputError, StateError, TimedOutError
from gasang.kinds.vm.process import packets

PATIENCE: Final = 30.0
"""Seconds for an answer; what takes long says so itself."""
_PEER: Final = 12


def ask(folder: Path, verb: str, words: dict[str, Any] | None = None, *, files: Sequence[int] = (), patience: float = PATIENCE) -> Any:
    """What the machine in `folder` answers; `files`, descriptors, go along.

    Raises StateError where no machine runs there, TimedOutError after `patience` seconds, BadInputError for an odd answer, what it refuses.
    """
    subject = f"machine in {folder}"
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with connection:
        connection.settimeout(patience)
        _connect(connection, folder, subject)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        try:
            connection.sendmsg([packets.request(verb, words or {})], rights)
            packet = connection.recv(packets.MOST)
        except TimeoutError:
            raise TimedOutError(subject, f"no answer to {verb!r} within {patience:g} s", "look whether the host is overloaded") from None
        except OSError as error:
            raise StateError(subject, f"it ended before it answered ({error.strerror})", "look at its log") from error
    if not packet:
        raise StateError(subject, "it ended before it answered", "look at its log")
    return packets.read_answer(packet, subject)


def ask_fork(folder: Path, twin: Path, streams: int, link: socket.socket, hostname: str = "", patience: float = PATIENCE) -> dict[str, Any]:
    """Have the machine in `folder` fork a twin whose folder is `twin`, with the streams of the stand-in that is the process `streams`.

    `link` is the twin's end of the link to it. Raises as `ask` does, and StateError where that process has ended.
    """
    with ExitStack() as opened:
        files = [link.fileno()]
        try:
            for number, way in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
                path = f"/proc/{streams}/fd/{number}"
                way = os.O_RDWR if stat.S_ISCHR(os.stat(path).st_mode) else way  # a terminal
                files.append(os.open(path, way | os.O_NOCTTY | os.O_CLOEXEC))
                opened.callback(os.close, files[-1])
        except OSError as error:
            cause = f"the streams of process {streams} cannot be opened ({error.strerror})"
            raise StateError("fork of a machine", cause, "try again") from error
        answer = ask(folder, "fork", {"folder": str(twin), "hostname": hostname}, files=files, patience=patience)
        return dict(answer)


def _connect(connection: socket.socket, folder: Path, subject: str) -> None:
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{place}/{packets.NAME}")
        finally:
            os.close(place)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ECONNREFUSED):
            raise StateError(subject, f"it cannot be asked ({error.strerror})", "look at its log") from error
        raise StateError(subject, "it does not run, or is not ready yet", "start it, or ask again in a moment") from error
    owner = int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER)[4:8], "little")
    if owner not in (0, os.geteuid()):
        raise BadInputError(subject, f"the socket there belongs to user {owner}", "remove the machine")
