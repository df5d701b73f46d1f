"""How the daemon of a user who is not root becomes root in namespaces of the user's own, before it has any threads.

The namespaces of users and mounts are entered; that of the network stays the host's, so that images can be pulled, and the keeper's own
network is where bridges are (user_namespaces(7), setns(2)). Mounts that the host makes later come in, ours do not go out: the kernel has it
so where the users differ.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gasang.core.errors import GasangError, PermissionDeniedError, UnsupportedError
from gasang.daemon.folders import Folders
from gasang.daemon.rootless.keeper import Beginning, Keeper, find
from gasang.daemon.rootless.mapping import map_users
from gasang.daemon.rootless.survivors import survivor
from gasang.host import users
from gasang.host.namespaces import CLONE_NEWNS, CLONE_NEWUSER
from gasang.images.content.locks import locked

_SUBJECT: Final = "containers without root"
_MOST: Final = Path("/proc/sys/user/max_user_namespaces")
_SWITCHES: Final = {
    Path("/proc/sys/kernel/unprivileged_userns_clone"): ("0", "kernel.unprivileged_userns_clone=1"),
    Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"): ("1", "kernel.apparmor_restrict_unprivileged_userns=0"),
}
"""Settings by which distributions keep users from making user namespaces: the value that does, and what lets them."""


@dataclass
class Rootless:
    """The namespaces that this process is in now. `network` is a descriptor of the one for bridges."""

    keeper: Keeper
    network: int
    is_new: bool
    folders: Folders

    def leave(self, *, in_use: bool) -> None:
        """The daemon ends. Unless they are in use the namespaces go as well."""
        if not in_use:
            self.keeper.end(self.folders.run)

    def give_up(self) -> None:
        """The daemon did not start, and no other has: what was made for it goes."""
        if self.is_new:
            self.leave(in_use=False)


def enter(folders: Folders) -> Rootless:
    """Be root in the user's namespaces: those of a former daemon, or new ones.

    Raises PermissionDeniedError for a folder that is not this user's, UnsupportedError where the host gives no namespaces.
    """
    os.environ.setdefault("HOME", _home())
    _own(folders.run)
    with locked(folders.run / "keeper.lock"):
        found = find(folders.run)
        left = None if found else survivor(folders)
        if left is not None:
            keeper = _renewed(folders.run, left)
        else:
            keeper = found or _made(folders.run)
            _join(keeper.descriptor)
    users.forget()
    return Rootless(keeper, keeper.namespace("net"), found is None and left is None, folders)


def _home() -> str:
    """Of the user that this is outside: inside, the list of users would say root's."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"


def _own(folder: Path) -> None:
    """Have the run-time folder, where nobody else may put anything."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    for place in (*([Path(base)] if os.path.isabs(base) and folder.is_relative_to(base) else []), folder):
        try:
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = place.stat()
        except OSError as error:
            raise PermissionDeniedError(f"folder {place}", f"it cannot be used ({error.strerror})", _hint(place, base)) from error
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
            raise PermissionDeniedError(f"folder {place}", "it is not this user's alone", _hint(place, base))


def _hint(place: Path, base: str) -> str:
    if place == Path(base):
        return "XDG_RUNTIME_DIR names it: unset it, or log in as this user"
    return "make it your own with mode 700, or name another place in GASANG_HOME"


def _made(folder: Path) -> Keeper:
    try:
        beginning = Beginning()
    except OSError as error:
        raise _refused(error) from error
    try:
        map_users(beginning.pid)
    except GasangError:
        beginning.give_up()
        raise
    return beginning.confirm(folder)


def _renewed(folder: Path, left: int) -> Keeper:
    """Another keeper for the namespaces of a process that is left in them; their network has gone with the one that was killed."""
    try:
        _join(left)
        return Beginning(within=True).confirm(folder)
    except OSError as error:
        raise _refused(error) from error
    finally:
        os.close(left)


def _refused(error: OSError) -> UnsupportedError:
    """Why the kernel gives no namespaces, and who could change that."""
    for path, (value, change) in _SWITCHES.items():
        if _text(path) == value:
            return UnsupportedError(_SUBJECT, f"{path} says that only root makes user namespaces", f"have root do: sysctl -w {change}")
    if _text(_MOST) == "0":
        hint = "have root do: sysctl -w user.max_user_namespaces=10000"
        return UnsupportedError(_SUBJECT, f"{_MOST} says that there are no user namespaces", hint)
    if error.errno in (errno.ENOSPC, errno.EUSERS):
        return UnsupportedError(_SUBJECT, f"no more namespaces are to be had ({error.strerror})", f"have root raise {_MOST}")
    return UnsupportedError(_SUBJECT, f"the host gives this user no namespaces ({error.strerror})", "have root allow it, or run it as root")


def _join(process: int) -> None:
    """Enter the namespaces of the process of a pidfd."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(process, CLONE_NEWUSER | CLONE_NEWNS):
        cause = f"they cannot be entered ({os.strerror(ctypes.get_errno())})"
        raise PermissionDeniedError("namespaces of a former daemon", cause, "end what it has left, and start the daemon again")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
