"""Stable storage, after the fact.

Waiting for the disk at each blob and file would double the time of a pull. So what a pull brings is used at once, its lease file (made
durable before anything else) stays, and `settle` writes everything out and then removes it. If the host dies in between, the lease of
an earlier start is found by `recover`, which looks at everything that came since the lease began: blobs are hashed, unpacked layers are
unpacked again when they are next needed.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from gasang.host.durable import boot_id, sync_file_system
from gasang.images.content.content import Content
from gasang.images.content.garbage import remove_layer
from gasang.images.content.locks import is_free, locked
from gasang.images.spool import out_of_space

SLACK = 2
"""Seconds that times on a disk may lie behind the clock."""


def mark_durable(lease: Path) -> None:
    """Have the lease's file on stable storage, so that what it covers is looked at after a crash."""
    for path in (lease, lease.parent):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def settle(content: Content) -> None:
    """Have all that was added on stable storage. Raises OutOfSpaceError, GasangError where the disk fails."""
    if not content.leases.files():
        return
    with locked(content.lock):  # one that is being taken is not held yet
        over = [path for path in content.leases.files() if is_free(path)]
    if not over:
        return
    try:
        sync_file_system(content.root)
    except OSError as fault:
        raise out_of_space(fault, content.root) from fault
    for path in over:
        path.unlink(missing_ok=True)


def recover(content: Content) -> None:
    """After a crash of the host: remove what may not have reached the disk and is wrong. Cheap where there was none."""
    stale = [path for path in content.leases.files() if path.name.split(".")[0] != boot_id()]
    if not stale:
        return
    since = min(_began(path) for path in stale) - SLACK
    with locked(content.lock):
        _check_blobs(content.blobs, since)
        _forget_layers(content.layers, since)
    for path in stale:
        path.unlink(missing_ok=True)


def _began(path: Path) -> int:
    part = path.name.split(".")[1:2]
    return int(part[0]) if part and part[0].isdigit() else 0


def _check_blobs(folder: Path, since: int) -> None:
    for path in _newer(folder, since):
        with path.open("rb") as file:
            right = hashlib.file_digest(file, "sha256").hexdigest() == path.name
        if not right:
            path.unlink()


def _forget_layers(folder: Path, since: int) -> None:
    for path in _newer(folder, since):
        remove_layer(path)


def _newer(folder: Path, since: int) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.lstat().st_ctime >= since]
    except FileNotFoundError:
        return []
