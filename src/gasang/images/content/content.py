"""The content store of every kind of image: blobs named by their SHA-256 and an index, in the OCI image layout (image-layout.md).

Rules: a blob gets its name when it is whole and right; the index is replaced, never changed; whoever changes the index or removes
anything holds the lock `index.lock`, for moments. What no index entry, pin or running work's lease reaches is garbage.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from gasang.core.errors import BadInputError
from gasang.images.content.leases import Leases
from gasang.images.content.locks import locked
from gasang.images.content.pins import Pins
from gasang.images.descriptors import DOCUMENT_MAX, Blob, Entry, parse_document, parse_index
from gasang.images.spool import out_of_space

LAYOUT = {"imageLayoutVersion": "1.0.0"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
REFERENCE = "org.opencontainers.image.ref.name"
CREATED = "org.opencontainers.image.created"
NEW = ".new-"
"""Begins the name of what is being written."""
AGAIN = "remove it and pull it again"


class Content:
    """A store in a folder, made when something is first added."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs" / "sha256"
        self.ingests = root / "ingest"
        self.layers = root / "layers"
        self.lock = root / "index.lock"
        self.leases = Leases(root / "leases", self.lock)
        self.pins = Pins(root / "pins")

    # reading

    def path(self, blob: Blob | str) -> Path:
        """The file of a blob, given by its descriptor or its digest."""
        digest = blob if isinstance(blob, str) else blob.digest
        return self.blobs / digest.removeprefix("sha256:")

    def entries(self) -> list[Entry]:
        """What the index lists. Raises BadInputError where it is damaged."""
        subject = f"store {self.root}"
        try:
            raw = (self.root / "index.json").read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise BadInputError(subject, f"its index cannot be read ({error.strerror})", "check its permissions") from error
        return parse_index(raw, subject)

    def check_size(self, blob: Blob, subject: str) -> None:
        """A cut-off or missing blob is told here; its content is checked by whoever unpacks it."""
        try:
            size = self.path(blob).stat().st_size
        except OSError as error:
            raise BadInputError(subject, "part of it is missing from the store", AGAIN) from error
        if size != blob.size:
            raise BadInputError(subject, "part of it is damaged in the store", AGAIN)

    def has(self, blob: Blob) -> bool:
        """Whether a blob is there, in its full length."""
        try:
            return self.path(blob).stat().st_size == blob.size
        except OSError:
            return False

    def read(self, blob: Blob, subject: str) -> bytes:
        """A blob that is a document. Raises BadInputError where it is missing, damaged or too long."""
        self.check_size(blob, subject)
        if blob.size > DOCUMENT_MAX:
            raise BadInputError(subject, "a document of it is too long", AGAIN)
        try:
            raw = self.path(blob).read_bytes()
        except OSError as error:
            raise BadInputError(subject, f"part of it cannot be read ({error.strerror})", AGAIN) from error
        if digest_of(raw) != blob.digest:
            raise BadInputError(subject, "part of it is damaged in the store", AGAIN)
        return raw

    def document(self, blob: Blob, subject: str) -> dict[str, Any]:
        """The JSON object that a blob is. Raises BadInputError."""
        return parse_document(self.read(blob, subject), subject)

    # changing

    def prepare(self) -> None:
        """Make the folders. Raises OutOfSpaceError, PermissionDeniedError."""
        try:
            self.blobs.mkdir(parents=True, exist_ok=True)
            self.ingests.mkdir(exist_ok=True)
        except OSError as fault:
            raise out_of_space(fault, self.root) from fault

    @contextmanager
    def changing_index(self) -> Iterator[list[Entry]]:
        """The entries, to be changed in the block; they become the index at its end, unless it fails. Holds the lock."""
        with locked(self.lock):
            entries = self.entries()
            before = list(entries)
            yield entries
            if entries != before:
                self.replace_index(entries)

    def replace_index(self, entries: list[Entry]) -> None:
        """Make the index list these."""
        self._replace("oci-layout", LAYOUT)
        self._replace("index.json", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry.document() for entry in entries]})

    def _replace(self, name: str, document: dict[str, Any]) -> None:
        data = canonical(document)
        target = self.root / name
        if target.is_file() and target.read_bytes() == data:
            return
        with self.new_file() as (file, put):
            file.write(data)
            put(target)

    @contextmanager
    def new_file(self, folder: Path | None = None) -> Iterator[tuple[BinaryIO, Callable[[Path], None]]]:
        """A file to write, and what syncs it and gives it its name; without a name it is gone at the end. Raises OutOfSpaceError."""
        name = ""

        def put(path: Path) -> None:
            file.flush()
            os.fsync(file.fileno())
            file.close()
            Path(name).replace(path)

        try:
            handle, name = tempfile.mkstemp(dir=folder or self.root, prefix=NEW)
            with os.fdopen(handle, "wb") as file:
                yield file, put
        except OSError as error:
            raise out_of_space(error, self.root) from error
        finally:
            if name:
                Path(name).unlink(missing_ok=True)

    def keep_document(self, raw: bytes, media_type: str) -> Blob:
        """Have a small document as a blob, without waiting for the disk; the caller's lease holds its digest."""
        blob = Blob(media_type, digest_of(raw), len(raw))
        if not self.has(blob):
            try:
                handle, name = tempfile.mkstemp(dir=self.ingests, prefix=NEW)
                with os.fdopen(handle, "wb") as file:
                    file.write(raw)
                    os.fchmod(file.fileno(), 0o644)
                os.replace(name, self.path(blob))
            except OSError as fault:
                raise out_of_space(fault, self.root) from fault
        return blob


def digest_of(raw: bytes) -> str:
    """The digest of bytes."""
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def canonical(document: dict[str, Any]) -> bytes:
    """A document's bytes: the same for the same content."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
