"""Images of virtual machines in the content store (content/content.py).

Rules: a blob is written under another name, synced, then renamed, so what is there is whole; an image is either there or not; who
makes one holds the lock `lock`, and begins and ends by removing garbage, so that what an interrupted one left does not outlive the next.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from gasang.core.errors import BadInputError, NotFoundError, StateError
from gasang.host.files import lock_file
from gasang.images.content.content import CREATED, MANIFEST, NEW, REFERENCE, Content, canonical
from gasang.images.content.garbage import collect
from gasang.images.content.leases import Lease
from gasang.images.content.locks import locked, open_lock
from gasang.images.descriptors import Blob, Entry, parse_manifest

CONFIG = "application/vnd.gasang.vm.config.v1+json"
DISK = "application/vnd.gasang.vm.disk.raw+zstd"
KERNEL = "application/vnd.gasang.vm.kernel"
INITRD = "application/vnd.gasang.vm.initrd"
KIND = "org.gasang.kind"
"""The annotation that tells what runs an image of the index; a virtual machine's has none."""


ARCHITECTURE = "riscv64"
"""The architecture of machines where none is named."""
ARCHITECTURE_NOTE = "org.gasang.architecture"
"""The annotation that tells an image's; one of ARCHITECTURE has none."""


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


class Store(Content):
    """The images of virtual machines in a store: those of `architecture` are found, made and removed by reference, all are listed."""

    def __init__(self, root: Path, architecture: str = ARCHITECTURE) -> None:
        super().__init__(root)
        self.architecture = architecture

    # reading

    def images(self) -> list[Image]:
        """Every image, by reference. Raises BadInputError where the store is damaged."""
        found = (self._image(entry) for entry in self.entries() if not entry.notes.get(KIND))
        return sorted(found, key=lambda image: image.reference)

    def resolve(self, reference: str) -> Image:
        """The image of a reference. Raises NotFoundError with what to do, BadInputError where it is damaged."""
        return self._image(self._entry(reference))

    def expect(self, reference: str) -> None:
        """Raises NotFoundError unless there is an image of this reference, be it damaged."""
        self._entry(reference)

    def _entry(self, reference: str) -> Entry:
        for entry in self.entries():
            if self._is(entry, reference):
                return entry
        raise NotFoundError(f"image {reference}", "it is not here", f"try gasang pull {reference}")

    def _is(self, entry: Entry, reference: str) -> bool:
        notes = entry.notes
        return not notes.get(KIND) and (notes.get(REFERENCE), notes.get(ARCHITECTURE_NOTE, ARCHITECTURE)) == (reference, self.architecture)

    def _others(self, entries: list[Entry], reference: str) -> list[Entry]:
        return [entry for entry in entries if not self._is(entry, reference)]

    def _image(self, entry: Entry) -> Image:
        subject = _subject(entry)
        config, layers = parse_manifest(self.read(entry.manifest, subject), subject)
        settings = self.document(config, subject)
        for layer in layers:
            self.check_size(layer, subject)
        return _named(entry, layers, settings)

    # changing

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock of those who make images of virtual machines.

        What is added but not tagged in the block is gone after it, and so is what an interrupted change left. Raises StateError if
        another process holds it, OutOfSpaceError on a full disk.
        """
        self.prepare()
        descriptor = open_lock(self.root / "lock")
        try:
            if not lock_file(descriptor, shared=False):
                raise StateError(f"store {self.root}", "another gasang is changing it", "wait for that one to end, then try again")
            self._collect()
            try:
                with self.leases.take() as self._lease:
                    yield
            finally:
                self._lease = None
                self._collect()
        finally:
            os.close(descriptor)

    _lease: Lease | None = None

    def add_bytes(self, data: bytes, media_type: str) -> Blob:
        """Store bytes. The lock is held."""
        with self.writer(media_type) as writer:
            writer.write(data)
        return writer.blob

    @contextmanager
    def writer(self, media_type: str) -> Iterator[BlobWriter]:
        """Store what is written in the block. The lock is held. Raises OutOfSpaceError on a full disk; nothing half-written stays."""
        with self.new_file() as (file, put):
            writer = BlobWriter(file, media_type)
            yield writer
            writer.finish()
            if self._lease is not None:
                self._lease.hold(writer.blob.digest)
            put(self.path(writer.blob))

    def tag(self, reference: str, layers: list[Blob], config: dict[str, Any]) -> Image:
        """Make stored blobs an image, replacing one of the same reference. The lock is held."""
        settings = self.add_bytes(canonical(config), CONFIG)
        manifest = {
            "schemaVersion": 2, "mediaType": MANIFEST, "config": settings.descriptor(), "layers": [layer.descriptor() for layer in layers],
        }  # fmt: skip
        blob = self.add_bytes(canonical(manifest), MANIFEST)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        notes = {REFERENCE: reference, CREATED: created}
        entry = Entry(blob, notes if self.architecture == ARCHITECTURE else {**notes, ARCHITECTURE_NOTE: self.architecture})
        with self.changing_index() as entries:
            entries[:] = [*self._others(entries, reference), entry]
        return self._image(entry)

    def remove(self, reference: str) -> Image:
        """Remove an image and what only it needed, also a damaged one. The lock is held. Raises NotFoundError."""
        entry = self._entry(reference)
        try:
            image = self._image(entry)
        except BadInputError:
            image = _named(entry, (), {})
        with self.changing_index() as entries:
            entries[:] = self._others(entries, reference)
        return image

    def _collect(self) -> None:
        """Remove garbage, and what an interrupted change left. What cannot be removed now waits for the next change."""
        collect(self)
        with locked(self.lock), suppress(OSError):  # indexes are written beside, under that lock
            for path in self.root.glob(f"{NEW}*"):
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


def _subject(entry: Entry) -> str:
    return f"image {entry.notes.get(REFERENCE, '')}"


def _named(entry: Entry, layers: tuple[Blob, ...], config: dict[str, Any]) -> Image:
    return Image(entry.notes.get(REFERENCE, ""), entry.manifest.digest, entry.notes.get(CREATED, ""), layers, config)
