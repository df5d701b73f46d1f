"""Images out of files: what `docker save` writes, in its old form (manifest.json) and as an OCI layout, packed or in a folder.

An archive's names are keys here and never paths of ours. Every file in it becomes a blob of the store first; the documents then say which
of them belong to an image, and the others are garbage.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gasang.core.errors import BadInputError, UsageError
from gasang.images.archives.common import CONTAINERD_NAME, read_pieces
from gasang.images.compression import sniff
from gasang.images.containers import ContainerImage, Containers
from gasang.images.content.content import REFERENCE, Content, canonical, digest_of
from gasang.images.content.garbage import collect
from gasang.images.descriptors import DOCUMENT_MAX, Blob, parse_descriptor, parse_document
from gasang.images.layers.pack import LayerWriter
from gasang.images.layers.read import FILE, HARD_LINK, SYMBOLIC_LINK, ArchiveReader
from gasang.images.layers.stream import inflate
from gasang.images.reference import Reference, parse_reference
from gasang.images.registry.manifests import (
    INDEXES,
    MANIFESTS,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Offer,
    choose,
    diff_ids_of,
    media_type_of,
    parse_image_manifest,
    parse_offers,
)
from gasang.images.registry.platform import Platform, host_platform

_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_LINKS_MAX = 8


@dataclass(frozen=True)
class _Found:
    """An image that an archive holds, and its names."""

    manifest: Blob
    names: tuple[Reference, ...]


def load(pieces: Iterable[bytes], content: Content, *, platform: Platform | None = None, name: str = "") -> list[ContainerImage]:
    """Have the images of an archive, compressed or not, in the store. `name` is for a layout's image that has none.

    Raises BadInputError for what is damaged or no archive of images, OutOfSpaceError.
    """
    stream = iter(pieces)
    subject = "archive of images"
    archive = inflate(lambda: next(stream, b""), subject)

    def members(loader: _Loader) -> None:
        for member in ArchiveReader(archive, subject).members():
            key = posixpath.normpath(member.name).lstrip("/")
            if member.kind == FILE:
                loader.keep(key, member.content)
            elif member.kind in (SYMBOLIC_LINK, HARD_LINK):
                base = posixpath.dirname(key) if member.kind == SYMBOLIC_LINK else ""
                loader.links[key] = posixpath.normpath(posixpath.join(base, member.link)).lstrip("/")

    return _load(content, members, platform or host_platform(), name, subject)


def load_layout(folder: Path, content: Content, *, platform: Platform | None = None, name: str = "") -> list[ContainerImage]:
    """Have the images of an OCI layout in the store. Raises BadInputError, OutOfSpaceError."""

    def members(loader: _Loader) -> None:
        for path in [folder / "oci-layout", folder / "index.json", *sorted((folder / "blobs" / "sha256").glob("*"))]:
            if path.is_file() and not path.is_symlink():
                loader.keep(path.relative_to(folder).as_posix(), read_pieces(path))

    return _load(content, members, platform or host_platform(), name, f"layout {folder}")


def _load(content: Content, members: Callable[[_Loader], None], platform: Platform, name: str, subject: str) -> list[ContainerImage]:
    content.prepare()
    containers = Containers(content)
    try:
        with content.leases.take() as lease:
            loader = _Loader(content, lease.hold, platform, subject)
            members(loader)
            loaded = []
            for found in loader.images(name):
                image = containers.load(found.manifest)
                containers.layers_of(image)
                for reference in found.names or (None,):
                    image = containers.tag(found.manifest, reference)
                loaded.append(image)
    finally:
        collect(content)
    return loaded


class _Loader:
    """The files of an archive as blobs, and what its documents make of them."""

    def __init__(self, content: Content, hold: Callable[..., None], platform: Platform, subject: str) -> None:
        self._content = content
        self._hold = hold
        self._platform = platform
        self._subject = subject
        self._files: dict[str, Blob] = {}
        self.links: dict[str, str] = {}

    def keep(self, key: str, pieces: Iterable[bytes]) -> None:
        """Store a file of the archive. Raises BadInputError where its name promises another digest."""
        writer = LayerWriter(self._content, self._hold, compressed=False)
        try:
            for piece in pieces:
                writer.write(piece)
            blob = writer.finish().blob
        finally:
            writer.close()
        named = _BLOB.fullmatch(key)
        if named and blob.digest != f"sha256:{named[1]}":
            raise self._damaged(f"{key} in it has another content than its name says")
        self._files[key] = blob

    def images(self, name: str) -> list[_Found]:
        """What the archive holds. Raises BadInputError where that is nothing."""
        found: dict[str, _Found] = {}
        if "index.json" in self._files:
            for image in self._of_layout(name):
                self._merge(found, image)
        if "manifest.json" in self._files:
            configs = {self._config_of(image.manifest): image for image in found.values()}
            for item in self._items():
                self._merge(found, self._of_item(item, configs))
        if not found:
            raise self._damaged("it holds no image")
        return list(found.values())

    def _merge(self, found: dict[str, _Found], image: _Found) -> None:
        before = found.get(image.manifest.digest)
        names = dict.fromkeys((*(before.names if before else ()), *image.names))
        found[image.manifest.digest] = _Found(image.manifest, tuple(names))

    def _of_layout(self, name: str) -> Iterator[_Found]:
        listed = self._json("index.json").get("manifests")
        if not isinstance(listed, list):
            raise self._damaged("its index is damaged")
        for item in listed:
            blob = self._resolved(parse_descriptor(item, self._subject))
            if blob is not None:
                yield _Found(blob, self._names(item.get("annotations"), name))

    def _resolved(self, blob: Blob) -> Blob | None:
        """The manifest that an entry leads to; None for one of another kind, or for another platform and left out."""
        if not self._content.has(blob):
            return None
        raw = self._content.read(blob, self._subject)
        kind = media_type_of(parse_document(raw, self._subject), blob.media_type)
        if kind in INDEXES:
            offers = [offer for offer in parse_offers(raw, self._subject) if self._content.has(offer.manifest)]
            chosen = self._chosen(offers)
            raw = self._content.read(chosen, self._subject)
            blob, kind = chosen, media_type_of(parse_document(raw, self._subject), chosen.media_type)
        if kind not in MANIFESTS:
            raise self._damaged("its index lists what is no image")
        parse_image_manifest(raw, blob, self._subject)
        return Blob(kind, blob.digest, blob.size)

    def _chosen(self, offers: list[Offer]) -> Blob:
        return offers[0].manifest if len(offers) == 1 else choose(offers, self._platform, self._subject)

    def _names(self, notes: object, name: str) -> tuple[Reference, ...]:
        values = notes if isinstance(notes, dict) else {}
        for text in (values.get(CONTAINERD_NAME), values.get(REFERENCE)):
            if isinstance(text, str) and (":" in text or "/" in text):
                with suppress(UsageError):
                    return (parse_reference(text).qualified(),)
        return (parse_reference(name).qualified(),) if name else ()

    def _config_of(self, manifest: Blob) -> str:
        return parse_image_manifest(self._content.read(manifest, self._subject), manifest, self._subject).config.digest

    def _items(self) -> list[dict[str, Any]]:
        blob = self._blob("manifest.json")
        if blob.size > DOCUMENT_MAX:
            raise self._damaged("its manifest.json is too long")
        try:
            items = json.loads(self._content.read(blob, self._subject))
        except (ValueError, RecursionError) as fault:
            raise self._damaged("its manifest.json is no JSON") from fault
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self._damaged("its manifest.json is no list of images")
        return items

    def _of_item(self, item: dict[str, Any], known: dict[str, _Found]) -> _Found:
        """An image of the old form: its manifest is made here."""
        config_name, layer_names, tags = item.get("Config"), item.get("Layers") or [], item.get("RepoTags") or []
        if not isinstance(config_name, str) or not _are_texts(layer_names) or not _are_texts(tags):
            raise self._damaged("its manifest.json is damaged")
        names = tuple(parse_reference(tag).qualified() for tag in tags)
        config = self._blob(config_name)
        if config.digest in known:
            return _Found(known[config.digest].manifest, names)
        raw = self._content.read(config, self._subject)
        layers = [self._layer(layer) for layer in layer_names]
        diff_ids_of(parse_document(raw, self._subject), len(layers), self._subject)
        self._content.keep_document(raw, "")
        return _Found(self._make_manifest(config, layers), names)

    def _make_manifest(self, config: Blob, layers: list[Blob]) -> Blob:
        document = {
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": Blob(OCI_CONFIG, config.digest, config.size).descriptor(),
            "layers": [layer.descriptor() for layer in layers],
        }  # fmt: skip
        raw = canonical(document)
        self._hold(digest_of(raw))
        return self._content.keep_document(raw, OCI_MANIFEST)

    def _layer(self, name: str) -> Blob:
        """A layer, whatever it is compressed with."""
        blob = self._blob(name)
        with self._content.path(blob).open("rb") as file:
            form = sniff(file.read(6))
        return Blob(OCI_LAYER + {"gz": "+gzip", "zst": "+zstd"}.get(form, ""), blob.digest, blob.size)

    def _blob(self, name: str) -> Blob:
        """A file of the archive, links followed. Raises BadInputError."""
        key = posixpath.normpath(name).lstrip("/")
        for _ in range(_LINKS_MAX):
            if key in self._files:
                return self._files[key]
            key = self.links.get(key, "")
        shown = "".join(sign if sign.isprintable() else "?" for sign in name[:80])
        raise self._damaged(f"it lacks {shown}")

    def _json(self, name: str) -> dict[str, Any]:
        return self._content.document(self._blob(name), self._subject)

    def _damaged(self, cause: str) -> BadInputError:
        return BadInputError(self._subject, cause, "make or fetch it again")


def _are_texts(items: object) -> bool:
    return isinstance(items, list) and all(isinstance(item, str) for item in items)
