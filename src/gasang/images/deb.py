"""A Debian package file (deb(5)): an ar archive of a version, a control archive and a data archive, the latter two compressed tars.

Packages come from a mirror, their hashes checked; still every path and size is looked at before use. Paths are relative,
normalised, and stay inside.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gasang.core.errors import BadInputError
from gasang.images.ar import Member, members
from gasang.images.compression import expand_bytes
from gasang.storage.tree import Entry, Kind

MAX_UNPACKED = 4 << 30
MAX_CONTROL = 64 << 20

_KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.CONTTYPE: Kind.FILE,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.LNKTYPE: Kind.HARDLINK,
    tarfile.CHRTYPE: Kind.CHARACTER,
    tarfile.BLKTYPE: Kind.BLOCK,
    tarfile.FIFOTYPE: Kind.FIFO,
}


@dataclass(frozen=True)
class Deb:
    """An opened package: its control files by name, and its data archive, still compressed, as an ar member."""

    path: Path
    control: dict[str, bytes]
    data: Member

    @property
    def subject(self) -> str:
        """The package in messages."""
        return f"package {self.path.name}"

    def entries(self) -> Iterator[Entry]:
        """The package's files in order. Raises BadInputError for damaged or hostile archives."""
        with self.path.open("rb") as stream:
            plain = _member_bytes(stream, self.data, self.subject, MAX_UNPACKED)
        yield from _entries(plain, self.subject)


def open_deb(path: Path) -> Deb:
    """Read a package's control files. Raises BadInputError naming the file."""
    subject = f"package {path.name}"
    control: dict[str, bytes] | None = None
    data: Member | None = None
    with path.open("rb") as stream:
        for member in members(stream, subject):
            base = member.name.split(".tar", 1)[0]
            if base == "control":
                plain = _member_bytes(stream, member, subject, MAX_CONTROL)
                control = {_text(entry.path): _content(entry) for entry in _entries(plain, subject) if entry.kind is Kind.FILE}
            elif base == "data":
                data = member
    if control is None or data is None or "control" not in control:
        raise BadInputError(subject, "it lacks its control or data part", "delete it and pull again")
    return Deb(path, control, data)


def _text(path: bytes | str) -> str:
    return path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path


def _content(entry: Entry) -> bytes:
    assert isinstance(entry.data, bytes)
    return entry.data


def _member_bytes(stream: BinaryIO, member: Member, subject: str, limit: int) -> bytes:
    stream.seek(member.start)
    form = member.name.rsplit(".tar", 1)[-1].lstrip(".")
    return expand_bytes(stream.read(member.size), subject, limit, form)


def _entries(plain: bytes, subject: str) -> Iterator[Entry]:
    try:
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            for item in archive:
                yield _entry(item, archive, subject)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BadInputError(subject, f"its archive is damaged ({error})", "delete it and pull again") from error


def clean_path(name: str, subject: str) -> str:
    """A path inside the root: relative, without "." and "..". Raises BadInputError for one that leads outside."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise BadInputError(subject, f"its path {name!r} leads outside", "do not use it: it is hostile or damaged")
    return "/".join(parts)


def _entry(item: tarfile.TarInfo, archive: tarfile.TarFile, subject: str) -> Entry:
    kind = _KINDS.get(item.type)
    if kind is None:
        raise BadInputError(subject, f"{item.name!r} is of an unknown type", "delete it and pull again")
    data = b""
    if kind is Kind.FILE:
        stream = archive.extractfile(item)
        data = stream.read() if stream is not None else b""
        if len(data) != item.size:
            raise BadInputError(subject, f"{item.name!r} is cut off", "delete it and pull again")
    target = clean_path(item.linkname, subject) if kind is Kind.HARDLINK else item.linkname
    return Entry(
        path=clean_path(item.name, subject), kind=kind, mode=item.mode & 0o7777, uid=item.uid, gid=item.gid, mtime=int(item.mtime),
        data=data, target=target, device=(item.devmajor, item.devminor),
    )  # fmt: skip
