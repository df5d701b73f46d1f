"""What machines were booted from, kept for them, so that removing an image or emptying the cache takes no machine its disk.

It is hard links in one folder for all. A folder in it is named after the files it links; it goes when no machine's note names it any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from gasang.core.errors import StateError
from gasang.images.ready import ROOT, BootFiles
from gasang.kinds.vm.process.family import FAMILY

FOLDER: Final = "bases"
"""Beside the folder of machines' folders."""
_LOCK: Final = "lock"
_FILES: Final = ("kernel", "initrd", "disk")
GIVEN: Final = "given-"
"""How the folders begin of files that a client has brought."""


def folder_of(machine: Path) -> Path:
    """Where the files of a machine's folder are linked."""
    return machine.parents[2 if machine.parent.name.startswith(FAMILY) else 1] / FOLDER


@contextmanager
def pinning(bases: Path) -> Iterator[None]:
    """Nothing is swept in the block: what is linked in it is to be noted in it. Raises OSError."""
    with _locked(bases, fcntl.LOCK_SH):
        yield


def pin(files: BootFiles, bases: Path) -> BootFiles:
    """The same files, by names of ours; those on another file system by their own. Raises OSError."""
    paths = (files.kernel, files.initrd, files.disk)
    folder = bases / _name(files)
    folder.mkdir(exist_ok=True, mode=0o700)
    kernel, initrd, disk = (_linked(path, folder / name) for path, name in zip(paths, _FILES, strict=True))
    return replace(files, kernel=kernel, initrd=initrd, disk=disk)


def _name(files: BootFiles) -> str:
    facts = [(info.st_dev, info.st_ino, info.st_mtime_ns) for info in map(os.stat, (files.kernel, files.initrd, files.disk))]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def check(files: BootFiles, subject: str) -> None:
    """Raise StateError where the disk was written to since a machine was made of it: what the machine has of its own is then worthless.

    An image's never is; imported disks are, by who names them with --disk. Those that could not be linked are not looked at.
    """
    linked = all(path.name == name for path, name in zip((files.kernel, files.initrd, files.disk), _FILES, strict=True))
    imported = files.own or files.root != ROOT
    if imported and linked and files.disk.parent.name not in (_name(files), *_given(files)):
        raise StateError(subject, "its disk was written to (with --disk) since the machine was made", "make the machine anew")


def _given(files: BootFiles) -> list[str]:
    name = files.disk.parent.name
    return [name] if name.startswith(GIVEN) else []


def _linked(path: Path, place: Path) -> Path:
    try:
        os.link(path, place)
    except FileExistsError:
        return place
    except OSError:  # another file system, or one that has no links
        return path
    return place


def sweep(bases: Path, notes: Iterable[Path]) -> None:
    """Remove what none of the notes names; nothing while a machine is pinning. Raises OSError."""
    if not bases.is_dir():
        return
    with contextlib.suppress(BlockingIOError), _locked(bases, fcntl.LOCK_EX | fcntl.LOCK_NB):
        used = {name for note in notes for name in _named(note)}
        for folder in bases.iterdir():
            if folder.is_dir() and folder.name not in used:
                shutil.rmtree(folder, ignore_errors=True)


def _named(note: Path) -> set[str]:
    """The folders of the files that a note names; of a damaged one none: its machine does not start."""
    try:
        found = json.loads(note.read_text())
        return {Path(path).parent.name for path in found[:3]}
    except (OSError, ValueError, TypeError, KeyError):
        return set()


@contextmanager
def _locked(bases: Path, how: int) -> Iterator[None]:
    bases.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(bases / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
