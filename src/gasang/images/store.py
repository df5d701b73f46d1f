"""The content store: blobs named by their SHA-256 and an index of references, in the OCI image layout (image-spec, image-layout.md).

Rules: a blob is written under another name, synced, then renamed, so what is there is whole; the index is replaced the same way, so an
image is either there or not; who changes anything holds the lock. Blobs that no index entry reaches are garbage: a change begins and
ends by removing them, so that what an interrupted one left does not outlive the next.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from gasang.core.errors import BadInputError, NotFoundError, StateError
from gasang.host.files import lock_file
from gasang.images.descriptors import DOCUMENT_MAX, Blob, Entry, parse_document, parse_index, parse_manifest
from gasang.images.spool import out_of_space

LAYOUT = {"imageLayoutVersion": "1.0.0"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.gasang.vm.config.v1+json"
DISK = "application/vnd.gasang.vm.disk.raw+zstd"
KERNEL = "application/vnd.gasang.vm.kernel"
INITRD = "application/vnd.gasang.vm.initrd"
REFERENCE = "org.opencontainers.image.ref.name"
CREATED = "org.opencontainers.image.created"
_NEW = ".new-"
"""Begins the name of what is being written."""


@dataclass(frozen=True)
class Image:
    """An image of the index: its reference, its manifest's digest, its blobs, and its configuration."""

    reference: str
    digest: str
    created: str
    layers: tuple[Blob, ...]
    config: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes of its blobs."""
        return sum(layer.size for layer in self.layers)

    def layer(self, media_type: str) -> Blob:
        """The layer of a type. Raises BadInputError if the image has none."""
        for layer in self.layers:
            if layer.media_type == media_type:
                return layer
        raise BadInputError(f"image {self.reference}", f"it has no {media_type.rsplit('.', 1)[-1]} part", "remove it and pull it again")


class Store:
    """A store in a folder, made when something is first added."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs" / "sha256"

    # reading

    def images(self) -> list[Image]:
        """Every image, by reference. Raises BadInputError where the store is damaged."""
        return sorted((self._image(entry) for entry in self._entries()), key=lambda image: image.reference)

    def resolve(self, reference: str) -> Image:
        """The image of a reference. Raises NotFoundError with what to do, BadInputError where it is damaged."""
        return self._image(self._entry(reference))

    def expect(self, reference: str) -> None:
        """Raises NotFoundError unless there is an image of this reference, be it damaged."""
        self._entry(reference)

    def path(self, blob: Blob) -> Path:
        """The file of a blob."""
        return self._blobs / blob.digest.removeprefix("sha256:")

    def _entries(self) -> list[Entry]:
        subject = f"store {self.root}"
        try:
            raw = (self.root / "index.json").read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise BadInputError(subject, f"its index cannot be read ({error.strerror})", "check its permissions") from error
        return parse_index(raw, subject)

    def _entry(self, reference: str) -> Entry:
        for entry in self._entries():
            if entry.notes.get(REFERENCE) == reference:
                return entry
        raise NotFoundError(f"image {reference}", "it is not here", f"try gasang pull {reference}")

    def _image(self, entry: Entry) -> Image:
        subject = _subject(entry)
        config, layers = parse_manifest(self._document(entry.manifest, subject), subject)
        settings = parse_document(self._document(config, subject), subject)
        for layer in layers:
            self._check_size(layer, subject)
        return _named(entry, layers, settings)

    def _check_size(self, blob: Blob, subject: str) -> None:
        """A cut-off or missing layer is told here; its content is checked by whoever unpacks it."""
        try:
            size = self.path(blob).stat().st_size
        except OSError as error:
            raise BadInputError(subject, "part of it is missing from the store", "remove it and pull it again") from error
        if size != blob.size:
            raise BadInputError(subject, "part of it is damaged in the store", "remove it and pull it again")

    def _document(self, blob: Blob, subject: str) -> bytes:
        self._check_size(blob, subject)
        if blob.size > DOCUMENT_MAX:
            raise BadInputError(subject, "a document of it is too long", "remove it and pull it again")
        try:
            raw = self.path(blob).read_bytes()
        except OSError as error:
            raise BadInputError(subject, f"part of it cannot be read ({error.strerror})", "remove it and pull it again") from error
        if "sha256:" + hashlib.sha256(raw).hexdigest() != blob.digest:
            raise BadInputError(subject, "part of it is damaged in the store", "remove it and pull it again")
        return raw

    # changing

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the store's lock. What is added but not tagged in the block is gone after it, and so is what an interrupted change left.

        Raises StateError if another process holds it, OutOfSpaceError on a full disk.
        """
        try:
            self._blobs.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise out_of_space(error, self.root) from error
        try:
            if not lock_file(descriptor, shared=False):
                raise StateError(f"store {self.root}", "another gasang is changing it", "wait for that one to end, then try again")
            self._collect()
            try:
                yield
            finally:
                self._collect()
        finally:
            os.close(descriptor)

    def add_bytes(self, data: bytes, media_type: str) -> Blob:
        """Store bytes. The lock is held."""
        with self.writer(media_type) as writer:
            writer.write(data)
        return writer.blob

    @contextmanager
    def writer(self, media_type: str) -> Iterator[BlobWriter]:
        """Store what is written in the block. The lock is held. Raises OutOfSpaceError on a full disk; nothing half-written stays."""
        with self._new_file() as (file, put):
            writer = BlobWriter(file, media_type)
            yield writer
            writer.finish()
            put(self.path(writer.blob))

    def tag(self, reference: str, layers: list[Blob], config: dict[str, Any]) -> Image:
        """Make stored blobs an image, replacing one of the same reference. The lock is held."""
        settings = self.add_bytes(_json(config), CONFIG)
        manifest = {
            "schemaVersion": 2, "mediaType": MANIFEST, "config": settings.descriptor(), "layers": [layer.descriptor() for layer in layers],
        }  # fmt: skip
        blob = self.add_bytes(_json(manifest), MANIFEST)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        entry = Entry(blob, {REFERENCE: reference, CREATED: created})
        self._replace_index([*self._others(reference), entry])
        return self._image(entry)

    def remove(self, reference: str) -> Image:
        """Remove an image and what only it needed, also a damaged one. The lock is held. Raises NotFoundError."""
        entry = self._entry(reference)
        try:
            image = self._image(entry)
        except BadInputError:
            image = _named(entry, (), {})
        self._replace_index(self._others(reference))
        return image

    def _others(self, reference: str) -> list[Entry]:
        return [entry for entry in self._entries() if entry.notes.get(REFERENCE) != reference]

    def _replace_index(self, entries: list[Entry]) -> None:
        self._replace("oci-layout", LAYOUT)
        self._replace("index.json", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry.document() for entry in entries]})

    def _replace(self, name: str, document: dict[str, Any]) -> None:
        with self._new_file() as (file, put):
            file.write(_json(document))
            put(self.root / name)

    @contextmanager
    def _new_file(self) -> Iterator[tuple[BinaryIO, Callable[[Path], None]]]:
        """A file to write, and what syncs it and gives it its name; without a name it is gone at the end. Raises OutOfSpaceError."""
        name = ""

        def put(path: Path) -> None:
            file.flush()
            os.fsync(file.fileno())
            file.close()
            Path(name).replace(path)

        try:
            handle, name = tempfile.mkstemp(dir=self.root, prefix=_NEW)
            with os.fdopen(handle, "wb") as file:
                yield file, put
        except OSError as error:
            raise out_of_space(error, self.root) from error
        finally:
            if name:
                Path(name).unlink(missing_ok=True)

    def _collect(self) -> None:
        """Remove blobs no image needs, and what an interrupted change left. What cannot be removed now waits for the next change.

        Where the index is damaged nothing is removed: nobody knows what is needed.
        """
        with suppress(BadInputError, OSError):
            needed = {blob.digest for entry in self._entries() for blob in self._blobs_of(entry)}
            for path in self._blobs.iterdir():
                if f"sha256:{path.name}" not in needed:
                    path.unlink()
            for path in self.root.glob(f"{_NEW}*"):
                path.unlink()

    def _blobs_of(self, entry: Entry) -> tuple[Blob, ...]:
        """All that an image needs; of one whose manifest is damaged only that is known, and it must be pulled again anyway."""
        subject = _subject(entry)
        try:
            config, layers = parse_manifest(self._document(entry.manifest, subject), subject)
        except BadInputError:
            return (entry.manifest,)
        return (entry.manifest, config, *layers)


class BlobWriter(io.RawIOBase):
    """Counts and hashes what is written; `blob` is known at the end."""

    def __init__(self, file: BinaryIO, media_type: str) -> None:
        self._file = file
        self._media_type = media_type
        self._hash = hashlib.sha256()
        self._size = 0
        self.blob = Blob(media_type, "", 0)

    def writable(self) -> bool:
        """It is there to be written to."""
        return True

    def write(self, data: Any) -> int:
        """Add bytes."""
        self._hash.update(data)
        self._size += len(data)
        return self._file.write(data)

    def finish(self) -> None:
        """No more bytes come."""
        self.blob = Blob(self._media_type, f"sha256:{self._hash.hexdigest()}", self._size)


def _subject(entry: Entry) -> str:
    return f"image {entry.notes.get(REFERENCE, '')}"


def _named(entry: Entry, layers: tuple[Blob, ...], config: dict[str, Any]) -> Image:
    return Image(entry.notes.get(REFERENCE, ""), entry.manifest.digest, entry.notes.get(CREATED, ""), layers, config)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


