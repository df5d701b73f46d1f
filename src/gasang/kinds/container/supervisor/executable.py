"""The supervisor's program as something to execute.

It runs from a sealed file in memory: a container's first process, which begins as a copy of the supervisor, can show the container
where its program lies, and nobody may be able to write there.
"""

from __future__ import annotations

import fcntl
import os
from functools import cache
from pathlib import Path
from typing import Final

from gasang import host
from gasang.native import NativeFunction
from gasang.native.kept_program import kept_program

_HERE: Final = Path(__file__).parent
_SOURCES: Final = tuple(map(str, (_HERE, _HERE.parent, Path(host.__file__).parent)))
"""Folders of the files that decide the program."""
_EXECUTABLE_FILE: Final = 0x10  # MFD_EXEC
FREE: Final = 64
"""Descriptors are moved from here on before they get their numbers, so that none is overwritten."""


def _entry() -> NativeFunction:
    from gasang.kinds.container.supervisor.main import supervise

    return supervise


@cache
def program_descriptor() -> int:
    """The supervisor's program as a sealed file in memory."""
    return sealed_program("gasang-supervisor", kept_program("supervisor", _SOURCES, _entry))


def sealed_program(name: str, image: bytes) -> int:
    """A program as a file in memory that nobody can change; its descriptor is FREE or above."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        made = os.memfd_create(name, flags | _EXECUTABLE_FILE)
    except OSError:  # before Linux 6.3 there is no such flag, and every such file can be executed
        made = os.memfd_create(name, flags)
    write_whole(made, image)
    os.fchmod(made, 0o500)
    fcntl.fcntl(made, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    moved = fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, FREE)
    os.close(made)
    return moved


def write_whole(descriptor: int, data: bytes) -> None:
    """Write everything."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
