"""Reading Debian packages (deb(5)): an `ar` archive of debian-binary, control.tar.* and data.tar.*.

A package comes over the network, so nothing in it is trusted: paths must be relative and stay below the root, links may not climb out of
it, hard links name files of the same package, sizes must be true. The data archive is expanded once into a `Spool`, a file without a name;
the entries then read their content from there, so that a whole system fits into memory.
"""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from gasang.core.errors import BadInputError
from gasang.images import ar
from gasang.images.compression import PIECE, expand
from gasang.images.spool import Spool
from gasang.storage.tree import Entry, Kind, check, shown, split_path

CONTROL_MAX = 64 << 20
"""Bytes of an expanded control archive; the largest in trixie (a file list and checksums) has under 8 MiB."""

DATA_MAX = 8 << 30
"""Bytes of an expanded data archive; the largest packages of Debian (debug symbols) stay below."""

XATTR_PREFIX = "SCHILY.xattr."
_HINT = "delete it and pull again"
_HOSTILE = "do not trust where it comes from"

_KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.LNKTYPE: Kind.HARDLINK,
    tarfile.CHRTYPE: Kind.CHARACTER,
    tarfile.BLKTYPE: Kind.BLOCK,
    tarfile.FIFOTYPE: Kind.FIFO,
}


@dataclass(frozen=True, slots=True)
class ControlFile:
    """One file of a control archive: a script, a list of checksums, the control file itself."""

    data: bytes
    mode: int


def read_control(path: Path) -> dict[str, ControlFile]:
    """The control archive's files by name; raise BadInputError for a damaged package."""
    subject = f"package {path.name}"
    tar = b"".join(_expanded(path, "control.tar", CONTROL_MAX))
    files: dict[str, ControlFile] = {}
    with _open_tar(BytesIO(tar), subject) as archive:
        for member in _members(archive, subject):
            if not member.isreg():
                continue
            name = member.name.removeprefix("./")
            if not name or "/" in name or name.startswith("."):
                raise BadInputError(subject, f"its control archive holds the odd name {shown(name)}", _HINT)
            files[name] = ControlFile(_inline(tar, member, subject), member.mode & 0o777)
    if "control" not in files:
        raise BadInputError(subject, "it has no control file", _HINT)
    return files


def read_data(path: Path, spool: Spool) -> list[Entry]:
    """The package's files in archive order, their content in `spool`; raise BadInputError for a damaged or hostile package."""
    subject = f"package {path.name}"
    base = spool.size
    for data in _expanded(path, "data.tar", DATA_MAX):
        spool.append(data)
    length = spool.size - base
    entries: list[Entry] = []
    with spool.open(base, length) as stream, _open_tar(stream, subject) as archive:
        for member in _members(archive, subject):
            entry = _entry(member, spool, base, subject)
            if member.offset_data + entry.length > length:
                raise BadInputError(subject, f"{shown(member.name)} says {member.size} bytes, the archive ends before that", _HINT)
            entries.append(entry)
    _check_hard_links(entries, subject)
    return entries


def _expanded(path: Path, stem: str, limit: int) -> Iterator[bytes]:
    """The tar archive `stem` (any compression) of the package, expanded."""
    subject = f"package {path.name}"
    with path.open("rb") as stream:
        for member in ar.members(stream, subject):
            if member.name == stem or member.name.startswith(stem + "."):
                form = member.name[len(stem) + 1 :]
                yield from expand(_slice(stream, member), form, f"{subject}, {member.name}", limit)
                return
    raise BadInputError(subject, f"it has no {stem}", _HINT)


def _slice(stream: BinaryIO, member: ar.Member) -> Iterator[bytes]:
    stream.seek(member.start)
    left = member.size
    while left:
        data = stream.read(min(PIECE, left))
        if not data:
            return
        left -= len(data)
        yield data


def _open_tar(stream: BinaryIO, subject: str) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=stream, mode="r:", errors="surrogateescape")
    except tarfile.TarError as fault:
        raise BadInputError(subject, f"its archive is damaged ({fault})", _HINT) from fault


def _members(archive: tarfile.TarFile, subject: str) -> Iterator[tarfile.TarInfo]:
    try:
        yield from archive
    except (tarfile.TarError, ValueError, OverflowError) as fault:
        raise BadInputError(subject, f"its archive is damaged ({fault})", _HINT) from fault


def _inline(tar: bytes, member: tarfile.TarInfo, subject: str) -> bytes:
    data = tar[member.offset_data : member.offset_data + member.size]
    if len(data) != member.size or member.size < 0:
        raise BadInputError(subject, f"{shown(member.name)} says {member.size} bytes, the archive ends before that", _HINT)
    return data


def _entry(member: tarfile.TarInfo, spool: Spool, base: int, subject: str) -> Entry:
    kind = _KINDS.get(member.type)
    if kind is None or member.sparse is not None:
        raise BadInputError(subject, f"{shown(member.name)} is of a type no package holds", _HINT)
    path = _path(member.name, subject)
    size = member.size if kind is Kind.FILE else 0
    entry = Entry(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(member.mode),
        uid=member.uid,
        gid=member.gid,
        mtime=int(member.mtime),
        size=size,
        data=spool.source(base + member.offset_data, size),
        target=_target(member, path, kind, subject),
        device=(member.devmajor, member.devminor) if kind in (Kind.CHARACTER, Kind.BLOCK) else (0, 0),
        xattrs=_xattrs(member),
    )
    check(entry)
    return entry


def _path(name: str, subject: str) -> str:
    path = name.removeprefix("./").rstrip("/")
    if name.startswith("/") or ".." in path.split("/"):
        raise BadInputError(subject, f"its path {shown(name)} leads outside", _HOSTILE)
    split_path(path)
    return path if path != "." else ""


def _target(member: tarfile.TarInfo, path: str, kind: Kind, subject: str) -> str:
    if kind is Kind.HARDLINK:
        return _path(member.linkname, subject)
    if kind is Kind.SYMLINK and _climbs_out(path, member.linkname):
        raise BadInputError(subject, f"its link {shown(path)} leads outside, to {shown(member.linkname)}", _HOSTILE)
    return member.linkname if kind is Kind.SYMLINK else ""


def _climbs_out(path: str, target: str) -> bool:
    """Whether a symbolic link goes above the root; an absolute one begins at the guest's own root."""
    depth = 0 if target.startswith("/") else path.count("/")
    for part in target.split("/"):
        depth += {"..": -1, "": 0, ".": 0}.get(part, 1)
        if depth < 0:
            return True
    return False


def _xattrs(member: tarfile.TarInfo) -> dict[str, bytes]:
    return {
        name.removeprefix(XATTR_PREFIX): value.encode("utf-8", "surrogateescape")
        for name, value in member.pax_headers.items()
        if name.startswith(XATTR_PREFIX)
    }


def _check_hard_links(entries: list[Entry], subject: str) -> None:
    files: set[bytes | str] = set()
    for entry in entries:
        if entry.kind is Kind.HARDLINK and entry.target not in files:
            raise BadInputError(subject, f"its link {shown(entry.path)} names {shown(entry.target)}, which it does not hold", _HINT)
        if entry.kind is Kind.FILE or entry.kind is Kind.HARDLINK:
            files.add(entry.path)
