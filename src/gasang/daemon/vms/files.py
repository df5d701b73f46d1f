"""Files of guests for ``cp``, by their agents: as daemon/containers/files.py has them of containers.

Whatever its root holds: what is at a path is asked of the agent's own `stat`, archives are packed and unpacked by its `tar`.
"""

from __future__ import annotations

import base64
import json
import posixpath
import stat
from functools import partial
from typing import BinaryIO, Final

from gasang.core.errors import BadInputError, NotFoundError, UsageError
from gasang.daemon.containers.files import go_mode
from gasang.daemon.containers.names import stamp
from gasang.daemon.containers.record import Container
from gasang.daemon.vms.ways import VmWays
from gasang.kinds.vm.agent.client import Agent
from gasang.kinds.vm.agent.errors import CommandNotFoundError

_FORM: Final = "%f %s %Y"
"""Of stat(1): the mode in hexadecimal, the size, the time of change in seconds."""
_COLUMNS: Final = {"user": "UID", "pid": "PID", "ppid": "PPID", "tty": "TTY", "stat": "STAT", "args": "CMD"}
"""What the agent's ps can show → what docker's clients call it."""
_LATEST: Final = 1 << 36
"""Seconds since 1970 beyond which a guest's time is made up: some 2000 years."""


class GuestFiles:
    """The files of virtual machines that run."""

    def __init__(self, ways: VmWays) -> None:
        self._ways = ways

    def facts(self, container: Container, path: str) -> str:
        """What is at a path, as the header X-Docker-Container-Path-Stat has it. Raises NotFoundError, UsageError, StateError."""
        agent, clean = self._ways.agent(container), _clean(path)
        mode, size, time = _stat(agent, container, f"{clean.rstrip('/')}/." if path.endswith("/.") else clean)
        if path.endswith("/") and not stat.S_ISDIR(mode) and not stat.S_ISLNK(mode):
            raise UsageError(f"path {path[:200]}", "not a directory", "leave the slash out")
        document = {
            "name": posixpath.basename(clean) or "/",
            "size": size,
            "mode": go_mode(mode),
            "mtime": stamp(time * 1_000_000_000),
            "linkTarget": _target(agent, clean) if stat.S_ISLNK(mode) else "",
        }
        return base64.b64encode(json.dumps(document).encode()).decode()

    def read(self, container: Container, path: str, target: BinaryIO) -> None:
        """Write a tar of what is at `path`, named by its last part; with "/." at its end of what is in that folder.

        Raises BadInputError where it cannot be packed, OSError.
        """
        clean = f"{_clean(path).rstrip('/')}/." if path.endswith("/.") else _clean(path)
        self._ways.agent(container).copy_out(clean, partial(_write, target))

    def export(self, container: Container, target: BinaryIO) -> None:
        """Write a tar of the machine's root disk, without what is mounted over it. Raises as `read`."""
        self._ways.agent(container).copy_root(partial(_write, target))

    def processes(self, container: Container, options: str) -> tuple[list[str], list[list[str]]]:
        """The guest's processes: by the agent's ps in the usual form, by the guest's own in others. Raises StateError, UsageError."""
        agent = self._ways.agent(container)
        if options.strip() in ("", "-ef"):
            lines = agent.run(["ps", "-o", ",".join(_COLUMNS)], tool=True).output.decode("utf-8", "replace").splitlines()[1:]
            return list(_COLUMNS.values()), [line.split(None, len(_COLUMNS) - 1) for line in lines]
        try:
            done = agent.run(["ps", *options.split()])
        except CommandNotFoundError as error:
            raise UsageError(f"ps {options[:60]}", "the guest has no ps of its own", "leave the options out") from error
        if done.outcome.code:
            cause = done.errors.decode("utf-8", "replace").strip()[:200]
            raise UsageError(f"ps {options[:60]}", cause or "it failed", "gasang exec ps --help tells what it takes")
        titles, *rows = done.output.decode("utf-8", "replace").splitlines() or [""]
        columns = titles.split()
        return columns, [line.split(None, max(0, len(columns) - 1)) for line in rows]

    def write(self, container: Container, path: str, source: BinaryIO) -> None:
        """Unpack a tar in the folder at `path`. Raises NotFoundError, UsageError, BadInputError where it cannot be unpacked."""
        agent, clean = self._ways.agent(container), _clean(path)
        mode, _, _ = _stat(agent, container, f"{clean.rstrip('/')}/.")
        if not stat.S_ISDIR(mode):
            raise UsageError("extraction point", "it is not a directory", "name a folder")
        agent.copy_in(clean, source.fileno())


def _write(target: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[target.write(rest) :]


def _clean(path: str) -> str:
    return posixpath.normpath(posixpath.join("/", path)).replace("//", "/")


def _stat(agent: Agent, container: Container, path: str) -> tuple[int, int, int]:
    """Mode, size and time of change. Raises NotFoundError for what is not there, BadInputError for an answer that is none."""
    done = agent.run(["stat", "-c", _FORM, "--", path], tool=True)
    if done.outcome.code:
        subject = f"Could not find the file {path[:200]} in {container.subject}"
        raise NotFoundError(subject, "it is not there", "gasang exec ls tells what is")
    try:
        mode, size, time = done.output.decode("ascii").split()
        found = int(mode, 16), int(size), int(time)
    except (ValueError, UnicodeDecodeError):
        found = (-1, 0, 0)
    if not (0 <= found[0] <= 0xFFFF and 0 <= found[1] < 1 << 63 and 0 <= found[2] < _LATEST):
        raise BadInputError(f"path {path[:200]} in {container.subject}", "its guest tells of no file", "look with gasang exec")
    return found


def _target(agent: Agent, path: str) -> str:
    """Where a link leads, from the guest's root."""
    text = agent.run(["readlink", "-n", "--", path], tool=True).output[:4096].decode("utf-8", "replace")
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), text))
