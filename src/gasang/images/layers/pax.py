"""The records of a pax extended header (POSIX.1-2017 pax, "pax Extended Header"): `LENGTH KEY=VALUE` lines, pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from gasang.core.errors import BadInputError

XATTR = "SCHILY.xattr."
KEPT_XATTRS = ("user.", "security.capability", "system.posix_acl_access", "system.posix_acl_default")
OVERLAY_XATTRS = ("user.overlay.",)
"""What overlayfs itself reads: an image must not say it."""
NUMBER_LENGTH = 40


@dataclass
class Extension:
    """What an extended header says of the entry behind it; None is "nothing"."""

    path: bytes | None = None
    link: bytes | None = None
    size: int | None = None
    user: int | None = None
    group: int | None = None
    mtime: int | None = None
    """Nanoseconds."""
    xattrs: dict[str, bytes] = field(default_factory=dict)
    sparse: dict[str, str] = field(default_factory=dict)
    """GNU.sparse.* records; those that repeat (0.0) are joined with commas."""


def parse_extension(raw: bytes, subject: str) -> Extension:
    """The extension that an extended header's content is. Raises BadInputError."""
    extension = Extension()
    for key, value in _records(raw, subject):
        _take(extension, key, value, subject)
    return extension


def _damaged(subject: str) -> BadInputError:
    return BadInputError(subject, "an extended header in it is damaged", "pull it again, or make it anew")


def _records(raw: bytes, subject: str) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(raw):
        blank = raw.find(b" ", at, at + 12)
        digits = raw[at:blank] if blank > 0 else b""
        if not digits.isdigit():
            if not raw[at:].strip(b"\0"):
                return
            raise _damaged(subject)
        end = at + int(digits)
        equals = raw.find(b"=", blank, end)
        if end > len(raw) or equals < 0 or raw[end - 1 : end] != b"\n":
            raise _damaged(subject)
        yield raw[blank + 1 : equals].decode("utf-8", "surrogateescape"), raw[equals + 1 : end - 1]
        at = end


def _take(extension: Extension, key: str, value: bytes, subject: str) -> None:
    if key == "path":
        extension.path = value
    elif key == "linkpath":
        extension.link = value
    elif key in ("size", "uid", "gid"):
        setattr(extension, {"size": "size", "uid": "user", "gid": "group"}[key], _whole(value, subject))
    elif key == "mtime":
        extension.mtime = _nanoseconds(value, subject)
    elif key.startswith(XATTR):
        name = key.removeprefix(XATTR)
        if name.startswith(KEPT_XATTRS) and not name.startswith(OVERLAY_XATTRS):
            extension.xattrs[name] = value
    elif key.startswith("GNU.sparse."):
        _take_sparse(extension.sparse, key, value.decode("utf-8", "surrogateescape"))


def _take_sparse(sparse: dict[str, str], key: str, text: str) -> None:
    """Format 0.0 repeats offset and numbytes: they become the map that 0.1 has."""
    name = key.removeprefix("GNU.sparse.")
    if name in ("offset", "numbytes"):
        name = "map"
        text = f"{sparse[name]},{text}" if sparse.get(name) else text
    sparse[name] = text


def _whole(value: bytes, subject: str) -> int:
    if not value.isdigit() or len(value) > NUMBER_LENGTH or int(value) >> 63:
        raise _damaged(subject)
    return int(value)


def _nanoseconds(value: bytes, subject: str) -> int:
    try:
        seconds = Decimal(value[:NUMBER_LENGTH].decode("ascii"))
        result = int(seconds * 1_000_000_000)
    except (InvalidOperation, UnicodeDecodeError, ValueError, OverflowError) as fault:
        raise _damaged(subject) from fault
    if abs(result) >> 92:
        raise _damaged(subject)
    return result
