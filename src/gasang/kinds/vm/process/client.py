"""Asking a machine's process: over the control socket in its folder. Blocking calls; each is a connection of its own."""

from __future__ import annotations

import array
import errno
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import BadInputError, StateError, TimedOutError
from gasang.kinds.vm.process import packets
from gasang.kinds.vm.process.streams import opened_streams

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
            packet = _exchanged(connection, packets.request(verb, words or {}), rights)
        except TimeoutError:
            raise TimedOutError(subject, f"no answer to {verb!r} within {patience:g} s", "look whether the host is overloaded") from None
        except OSError as error:
            raise StateError(subject, f"it ended before it answered ({error.strerror})", "look at its log") from error
    if not packet:
        raise StateError(subject, "it ended before it answered", "look at its log")
    return packets.read_answer(packet, subject)


def _exchanged(connection: socket.socket, request: bytes, rights: list[Any]) -> bytes:
    """What is answered; one that is short of memory refuses who comes before it has heard a word, and hangs up. Raises OSError."""
    try:
        connection.sendmsg([request], rights)
        return connection.recv(packets.MOST)
    except (BrokenPipeError, ConnectionResetError):
        return connection.recv(packets.MOST)


def ask_fork(
    folder: Path,
    twin: Path,
    streams: int,
    link: socket.socket,
    hostname: str = "",
    patience: float = PATIENCE,
    *,
    network: dict[str, Any] | None = None,
    tap: int = -1,
    replaces: bool = False,
    volumes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Have the machine in `folder` fork a twin whose folder is `twin`, with the streams of the stand-in that is the process `streams`.

    `link` is the twin's end of the link to it; `tap` the descriptor of what its card is plugged into, where it is what `network` says
    (kinds.vm.network.Card). One that `replaces` has its disk instead of the layers that are in its folder; `volumes` are the
    folders of its volumes, by those of the machine's. Raises as `ask` does, and StateError where that process has ended.
    """
    try:
        with opened_streams(streams) as files:
            words = {"folder": str(twin), "hostname": hostname, "network": network, "replaces": replaces, "volumes": dict(volumes or {})}
            taps = [tap] if tap >= 0 else []
            return dict(ask(folder, "fork", words, files=[link.fileno(), *files, *taps], patience=patience))
    except OSError as error:
        raise StateError(
            "fork of a machine", f"the streams of process {streams} cannot be opened ({error.strerror})", "try again"
        ) from error


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
