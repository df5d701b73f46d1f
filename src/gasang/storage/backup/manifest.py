"""What a backup is, as a document: of what, when, with which settings, and the objects that it consists of. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from gasang.core.errors import BadInputError
from gasang.storage.backup.packs import CHUNK, DIGEST, digest_of

VERSION: Final = 1
DISK, STREAM = "disk", "stream"
PAGE: Final = 1024
"""Chunks that a page names; a page is a chunk itself, so that backups share those that name the same."""
MOST_BYTES: Final = 256 << 20
"""Of a manifest: of a backup of the largest disk."""
IDENTITY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}")


@dataclass(frozen=True)
class Object:
    """A disk, whose chunks stand for CHUNK bytes each, or a stream, whose chunks follow one another. `size` in bytes.

    `pages` are digests in hexadecimal. `source` is what it was read from, as whoever read it tells: what the next backup may build on.
    """

    name: str
    kind: str
    size: int
    pages: tuple[str, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """A backup. `kind` is volume, machine or container; `settings` are what it is made anew with; `read` bytes were read for it."""

    identity: str
    name: str
    kind: str
    created: str
    objects: tuple[Object, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    base: str = ""
    read: int = 0
    stored: int = 0

    def object(self, name: str) -> Object | None:
        """One of its objects, if it has it."""
        return next((each for each in self.objects if each.name == name), None)

    def make(self) -> bytes:
        """The document, its digest before it."""
        body = json.dumps({"version": VERSION, **asdict(self)}, separators=(",", ":")).encode("utf-8", "surrogatepass")
        return digest_of(body).hex().encode() + b"\n" + body


def parse(data: bytes, subject: str) -> Manifest:
    """The backup of a document. Raises BadInputError for one that is damaged."""
    digest, _, body = data.partition(b"\n")
    try:
        if len(data) > MOST_BYTES or digest_of(body).hex().encode() != digest:
            raise ValueError("its digest is another")
        document = json.loads(body.decode("utf-8", "surrogatepass"))
        if document.pop("version") != VERSION:
            raise ValueError("another gasang wrote it")
        objects = tuple(Object(**{**each, "pages": tuple(each["pages"])}) for each in document.pop("objects"))
        found = Manifest(objects=objects, **document)
        _check(found)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadInputError(subject, f"its manifest is damaged ({error})", "use another backup") from error
    return found


def _check(found: Manifest) -> None:
    texts = (found.name, found.kind, found.created, found.base, *(each.name for each in found.objects))
    if not IDENTITY.fullmatch(found.identity) or not all(isinstance(text, str) for text in texts) or not isinstance(found.settings, dict):
        raise ValueError("a field cannot be")
    for each in found.objects:
        whole = type(each.size) is int and 0 <= each.size < 1 << 56
        if each.kind not in (DISK, STREAM) or not whole or not isinstance(each.source, dict):
            raise ValueError(f"object {each.name[:40]!r} cannot be")
        if each.kind == DISK and len(each.pages) != -(-each.size // (CHUNK * PAGE)):
            raise ValueError(f"object {each.name[:40]!r} has not as many pages as its size says")
        for page in each.pages:
            if len(bytes.fromhex(page)) != DIGEST:
                raise ValueError("a page has no digest")
