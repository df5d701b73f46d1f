"""The content store: blobs named by their SHA-256 and an index of references, in the OCI image layout (image-spec, image-layout.md).

Rules: a blob is written under another name, synced, then renamed, so what is there is whole; the index is replaced the same way, so an
image is either there or not; who changes anything holds the lock. Blobs that no index entry reaches are garbage, removed with an image.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from gasang.core.errors import BadInputError, NotFoundError, StateError
from gasang.host.files import lock_file
from gasang.images.spool import out_of_space

LAYOUT = {"imageLayoutVersion": "1.0.0"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.gasang.vm.config.v1+json"
DISK = "application/vnd.gasang.vm.disk.packed+zstd"
KERNEL = "application/vnd.gasang.vm.kernel"
INITRD = "application/vnd.gasang.vm.initrd"
REFERENCE = "org.opencontainers.image.ref.name"
CREATED = "org.opencontainers.image.created"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DOCUMENT_MAX = 16 << 20


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
        """The image of a reference. Raises NotFoundError with what to do."""
        for entry in self._entries():
            if entry.get("annotations", {}).get(REFERENCE) == reference:
                return self._image(entry)
        raise NotFoundError(f"image {reference}", "it is not here", f"try gasang pull {reference}")

    def path(self, blob: Blob) -> Path:
        """The file of a blob. Raises BadInputError for a digest that is none."""
        if not _DIGEST.fullmatch(blob.digest):
            raise BadInputError(f"store {self.root}", f"{blob.digest[:80]!r} is no digest", "remove the image and pull it again")
        return self._blobs / blob.digest.removeprefix("sha256:")

    def _entries(self) -> list[dict[str, Any]]:
        try:
            document = json.loads((self.root / "index.json").read_bytes())
            entries: list[dict[str, Any]] = document["manifests"]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise BadInputError(f"store {self.root}", f"its index is damaged ({error})", "remove index.json and pull again") from error
        return entries

    def _image(self, entry: dict[str, Any]) -> Image:
        notes = entry.get("annotations", {})
        reference = str(notes.get(REFERENCE, ""))
        manifest = self._document(_blob_of(entry), reference)
        config = self._document(_blob_of(manifest.get("config", {})), reference)
        layers = tuple(_blob_of(layer) for layer in manifest.get("layers", []))
        return Image(reference, str(entry["digest"]), str(notes.get(CREATED, "")), layers, config)

    def _document(self, blob: Blob, reference: str) -> dict[str, Any]:
        try:
            raw = self.path(blob).read_bytes()
        except OSError as error:
            raise BadInputError(f"image {reference}", "part of it is missing from the store", "remove it and pull it again") from error
        if len(raw) > _DOCUMENT_MAX or "sha256:" + hashlib.sha256(raw).hexdigest() != blob.digest:
            raise BadInputError(f"image {reference}", "part of it is damaged in the store", "remove it and pull it again")
        document: dict[str, Any] = json.loads(raw)
        return document

    # changing

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the store's lock. Raises StateError if another process does, OutOfSpaceError on a full disk."""
        try:
            self._blobs.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise out_of_space(error, self.root) from error
        try:
            if not lock_file(descriptor, shared=False):
                raise StateError(f"store {self.root}", "another gasang is changing it", "wait for that one to end, then try again")
            yield
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
        handle, name = tempfile.mkstemp(dir=self.root, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                writer = BlobWriter(file, media_type)
                yield writer
                file.flush()
                os.fsync(file.fileno())
            writer.finish()
            Path(name).replace(self.path(writer.blob))
        except OSError as error:
            raise out_of_space(error, self.root) from error
        finally:
            Path(name).unlink(missing_ok=True)

    def tag(self, reference: str, layers: list[Blob], config: dict[str, Any]) -> Image:
        """Make stored blobs an image, replacing one of the same reference. The lock is held."""
        settings = self.add_bytes(_json(config), CONFIG)
        manifest = {
            "schemaVersion": 2, "mediaType": MANIFEST, "config": settings.descriptor(), "layers": [layer.descriptor() for layer in layers],
        }  # fmt: skip
        blob = self.add_bytes(_json(manifest), MANIFEST)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {**blob.descriptor(), "annotations": {REFERENCE: reference, CREATED: created}}
        self._replace_index([*self._others(reference), entry])
        self.collect()
        return self._image(entry)

    def remove(self, reference: str) -> Image:
        """Remove an image and what only it needed. The lock is held. Raises NotFoundError."""
        image = self.resolve(reference)
        self._replace_index(self._others(reference))
        self.collect()
        return image

    def _others(self, reference: str) -> list[dict[str, Any]]:
        return [entry for entry in self._entries() if entry.get("annotations", {}).get(REFERENCE) != reference]

    def _replace_index(self, entries: list[dict[str, Any]]) -> None:
        self._replace("oci-layout", LAYOUT)
        self._replace("index.json", {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})

    def _replace(self, name: str, document: dict[str, Any]) -> None:
        handle, temporary = tempfile.mkstemp(dir=self.root, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_json(document))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.root / name)
        except OSError as error:
            raise out_of_space(error, self.root) from error
        finally:
            Path(temporary).unlink(missing_ok=True)

    def collect(self) -> None:
        """Remove blobs no image needs, and what an interrupted change left. The lock is held."""
        needed: set[str] = set()
        for entry in self._entries():
            manifest = self._document(_blob_of(entry), "")
            needed |= {entry["digest"], manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
        for path in self._blobs.iterdir():
            if f"sha256:{path.name}" not in needed:
                path.unlink()
        for path in self.root.glob(".new-*"):
            path.unlink()


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


def _blob_of(descriptor: dict[str, Any]) -> Blob:
    digest, size = descriptor.get("digest"), descriptor.get("size")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest) or not isinstance(size, int):
        raise BadInputError("image store", "a descriptor in it is damaged", "remove the image and pull it again")
    return Blob(str(descriptor.get("mediaType", "")), digest, size)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


