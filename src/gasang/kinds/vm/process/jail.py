"""The jail of a machine's process: what a guest that breaks out of a device finds there (docs/reference/machines.md).

Entered once, before there is a second thread and before the guest executes; twins, which are forks, are born in it. What the host does not
let us do is told, and the rest is done all the same. The process namespace is there already (apart.py): a machine's twins share it, so no
system call that names a process is allowed (calls.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from gasang.core.errors import GasangError, UnsupportedError
from gasang.host import confining
from gasang.host.confining import Place
from gasang.host.namespaces import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWUTS
from gasang.host.processes import CAPABILITIES
from gasang.host.syscalls import machine_name
from gasang.kinds.container.privileges import has_capability, last_capability
from gasang.kinds.vm.process.calls import program

NAME: Final = "jail.json"
"""What holds, in the machine's folder."""
NAMESPACES, FILES, RIGHTS, CALLS = "namespaces", "files", "capabilities", "calls"
PARTS: Final = (NAMESPACES, FILES, RIGHTS, CALLS)
_KEPT_FOR_FOLDERS: Final = sum(1 << CAPABILITIES.index(name) for name in ("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID"))
"""What a guest that works in folders of several users needs of the host's root."""
_MOST_WORDS: Final = 500


def enter(places: Sequence[Place], staging: Path, *, serves_folders: bool, network: int = -1) -> dict[str, str]:
    """Be in the jail. What does not hold → why; nothing where all of it holds.

    `staging` is any folder. `network` is the descriptor of a network namespace to be in, instead of an empty one. With `serves_folders` the
    host's root keeps what it needs for files of several owners.
    """
    lacking: dict[str, str] = {}

    def attempt(part: str, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, GasangError) as error:
            lacking[part] = str(getattr(error, "strerror", None) or error)

    if (count := confining.threads()) != 1:
        return dict.fromkeys(PARTS, f"the process has {count} threads already")
    flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (CLONE_NEWNET if network < 0 else 0)
    if not has_capability("SYS_ADMIN"):
        flags |= CLONE_NEWUSER
    why = _rehearsed(flags, places, staging) if flags & CLONE_NEWUSER else ""
    if why:
        lacking[NAMESPACES] = lacking[FILES] = why
    else:
        if network >= 0:
            attempt(NAMESPACES, lambda: confining.join_network(network))
        attempt(NAMESPACES, lambda: confining.new_namespaces(flags))
        attempt(FILES, lambda: confining.own_root(places, staging) if NAMESPACES not in lacking else _refuse(lacking[NAMESPACES]))
    is_root = os.geteuid() == 0
    attempt(RIGHTS, lambda: _give_up_rights(_KEPT_FOR_FOLDERS if is_root and serves_folders else 0, opaque=is_root))
    attempt(CALLS, lambda: confining.filter_calls(program(machine_name())))
    return lacking


def _refuse(why: str) -> None:
    raise OSError(0, why)


def _give_up_rights(kept: int, *, opaque: bool) -> None:
    confining.be_opaque(opaque=opaque)
    confining.no_new_privileges()
    confining.keep_capabilities(kept, last_capability())


def _rehearsed(flags: int, places: Sequence[Place], staging: Path) -> str:
    """Why a child process could not do it, "" if it could: there is no way back from a user namespace that has no rights."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            confining.new_namespaces(flags)
            confining.own_root(places, staging)
        except OSError as error:
            os.write(theirs, str(error.strerror or error).encode("utf-8", "replace")[:_MOST_WORDS])
        finally:
            os._exit(0)
    os.close(theirs)
    try:
        return os.read(ours, _MOST_WORDS).decode("utf-8", "replace")
    finally:
        os.close(ours)
        os.waitpid(pid, 0)


def demand(lacking: dict[str, str]) -> None:
    """Raises UnsupportedError where a part of the jail does not hold."""
    if lacking:
        hint = "start the daemon as root on a host that lets it make namespaces, or do not demand the jail"
        raise UnsupportedError("jail of the machine", sentence(lacking), hint)


def sentence(lacking: dict[str, str]) -> str:
    """What does not hold, and why."""
    return "the host does not permit " + ", ".join(f"{part} of its own ({why})" for part, why in lacking.items())


def note(folder: Path, lacking: dict[str, str]) -> None:
    """Keep in a machine's folder what holds: part → "" or why not. Raises OSError."""
    found = {part: lacking.get(part, "") for part in PARTS}
    if noted(folder) == found:
        return
    fresh = folder / f".{NAME}"
    fresh.write_text(json.dumps(found), "utf-8")
    fresh.replace(folder / NAME)


def noted(folder: Path) -> dict[str, str]:
    """What was kept there; nothing of a machine that has never started."""
    try:
        found = json.loads((folder / NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {part: str(found[part])[:_MOST_WORDS] for part in PARTS if isinstance(found, dict) and part in found}
