"""A snapshot's document: what it is a snapshot of, all small state, and the digests of everything large beside it.

The file is a line with the format's name and the document's SHA-256, then the document: canonical JSON (keys sorted, no spaces, ASCII), in
which bytes are {"$bytes": base64}. One changed byte anywhere in it is found before anything is believed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from gasang.core.errors import BadInputError, UsageError
from gasang.core.protocols import State
from gasang.kinds.vm.card import Card, card_of

FORMAT: Final = "gasang snapshot"
VERSION: Final = 1
DOCUMENT_MAX: Final = 64 << 20
BYTES: Final = "$bytes"
AGAIN: Final = "make the snapshot again, or restore another"


@dataclass(frozen=True)
class MemoryRecord:
    """RAM: its guest-physical base and size, the digest of the chunks' index, and the layers that hold the chunks."""

    base: int
    size: int
    index: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class DiskRecord:
    """A disk: the file it is based on, and what differs from it (`layer`, a saved overlay's digest, "" for nothing).

    The base is the file `path`, which had `size` bytes and was last changed at `modified` (nanoseconds); or the snapshot has it, and
    `base` is its digest. `form` is its format, "" for raw. Of a volume, `volume` is the folder and `kept` its snapshot that this one needs;
    one that is only read is based on the file of its top layer.
    """

    path: str
    size: int
    modified: int
    base: str
    layer: str
    read_only: bool
    volume: str = ""
    kept: str = ""
    form: str = ""

    def files(self) -> tuple[str, ...]:
        """Digests of the snapshot's own files for it."""
        return tuple(digest for digest in (self.base, self.layer) if digest)


@dataclass(frozen=True)
class Document:
    """The whole of it. `board` says what a machine must be made of to be restored to; `created` is RFC 3339, UTC.

    `card` is what the guest knew itself to be on its network card, where that was known.
    """

    architecture: str
    board: dict[str, Any]
    memory: MemoryRecord
    disks: tuple[DiskRecord, ...]
    state: State
    created: str
    parent: str
    card: Card | None = None


def encode(document: Document) -> bytes:
    """The file's content."""
    memory = document.memory
    plain = {
        "version": VERSION,
        "architecture": document.architecture,
        "board": document.board,
        "memory": {"base": memory.base, "size": memory.size, "index": memory.index, "layers": list(memory.layers)},
        "disks": [vars(disk) for disk in document.disks],
        "state": document.state,
        "created": document.created,
        "parent": document.parent,
        "card": None if document.card is None else vars(document.card),
    }
    text = json.dumps(_to_plain(plain), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    return f"{FORMAT} {VERSION} {hashlib.sha256(text).hexdigest()}\n".encode("ascii") + text


def digest_of(content: bytes) -> str:
    """The document's digest, as it stands in the first line of its file."""
    return content.partition(b"\n")[0].rsplit(b" ", 1)[-1].decode("ascii", "replace")


def decode(content: bytes, subject: str) -> Document:
    """The document in a file's content. Raises BadInputError, about `subject`, for one that is damaged, foreign or of another version."""
    line, _, text = content.partition(b"\n")
    words = line.rsplit(b" ", 2)
    if len(words) != 3 or words[0] != FORMAT.encode("ascii"):
        raise BadInputError(subject, "it is no snapshot, or a damaged one", AGAIN)
    if words[1] != str(VERSION).encode("ascii"):
        version = words[1][:16].decode("ascii", "replace")
        raise BadInputError(subject, f"its format is version {version}, this build knows {VERSION}", "use the gasang that made it")
    if hashlib.sha256(text).hexdigest().encode("ascii") != words[2]:
        raise BadInputError(subject, "its document is damaged (the digest is another)", AGAIN)
    try:
        return _document(_from_plain(json.loads(text)))
    except (KeyError, TypeError, ValueError, RecursionError, UsageError) as error:
        raise BadInputError(subject, f"its document makes no sense ({type(error).__name__}: {error})", AGAIN) from error


def _document(plain: Any) -> Document:
    memory = plain["memory"]
    return Document(
        _text(plain["architecture"]),
        _mapping(plain["board"]),
        MemoryRecord(_number(memory["base"]), _number(memory["size"]), _hex(memory["index"]), tuple(map(_hex, memory["layers"]))),
        tuple(_disk(disk) for disk in plain["disks"]),
        _mapping(plain["state"]),
        _text(plain["created"]),
        _text(plain["parent"]),
        card_of(plain.get("card")),  # earlier builds did not keep it
    )


def _disk(plain: Any) -> DiskRecord:
    path, base = _text(plain["path"]), _hex(plain["base"])
    volume, kept, form = (_text(plain.get(name, "")) for name in ("volume", "kept", "form"))  # earlier builds had none of these
    if bool(path) + bool(base) + bool(kept) != 1:
        raise ValueError("a disk is based on a file, on the snapshot's own, or on a volume's snapshot")
    read_only = bool(plain["read_only"])
    return DiskRecord(path, _number(plain["size"]), _number(plain["modified"]), base, _hex(plain["layer"]), read_only, volume, kept, form)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise ValueError(f"{value!r} is no size or address")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no object")
    return value


def _hex(value: Any) -> str:
    if not isinstance(value, str) or (value and (len(value) != 64 or value.strip("0123456789abcdef"))):
        raise ValueError(f"{value!r} is no digest")
    return value


def _to_plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {BYTES: base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {key: _to_plain(item) for key, item in value.items()}
    return [_to_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _from_plain(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {BYTES}:
            try:
                return base64.b64decode(value[BYTES], validate=True)
            except binascii.Error as error:
                raise ValueError(str(error)) from error
        return {key: _from_plain(item) for key, item in value.items()}
    return [_from_plain(item) for item in value] if isinstance(value, list) else value
