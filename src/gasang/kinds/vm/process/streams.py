"""The streams of a stand-in: opened by who may look at it, taken over by the machine whose place it holds."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from gasang.host.processes import TIOCSCTTY

_WAYS: Final = ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY))


@contextmanager
def opened_streams(process: int) -> Iterator[list[int]]:
    """Descriptors of a process's standard streams, until the end of the block. Raises OSError where it has ended."""
    with ExitStack() as opened:
        streams = []
        for number, way in _WAYS:
            path = f"/proc/{process}/fd/{number}"
            both = stat.S_ISCHR(os.stat(path).st_mode)  # a terminal
            streams.append(os.open(path, (os.O_RDWR if both else way) | os.O_NOCTTY | os.O_CLOEXEC))
            opened.callback(os.close, streams[-1])
        yield streams


def take_streams(streams: Sequence[int], *, tty: bool) -> None:
    """Have these as our own, in a session of our own, whose terminal theirs is. Raises OSError."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    if tty:
        fcntl.ioctl(0, TIOCSCTTY, 0)
