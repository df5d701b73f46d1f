"""Container images in the content store: found, listed, named, removed.

In the index each name of an image is an entry; an image that lost its last name stays as an entry without one, until `prune`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from gasang.core.errors import BadInputError, NotFoundError, StateError, UsageError
from gasang.images.content.content import CREATED, REFERENCE, Content, canonical, digest_of
from gasang.images.content.garbage import collect
from gasang.images.descriptors import Blob, Entry, parse_document
from gasang.images.layers.folders import LayerFolders
from gasang.images.layers.stream import inflate
from gasang.images.reference import Reference, parse_reference
from gasang.images.registry.manifests import OCI_CONFIG, OCI_MANIFEST, Manifest, diff_ids_of, parse_image_manifest
from gasang.images.registry.platform import Platform, read_platform
from gasang.images.store import KIND

CONTAINER = "container"
DIGESTS = "org.gasang.repository.digests"
"""The annotation with the repository@digest names, divided by blanks, that an image was pulled or pushed by."""
_HEX = re.compile(r"(?:sha256:)?[0-9a-f]{1,64}")


@dataclass(frozen=True)
class ContainerImage:
    """An image: its configuration's digest (Docker's image ID), its manifest, its names, its configuration, its layers, lowest first."""

    id: str
    manifest: Blob
    references: tuple[str, ...]
    repository_digests: tuple[str, ...]
    config: dict[str, Any]
    layers: tuple[Blob, ...]
    diff_ids: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return self.manifest.digest

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return read_platform(self.config)

    @property
    def created(self) -> str:
        """When it was made (RFC 3339), or nothing."""
        made = self.config.get("created")
        return made if isinstance(made, str) else ""

    @property
    def history(self) -> list[dict[str, Any]]:
        """How it was made, oldest step first."""
        steps = self.config.get("history")
        return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []

    @property
    def compressed_size(self) -> int:
        """Bytes of its layers as they are transferred."""
        return sum({layer.digest: layer.size for layer in self.layers}.values())

    def name(self) -> str:
        """A name for messages."""
        return self.references[0] if self.references else self.id


class Containers:
    """The container images of a store."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.layers = LayerFolders(content.layers)

    # reading

    def images(self) -> list[ContainerImage]:
        """Every image, the newest first; damaged ones are left out."""
        images = []
        for entries in self._by_manifest(self.content.entries()).values():
            try:
                images.append(self._image(entries))
            except BadInputError:
                continue
        return sorted(images, key=lambda image: image.created, reverse=True)

    def find(self, text: str) -> ContainerImage:
        """The image of a name, of an ID, or of an ID's beginning. Raises NotFoundError, UsageError, StateError where several begin so."""
        named = self._named(text)
        if named is not None:
            return named
        if _HEX.fullmatch(text):
            return self._by_id(text)
        raise _unknown(text)

    def _named(self, text: str) -> ContainerImage | None:
        try:
            reference = parse_reference(text).qualified()
        except UsageError:
            if _HEX.fullmatch(text):
                return None
            raise
        entries = self.content.entries()
        for entry in entries:
            if is_container(entry) and _answers(entry, reference):
                return self._image(self._by_manifest(entries)[entry.manifest.digest])
        return None

    def _by_id(self, text: str) -> ContainerImage:
        beginning = "sha256:" + text.removeprefix("sha256:")
        found = [image for image in self.images() if image.id.startswith(beginning) or image.digest.startswith(beginning)]
        if len({image.id for image in found}) > 1:
            raise StateError(f"image {text}", f"{len(found)} images begin so", "write more of it")
        if not found:
            raise _unknown(text)
        return found[0]

    def _by_manifest(self, entries: Iterable[Entry]) -> dict[str, list[Entry]]:
        groups: dict[str, list[Entry]] = {}
        for entry in entries:
            if is_container(entry):
                groups.setdefault(entry.manifest.digest, []).append(entry)
        return groups

    def _image(self, entries: list[Entry]) -> ContainerImage:
        blob = entries[0].manifest
        names = tuple(sorted({entry.notes[REFERENCE] for entry in entries if entry.notes.get(REFERENCE)}))
        digests = tuple(sorted({digest for entry in entries for digest in entry.notes.get(DIGESTS, "").split()}))
        return self.load(blob, names, digests)

    def load(self, blob: Blob, names: tuple[str, ...] = (), digests: tuple[str, ...] = ()) -> ContainerImage:
        """The image of a manifest. Raises BadInputError where part of it is missing or damaged."""
        subject = f"image {names[0] if names else blob.digest}"
        manifest = parse_image_manifest(self.content.read(blob, subject), blob, subject)
        config = parse_document(self.content.read(manifest.config, subject), subject)
        for layer in manifest.layers:
            self.content.check_size(layer, subject)
        return ContainerImage(
            manifest.config.digest, blob, names, digests, config, manifest.layers, diff_ids_of(config, len(manifest.layers), subject)
        )

    def layers_of(self, image: ContainerImage) -> list[Path]:
        """The lower directories of overlayfs, the lowest first; a layer that is not unpacked is unpacked. Raises BadInputError."""
        paths = []
        for blob, diff_id in zip(image.layers, image.diff_ids, strict=True):
            if not self.layers.has(diff_id):
                subject = f"layer {blob.digest[:19]} of {image.name()}"
                with self._opened(blob, subject) as file:
                    self.layers.unpack(diff_id, inflate(partial(file.read, 1 << 18), subject), subject)
            paths.append(self.layers.path(diff_id))
        return paths

    def _opened(self, blob: Blob, subject: str) -> Any:
        self.content.check_size(blob, subject)
        return self.content.path(blob).open("rb", buffering=0)

    def size(self, image: ContainerImage) -> int:
        """Bytes of content in its unpacked layers."""
        return sum(self.layers.size(diff_id) for diff_id in set(image.diff_ids))

    # changing

    def add(self, config: dict[str, Any], layers: list[Blob], hold: Callable[..., None]) -> Blob:
        """Make an image of stored layers and its configuration, without a name yet. The manifest. `hold` is a lease's."""
        raw_config = canonical(config)
        settings = self._keep(raw_config, OCI_CONFIG, hold)
        listed = [layer.descriptor() for layer in layers]
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": settings.descriptor(), "layers": listed}
        return self._keep(canonical(document), OCI_MANIFEST, hold)

    def keep(self, manifest: Manifest, raw_config: bytes, hold: Callable[..., None]) -> None:
        """Have a manifest and a configuration as they are."""
        self._keep(raw_config, manifest.config.media_type, hold)
        self._keep(manifest.raw, manifest.blob.media_type, hold)

    def _keep(self, raw: bytes, media_type: str, hold: Callable[..., None]) -> Blob:
        hold(digest_of(raw))
        return self.content.keep_document(raw, media_type)

    def tag(self, manifest: Blob, reference: Reference | None, *digests: str) -> ContainerImage:
        """Give an image a name (None: none, only its place in the list); whoever had it before keeps its place without it."""
        name = str(reference.qualified()) if reference else ""
        with self.content.changing_index() as entries:
            before = [entry for entry in entries if entry.manifest.digest == manifest.digest]
            known = {digest for entry in before for digest in entry.notes.get(DIGESTS, "").split()} | set(digests)
            notes = {KIND: CONTAINER, CREATED: datetime.now(UTC).isoformat(timespec="seconds")}
            if name:
                notes[REFERENCE] = name
            if known:
                notes[DIGESTS] = " ".join(sorted(known))
            if not any({**entry.notes, CREATED: ""} == {**notes, CREATED: ""} for entry in before):
                _put(entries, Entry(manifest, notes), name)
            group = [entry for entry in entries if entry.manifest.digest == manifest.digest]
        return self._image(group)

    def remove(self, text: str, *, force: bool = False) -> tuple[list[str], list[str]]:
        """Take a name from an image, or, told its ID, all its names; with the last one it goes. (names taken, digests deleted).

        Raises NotFoundError; StateError if a container needs it, or if an ID has several names, unless `force`.
        """
        image = self.find(text)
        named = self._named(text)
        name = str(parse_reference(text).qualified()) if named is not None else ""
        taken = [name] if name in image.references else list(image.references)
        last = set(taken) >= set(image.references)
        users = sorted(owner for owner, needed in self.content.pins.owners().items() if image.digest in needed)
        if users and last and not force:
            raise StateError(f"image {text}", f"container {users[0][:12]} needs it", "remove that first, or force it")
        if not name and len(taken) > 1 and not force:
            raise StateError(f"image {text}", "it has several names", "name one, or force it")
        with self.content.changing_index() as entries:
            entries[:] = [
                entry for entry in entries
                if not (is_container(entry) and entry.manifest.digest == image.digest and (last or entry.notes.get(REFERENCE) in taken))
            ]  # fmt: skip
        if not last:
            return taken, []
        collect(self.content)
        return taken, [] if users else [image.id]

    def prune(self, *, everything: bool = False) -> tuple[list[ContainerImage], int]:
        """Remove nameless images, or with `everything` all that no container needs; (which, bytes of blobs freed)."""
        pinned = self.content.pins.needed()
        gone = [image for image in self.images() if image.digest not in pinned and (everything or not image.references)]
        digests = {image.digest for image in gone}
        with self.content.changing_index() as entries:
            entries[:] = [entry for entry in entries if not (is_container(entry) and entry.manifest.digest in digests)]
        return gone, collect(self.content)

    def pin(self, owner: str, image: ContainerImage) -> None:
        """Have a container need an image."""
        self.content.pins.pin(owner, image.digest)

    def unpin(self, owner: str) -> None:
        """The container is gone."""
        self.content.pins.unpin(owner)


def is_container(entry: Entry) -> bool:
    """Whether an entry of the index is a container image's."""
    return entry.notes.get(KIND) == CONTAINER


def is_nameless(entry: Entry) -> bool:
    """Whether it holds an image that has lost its names."""
    return is_container(entry) and REFERENCE not in entry.notes


def _put(entries: list[Entry], fresh: Entry, name: str) -> None:
    """Add an entry; the name is taken from whoever has it, and an image that has a name needs no entry without one."""
    _untag(entries, name)
    same = [entry for entry in entries if entry.manifest.digest == fresh.manifest.digest]
    entries[:] = [entry for entry in entries if not (entry in same and is_nameless(entry))]
    if name or not any(entry in same for entry in entries):
        entries.append(fresh)


def _untag(entries: list[Entry], name: str) -> None:
    """Take a name from whoever has it."""
    for index, entry in enumerate(entries):
        if is_container(entry) and name and entry.notes.get(REFERENCE) == name:
            notes = {key: value for key, value in entry.notes.items() if key != REFERENCE}
            entries[index] = Entry(entry.manifest, notes)


def _answers(entry: Entry, reference: Reference) -> bool:
    """Whether an entry is what a reference names, also by digest alone."""
    if entry.notes.get(REFERENCE) == str(reference):
        return True
    if not reference.digest:
        return False
    by_digest = f"{reference.repository}@{reference.digest}"
    return by_digest in entry.notes.get(DIGESTS, "").split() or (
        entry.manifest.digest == reference.digest and entry.notes.get(REFERENCE, "").startswith(reference.repository + ":")
    )


def _unknown(text: str) -> NotFoundError:
    return NotFoundError(f"image {text}", "it is not here", f"try gasang pull {text}")

