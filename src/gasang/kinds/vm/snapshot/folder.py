"""The folder of snapshots: each is a folder in it, there whole or not at all.

A snapshot is made under another name, beside, with all its files on stable storage before the folder gets its own name. What a killed
process left is removed when the next is made. Files of a parent are shared with it as hard links, so any snapshot can be removed.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gasang.core.errors import GasangError, NotFoundError, OutOfSpaceError, StateError, UsageError
from gasang.host.files import lock_file, sync
from gasang.images.spool import out_of_space

DOCUMENT: Final = "snapshot.json"
INDEX: Final = "index"
MEMORY: Final = "memory-"
DISK: Final = "disk-"
_NEW: Final = ".new-"
_LOCK: Final = "lock"
_UNLOCKED: Final = "lock-to-be"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_ABANDONED: Final = 60.0
"""Seconds after which a folder without a lock is nobody's: it is locked as soon as it is made."""


def check_name(name: str) -> str:
    """`name`, if a snapshot can have it; else raise UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"snapshot {name!r}", "it has characters such a name cannot have", "use letters, digits, '_', '.' and '-'")
    return name


@contextmanager
def new_folder(store: Path, name: str) -> Iterator[Path]:
    """A folder to fill, which becomes the snapshot `name` when the block ends well, and is gone when it does not.

    Raises UsageError for an impossible name, StateError where there is one of this name, OutOfSpaceError on a full disk and
    where memory is short.
    """
    place = store / check_name(name)
    try:
        store.mkdir(parents=True, exist_ok=True)
        _check_free(place)
        _sweep(store)
        folder = store / f"{_NEW}{name}-{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        try:
            with open(folder / _UNLOCKED, "wb") as lock:
                lock_file(lock.fileno(), shared=False)
                os.rename(folder / _UNLOCKED, folder / _LOCK)  # nobody finds a lock that is not held yet
                yield folder
                _settle(folder)
                _check_free(place)
                os.rename(folder, place)
                (place / _LOCK).unlink()
            _sync_folder(store)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except OSError as error:
        raise out_of_space(error, store) from error
    except MemoryError as error:
        raise OutOfSpaceError(f"snapshot {name}", "the host has no memory left for making it", "end other programs") from error


def _check_free(place: Path) -> None:
    if place.exists():
        raise StateError(f"snapshot {place.name}", "there is one of this name", "choose another name, or remove that one first")


def _settle(folder: Path) -> None:
    """Have everything on stable storage, names included."""
    for path in sorted(folder.iterdir()):
        with open(path, "rb") as file:
            sync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(store: Path) -> None:
    """Remove what killed processes left; what cannot be removed now waits for the next."""
    for folder in store.glob(f"{_NEW}*"):
        with contextlib.suppress(OSError):
            if _abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    try:
        with open(folder / _LOCK, "rb") as lock:
            return lock_file(lock.fileno(), shared=False)
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime > _ABANDONED


def names(store: Path) -> list[str]:
    """The snapshots in `store`, by name."""
    try:
        return sorted(path.parent.name for path in store.glob(f"*/{DOCUMENT}") if not path.parent.name.startswith("."))
    except OSError as error:
        raise GasangError(f"snapshots in {store}", f"they cannot be listed ({error.strerror})", "check the path") from error


def is_being_made(store: Path, name: str) -> bool:
    """Whether somebody has begun a snapshot of this name, and may go on with it."""
    return any(store.glob(f"{_NEW}{glob.escape(name)}-*"))


def remove(store: Path, name: str) -> None:
    """Remove a snapshot, also a damaged one; machines that run from it are not touched. Raises NotFoundError, GasangError."""
    place = store / check_name(name)
    away = store / f"{_NEW}{name}-{secrets.token_hex(8)}"
    try:
        os.rename(place, away)
    except FileNotFoundError as error:
        raise NotFoundError(f"snapshot {name}", f"there is none of this name in {store}", "see which there are") from error
    except OSError as error:
        raise GasangError(f"snapshot {name}", f"it cannot be removed ({error.strerror})", "check the folder's permissions") from error
    shutil.rmtree(away, ignore_errors=True)
