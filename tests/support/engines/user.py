"""Our daemon as a user who is not root: started by the tests' root in a mount namespace where that user can read what it takes.

The user is nobody's of the host: it is known by name, has a home, and, where wanted, ranges of users and groups, in that namespace alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from gasang.host.processes import start_of
from support.engines.engine import ROOT, Engine, dies_with_us

USER = 4242
NAME = "gasangtest"
BASE, SIZE = 300_000, 65_536
_CLONE_NEWNS = 0x20000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 1 << 18


@dataclass
class UsersEngine(Engine):
    """The daemon of the user, who has `ranges` of users, or is alone."""

    ranges: bool = False

    @property
    def runtime(self) -> Path:
        """XDG_RUNTIME_DIR."""
        return self.home / "run"

    @property
    def state(self) -> Path:
        """Where the daemon keeps things."""
        return self.home / "home" / ".local/share/gasang"

    def become(self) -> None:
        """What `start` does in the child."""
        dies_with_us()
        _hide_and_show(self)
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
        dies_with_us()


def users_gasang(home: Path, cache: Path, *, ranges: bool) -> UsersEngine:
    """Ours, from this tree; all of it under `home`. `cache` is the user's, for compiled code."""
    for name in ("home", "run", "etc"):
        (home / name).mkdir(mode=0o700)
    home.chmod(0o755)
    for folder in (home / "home", home / "run"):
        os.chown(folder, USER, USER)
    users = Path("/etc/passwd").read_text() + f"{NAME}:x:{USER}:{USER}::{home / 'home'}:/bin/sh\n"
    (home / "etc/passwd").write_text(users)
    for name in ("subuid", "subgid"):
        (home / "etc" / name).write_text(f"{NAME}:{BASE}:{SIZE}\n" if ranges else "")
    for file in (home / "etc").iterdir():
        file.chmod(0o644)
    command = (sys.executable, "-c", "import sys; from gasang.cli.main import main; sys.exit(main())", "daemon")
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(home / "home"),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "PYTHONPATH": str(ROOT / "src"),
        "GASANG_NATIVE_CACHE": str(cache),
        "TMPDIR": "/tmp",
    }
    return UsersEngine("gasang", home, home / "run/gasang/docker.sock", command, environment, ranges=ranges)


def _hide_and_show(engine: UsersEngine) -> None:
    """In a mount namespace of its own: nothing on the way to our files is closed to others, and /etc knows the user."""
    libc = ctypes.CDLL(None, use_errno=True)

    def done(result: int, what: str) -> None:
        if result:
            raise OSError(ctypes.get_errno(), what)

    def bind(source: str | Path, target: str | Path) -> None:
        done(libc.mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND | _MS_REC, None), f"bind {target}")

    done(libc.unshare(_CLONE_NEWNS), "a mount namespace")
    done(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "private mounts")
    needed = {path for path in (Path(sys.prefix), Path(sys.base_prefix), ROOT) if _closed(path)}
    held = {path: os.open(path, os.O_PATH | os.O_DIRECTORY) for path in needed}
    for top in {_closed(path) for path in needed}:
        done(libc.mount(b"tmpfs", os.fsencode(str(top)), b"tmpfs", 0, b"mode=755"), f"cover {top}")
    for path, descriptor in held.items():
        path.mkdir(parents=True, exist_ok=True)
        bind(f"/proc/self/fd/{descriptor}", path)
        os.close(descriptor)
    for file in (engine.home / "etc").iterdir():
        bind(file, Path("/etc") / file.name)


def _closed(path: Path) -> Path | None:
    """The first folder on the way to a path that others may not pass."""
    return next((folder for folder in [*reversed(path.parents), path] if not folder.stat().st_mode & 0o001), None)


def processes_of(user: int) -> list[int]:
    """Those of a user that have not ended (who has may wait to be buried)."""
    found = []
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{entry}").st_uid == user and start_of(int(entry)) is not None:
                found.append(int(entry))
        except FileNotFoundError:
            continue
    return found
