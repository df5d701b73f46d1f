"""Tar archives for tests, made by the standard library: another hand than ours."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

TIME = 1_700_000_000


@dataclass
class Item:
    """An entry as a test writes it down."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    mtime: float = TIME
    uid: int = 0
    gid: int = 0
    device: tuple[int, int] = (0, 0)
    pax: dict[str, str] = field(default_factory=dict)


def folder(name: str, mode: int = 0o755, **facts: object) -> Item:
    """A directory."""
    return Item(name, kind=tarfile.DIRTYPE, mode=mode, **facts)  # type: ignore[arg-type]


def symlink(name: str, to: str) -> Item:
    """A symbolic link."""
    return Item(name, kind=tarfile.SYMTYPE, link=to, mode=0o777)


def hardlink(name: str, to: str, mode: int = 0o644) -> Item:
    """A hard link."""
    return Item(name, kind=tarfile.LNKTYPE, link=to, mode=mode)


def archive(items: Iterable[Item], form: int = tarfile.PAX_FORMAT) -> bytes:
    """The archive of these entries."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=form) as tar:
        for item in items:
            info = tarfile.TarInfo(item.name)
            info.type, info.linkname, info.mode, info.mtime = item.kind, item.link, item.mode, item.mtime
            info.uid, info.gid, info.size = item.uid, item.gid, len(item.data)
            info.devmajor, info.devminor = item.device
            info.pax_headers = dict(item.pax)
            tar.addfile(info, io.BytesIO(item.data))
    return raw.getvalue()


def packed(data: bytes) -> bytes:
    """Compressed with gzip, the same bytes each time."""
    return gzip.compress(data, 6, mtime=0)


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """What is below a directory: name to (kind, mode, owner, group, time, what it holds)."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        facts = path.lstat()
        if path.is_symlink():
            held: object = os.readlink(path)
        elif path.is_file():
            held = path.read_bytes()
        else:
            held = facts.st_rdev
        mode = oct(facts.st_mode)
        found[path.relative_to(root).as_posix()] = (mode, facts.st_uid, facts.st_gid, int(facts.st_mtime), held)
    return found
