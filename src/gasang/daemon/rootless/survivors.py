"""Who else is in a user's namespaces, where the keeper was killed: the supervisors of containers that run."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from gasang.core.errors import GasangError
from gasang.daemon.folders import Folders
from gasang.host.processes import parent_of
from gasang.kinds.container.supervisor.launch import Supervisor


def survivor(folders: Folders) -> int | None:
    """A pidfd of a supervisor of this daemon that runs, None where there is none. The caller closes it."""
    for folder in folders.every():
        pid = _supervisor(folder)
        if pid:
            with contextlib.suppress(OSError):
                return os.pidfd_open(pid)
    return None


def _supervisor(folder: Path) -> int:
    """The supervisor is the parent of the process that it tells of; 0 where none answers."""
    try:
        with Supervisor.connect(folder) as supervisor:
            pid = supervisor.status().pid
    except GasangError:
        return 0
    return parent_of(pid) if pid else 0
