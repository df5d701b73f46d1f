"""Images written as files: as `docker save` writes them, in its old form (manifest.json) and as an OCI layout, packed or in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gasang.core.errors import UsageError
from gasang.images.archives.common import CONTAINERD_NAME, hex_of, read_pieces
from gasang.images.containers import ContainerImage, Containers
from gasang.images.content.content import LAYOUT, REFERENCE, Content, canonical
from gasang.images.descriptors import Blob
from gasang.images.layers.write import FOLDER, Entry, TarWriter
from gasang.images.reference import parse_reference
from gasang.images.registry.manifests import OCI_INDEX, parse_image_manifest
from gasang.images.spool import out_of_space


def save(content: Content, names: list[str], sink: Callable[[bytes], object]) -> None:
    """Write images as an archive that Docker, Podman and we can load: both forms in one. Raises NotFoundError."""
    writer = TarWriter(sink)
    with content.leases.take() as lease:
        documents, blobs = _saved(content, names, lease.hold)
        writer.add(Entry(b"blobs", FOLDER, 0o755))
        writer.add(Entry(b"blobs/sha256", FOLDER, 0o755))
        for blob in blobs:
            writer.add(Entry(f"blobs/sha256/{hex_of(blob)}".encode(), size=blob.size), read_pieces(content.path(blob)))
        for name, raw in documents.items():
            writer.add(Entry(name.encode(), size=len(raw)), [raw])
    writer.close()


def save_layout(content: Content, names: list[str], folder: Path) -> None:
    """Write images as an OCI layout into a folder, which is made. Raises NotFoundError, OutOfSpaceError."""
    with content.leases.take() as lease:
        documents, blobs = _saved(content, names, lease.hold)
        try:
            (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            for blob in blobs:
                with (folder / "blobs" / "sha256" / hex_of(blob)).open("wb") as file:
                    for piece in read_pieces(content.path(blob)):
                        file.write(piece)
            for name in ("oci-layout", "index.json"):
                (folder / name).write_bytes(documents[name])
        except OSError as fault:
            raise out_of_space(fault, folder) from fault


def _saved(content: Content, names: list[str], hold: Callable[..., None]) -> tuple[dict[str, bytes], list[Blob]]:
    """(documents by name, blobs) of an archive with these images."""
    containers = Containers(content)
    chosen: dict[str, tuple[ContainerImage, set[str]]] = {}
    for name in names:
        image = containers.find(name)
        hold(image.digest, image.id, *(layer.digest for layer in image.layers))
        chosen.setdefault(image.digest, (image, set()))[1].update(_tags_meant(name, image))
    blobs: dict[str, Blob] = {}
    entries, items = [], []
    for image, tags in chosen.values():
        config = parse_image_manifest(content.read(image.manifest, image.name()), image.manifest, image.name()).config
        blobs.update({blob.digest: blob for blob in (*image.layers, config, image.manifest)})
        entries += _index_entries(image, sorted(tags))
        shown = [str(parse_reference(tag).familiar()) for tag in sorted(tags)]
        layers = [f"blobs/sha256/{hex_of(layer)}" for layer in image.layers]
        items.append({"Config": f"blobs/sha256/{hex_of(config)}", "RepoTags": shown, "Layers": layers})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    documents = {"index.json": canonical(index), "manifest.json": json.dumps(items).encode(), "oci-layout": canonical(LAYOUT)}
    return documents, list(blobs.values())


def _tags_meant(name: str, image: ContainerImage) -> list[str]:
    """The names that go along: the one that was said; none where an ID was."""
    with suppress(UsageError):
        said = str(parse_reference(name).qualified())
        return [said] if said in image.references and "@" not in said else []
    return []


def _index_entries(image: ContainerImage, tags: list[str]) -> list[dict[str, Any]]:
    base = {**image.manifest.descriptor(), "platform": image.platform.document()}
    if not tags:
        return [base]
    return [{**base, "annotations": {CONTAINERD_NAME: tag, REFERENCE: parse_reference(tag).tag}} for tag in tags]
