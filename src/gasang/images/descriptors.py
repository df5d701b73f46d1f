"""What the store's JSON documents say, taken apart and checked (image-spec: descriptor.md, image-index.md, manifest.md).

A store may be damaged, or written by another program: whoever reads a document gets values of the right types or a BadInputError.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from gasang.core.errors import BadInputError

DOCUMENT_MAX = 16 << 20
"""Bytes of the longest document read."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_AGAIN = "remove it and pull it again"


@dataclass(frozen=True)
class Blob:
    """A stored blob as a descriptor names it."""

    media_type: str
    digest: str
    size: int

    def descriptor(self) -> dict[str, Any]:
        """The OCI content descriptor."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class Entry:
    """An image of the index: its manifest and its annotations."""

    manifest: Blob
    notes: dict[str, str]

    def document(self) -> dict[str, Any]:
        """As it stands in the index."""
        return {**self.manifest.descriptor(), "annotations": self.notes}


def parse_document(raw: bytes, subject: str, hint: str = _AGAIN) -> dict[str, Any]:
    """A JSON object; raise BadInputError if it is anything else."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadInputError(subject, f"a document of it is no JSON ({str(error)[:80]})", hint) from error
    if not isinstance(document, dict):
        raise BadInputError(subject, "a document of it is no JSON object", hint)
    return document


def parse_index(raw: bytes, subject: str) -> list[Entry]:
    """The images of an index; raise BadInputError where it is damaged."""
    hint = "remove its index.json and pull again"
    entries = []
    for item in _objects(parse_document(raw, subject, hint).get("manifests"), subject, hint):
        notes = item.get("annotations", {})
        if not isinstance(notes, dict) or not all(isinstance(value, str) for value in notes.values()):
            raise BadInputError(subject, "an annotation of its index is no text", hint)
        entries.append(Entry(parse_descriptor(item, subject, hint), notes))
    return entries


def parse_manifest(raw: bytes, subject: str) -> tuple[Blob, tuple[Blob, ...]]:
    """(configuration, layers) of a manifest; raise BadInputError where it is damaged."""
    document = parse_document(raw, subject)
    layers = _objects(document.get("layers"), subject, _AGAIN)
    return parse_descriptor(document.get("config"), subject), tuple(parse_descriptor(layer, subject) for layer in layers)


def parse_descriptor(item: object, subject: str, hint: str = _AGAIN) -> Blob:
    """A content descriptor; raise BadInputError unless it has a SHA-256 digest and a size."""
    if isinstance(item, dict):
        digest, size, media_type = item.get("digest"), item.get("size"), item.get("mediaType", "")
        if isinstance(digest, str) and _DIGEST.fullmatch(digest) and type(size) is int and size >= 0 and isinstance(media_type, str):
            return Blob(media_type, digest, size)
    raise BadInputError(subject, "a descriptor in it is damaged", hint)


def _objects(items: object, subject: str, hint: str) -> list[dict[str, Any]]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadInputError(subject, "a list in it is damaged", hint)
    return items
