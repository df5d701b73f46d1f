"""Which users the user's own namespace has: the ranges that /etc/subuid and /etc/subgid give, by newuidmap(1), or the user alone as root.

newuidmap and newgidmap belong to root and may map what those files allow; nobody else may map more than himself.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gasang.core.errors import GasangError, PermissionDeniedError
from gasang.daemon.remap import SUBGID, SUBUID, listed
from gasang.kinds.container.config.linux import IdMapping
from gasang.kinds.container.idmap import mapping_lines

_PROGRAMS: Final = ("newuidmap", "newgidmap")
_USUAL: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_PATIENCE: Final = 10.0


def map_users(pid: int) -> None:
    """Map users into the namespace of a process: as many as this user has, himself as root.

    Raises UsageError for a file of ranges that is wrong, PermissionDeniedError where the host refuses.
    """
    programs = [shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_USUAL}") for name in _PROGRAMS]
    names = (*_own_names(), str(os.geteuid()))
    ranges = [listed(names, path) for path in (SUBUID, SUBGID)]
    if all(programs) and all(ranges):
        for program, own, found in zip(programs, (os.geteuid(), os.getegid()), ranges, strict=True):
            _map_with(str(program), pid, own, found)
    else:
        _map_self(pid)


def _own_names() -> tuple[str, ...]:
    try:
        return (pwd.getpwuid(os.geteuid()).pw_name,)
    except KeyError:  # who is not in the host's list of users
        return ()


def _map_with(program: str, pid: int, own: int, ranges: Sequence[IdMapping]) -> None:
    words = [program, str(pid), "0", str(own), "1"]
    for line in ranges:
        words += [str(line.inside + 1), str(line.outside), str(line.size)]
    hint = "see that it is installed as its package has it and that /etc/subuid and /etc/subgid are right, or remove your lines there"
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GasangError(program, f"it cannot be run ({error})", hint) from error
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"code {done.returncode}"]
        raise PermissionDeniedError(program, f"it does not map this user's ranges ({said[0][:200]})", hint)


def _map_self(pid: int) -> None:
    process = Path(f"/proc/{pid}")
    try:
        (process / "setgroups").write_text("deny")
        for name, own in (("uid", os.geteuid()), ("gid", os.getegid())):
            (process / f"{name}_map").write_bytes(mapping_lines([IdMapping(0, own, 1)]))
    except OSError as error:
        raise PermissionDeniedError("users of the daemon", f"the host does not map them ({error.strerror})", "run it as root") from error
