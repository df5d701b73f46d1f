"""Manifests and indexes of both families, Docker's schema 2 and OCI's (image-spec manifest.md, image-index.md), pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gasang.core.errors import BadInputError, NotFoundError, UnsupportedError
from gasang.images.descriptors import Blob, parse_descriptor, parse_document
from gasang.images.registry.platform import Platform, read_platform, suits

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_INDEX)
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
ACCEPTED = (*MANIFESTS, *INDEXES)
_LAYERS = (
    OCI_LAYER,
    DOCKER_LAYER,
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
)
_COMPRESSIONS = ("", "+gzip", "+zstd", ".gzip", ".zstd")
LAYERS_MAX = 4096
_HINT = "pull another image"


@dataclass(frozen=True)
class Manifest:
    """A container image's manifest."""

    blob: Blob
    raw: bytes
    config: Blob
    layers: tuple[Blob, ...]


@dataclass(frozen=True)
class Offer:
    """An entry of an index: a manifest and what it is for."""

    manifest: Blob
    platform: Platform


def media_type_of(document: dict[str, Any], told: str = "") -> str:
    """A document's media type: what it says itself, else what its sender said, else what its fields look like."""
    own = document.get("mediaType")
    if isinstance(own, str) and own:
        return own
    if told in ACCEPTED:
        return told
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST


def parse_image_manifest(raw: bytes, blob: Blob, subject: str) -> Manifest:
    """A container image's manifest. Raises BadInputError where it is damaged, UnsupportedError where it describes something else."""
    document = parse_document(raw, subject, _HINT)
    if document.get("schemaVersion") != 2:
        raise UnsupportedError(subject, "its manifest is of the old kind, schema 1", "ask who publishes it to push it anew")
    config = parse_descriptor(document.get("config"), subject, _HINT)
    if config.media_type not in CONFIGS:
        raise UnsupportedError(subject, f"it is no container image but {config.media_type[:80] or 'something unnamed'}", _HINT)
    listed = document.get("layers")
    if not isinstance(listed, list) or len(listed) > LAYERS_MAX:
        raise BadInputError(subject, "the list of its layers is damaged", _HINT)
    layers = tuple(parse_descriptor(item, subject, _HINT) for item in listed)
    for layer in layers:
        if not is_layer(layer.media_type):
            raise UnsupportedError(subject, f"a layer of it is of the kind {layer.media_type[:80]}", _HINT)
    return Manifest(blob, raw, config, layers)


def is_layer(media_type: str) -> bool:
    """Whether a media type is that of a file system layer."""
    return any(media_type.removesuffix(ending) in _LAYERS for ending in _COMPRESSIONS)


def parse_offers(raw: bytes, subject: str) -> list[Offer]:
    """What an index lists. Raises BadInputError."""
    listed = parse_document(raw, subject, _HINT).get("manifests")
    if not isinstance(listed, list):
        raise BadInputError(subject, "its index is damaged", _HINT)
    offers = []
    for item in listed:
        blob = parse_descriptor(item, subject, _HINT)
        offers.append(Offer(blob, read_platform(item.get("platform"))))
    return offers


def choose(offers: list[Offer], wanted: Platform, subject: str) -> Blob:
    """The manifest that suits a platform best; the first of equals. Raises NotFoundError naming what there is."""
    best = max(offers, key=lambda offer: suits(offer.platform, wanted), default=None)
    if best is None or not suits(best.platform, wanted):
        there = ", ".join(sorted({str(offer.platform) for offer in offers if offer.platform.os not in ("", "unknown")})[:12])
        hint = f"there is one for {there}; name it with --platform" if there else _HINT
        raise NotFoundError(subject, f"there is none for {wanted}", hint)
    return best.manifest


def diff_ids_of(config: dict[str, Any], count: int, subject: str) -> tuple[str, ...]:
    """The digests of the unpacked layers, as the configuration tells them. Raises BadInputError unless there are `count`."""
    rootfs = config.get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if found is None and count == 0:
        return ()
    if not isinstance(found, list) or len(found) != count:
        raise BadInputError(subject, "its configuration does not list its layers", _HINT)
    return tuple(parse_descriptor({"digest": digest, "size": 0}, subject, _HINT).digest for digest in found)
