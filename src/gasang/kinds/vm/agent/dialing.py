"""Reaching a guest's agent through the machine's socket (kinds/vm/sockets.py)."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gasang.core.errors import GasangError, NotFoundError
from gasang.host.short_paths import short_path
from gasang.kinds.vm.agent import errors
from gasang.kinds.vm.agent.protocol import PORT

_CONNECT: Final = b"CONNECT %d\n" % PORT
_LONGEST_LINE: Final = 32
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25
_MOMENT: Final = 5.0
"""Seconds that a guest whose driver is there may take for its answer to one attempt, however little patience is left."""

Dial = Callable[[bytes, float], socket.socket]
"""Gives a connection to an agent that was sent the bytes already; within so many seconds."""


def dial(path: Path, subject: str, first: bytes, patience: float) -> socket.socket:
    """A connection to the agent of the machine that listens at `path`, which was sent `first` already.

    A guest that boots says nothing and refuses: it is asked again until `patience` (seconds) is over. Raises NotFoundError where no machine
    listens, NoAgentError where no agent does.
    """
    end = time.monotonic() + patience
    pause = _FIRST_PAUSE
    while True:
        made = _try(path, subject, first, max(_MOMENT, end - time.monotonic()))
        if made is not None:
            return made
        left = end - time.monotonic()
        if left <= 0:
            raise errors.no_agent(subject, "nothing in the guest answers")
        time.sleep(min(pause, left))  # nothing tells when a guest's driver or agent has come
        pause = min(pause * 2, _LONGEST_PAUSE)


def _try(path: Path, subject: str, first: bytes, patience: float) -> socket.socket | None:
    """A connection; None where the guest refuses."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(made.close)
        _reach(made, path, subject)
        made.settimeout(patience)
        try:
            made.sendall(_CONNECT + first)
            if not _agreed(made, subject):
                return None
        except TimeoutError as error:
            raise errors.no_agent(subject, f"the guest has not answered for {patience:g} s") from error
        except OSError:
            return None
        cleanup.pop_all()
    return made


def _reach(made: socket.socket, path: Path, subject: str) -> None:
    try:
        with short_path(path.parent) as folder:
            made.connect(f"{folder}/{path.name}")
    except OSError as error:
        hint = "see whether it runs (gasang ps); a machine that was started without sockets has none"
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)):
            raise NotFoundError(subject, f"no machine listens at {path}", hint) from error
        raise GasangError(subject, f"its socket {path} cannot be used ({error.strerror or error})", hint) from error


def _agreed(made: socket.socket, subject: str) -> bool:
    """Whether the machine says `OK PORT`; what is behind that line is the guest's. False where it hangs up."""
    line = b""
    while not line.endswith(b"\n"):
        byte = made.recv(1)
        if not byte:
            return False
        line += byte
        if len(line) > _LONGEST_LINE:
            break
    if not line.startswith(b"OK "):
        raise errors.odd(subject, "no machine's socket answers like this")
    return True
