"""`pull`: an image from a registry into the store, its layers downloaded, checked and unpacked at the same time."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from gasang.core.errors import BadInputError, GasangError, OutOfSpaceError
from gasang.core.progress import Progress, Silent
from gasang.images.containers import ContainerImage, Containers
from gasang.images.content.content import Content
from gasang.images.content.garbage import collect
from gasang.images.content.ingest import Follower, GivenUp, Ingest, ingesting
from gasang.images.content.leases import Lease
from gasang.images.content.settling import mark_durable, recover, settle
from gasang.images.descriptors import Blob, parse_document
from gasang.images.digests.together import NewDigest, hashing
from gasang.images.layers.stream import inflate
from gasang.images.reference import Reference, parse_reference
from gasang.images.registry.client import Client
from gasang.images.registry.credentials import NOBODY, Keyring
from gasang.images.registry.download import download
from gasang.images.registry.ending import Cancelled
from gasang.images.registry.events import AsSteps, Listener, Status, Teller, both, nobody
from gasang.images.registry.manifests import INDEXES, Manifest, choose, diff_ids_of, parse_image_manifest, parse_offers
from gasang.images.registry.platform import Platform, host_platform
from gasang.images.registry.reach import reach
from gasang.images.registry.settings import Registries

READ = 1 << 19
UNPACKERS = 4
"""Layers unpacked at the same time: more than most hosts' free processors, for their digests are taken together; few enough not to wait for
each other in the file system (measured on two processors: four take three quarters of the time of two, six and ten more again)."""


def pull(
    reference: Reference | str, content: Content, *, platform: Platform | None = None, keyring: Keyring | None = None,
    registries: Registries | None = None, listener: Listener = nobody, progress: Progress | None = None,
) -> ContainerImage:  # fmt: skip
    """Have an image of a registry in the store, named and unpacked. `platform` is this host's unless given.

    Raises GasangError: NotFoundError for what the registry has not, PermissionDeniedError where it does not let us, TimedOutError for one
    that stalls, BadInputError for what is damaged or forged, OutOfSpaceError. What was downloaded by then is gone on with next
    time, but for a disk that was full: what was whole is removed then. Cancelled where the settings' `patience.ending` says so.
    """
    wanted = (parse_reference(reference) if isinstance(reference, str) else reference).qualified()
    settings = registries or Registries()
    content.prepare()
    recover(content)
    try:
        with content.leases.take(lasting=True) as lease, ExitStack() as cleanup:
            mark_durable(lease.path)
            found = find(wanted, settings, keyring or Keyring.of_user(os.environ), platform or host_platform())
            cleanup.callback(found.client.close)
            image = _Pull(content, lease, found, wanted, settings).run(listener, progress or Silent())
    except OutOfSpaceError:
        collect(content)  # whole layers of it would only keep the disk full
        raise
    threading.Thread(target=settle, args=(content,), name="settle").start()
    return image


@dataclass(frozen=True)
class Found:
    """An image found in a registry: by whom it is served, its manifest, and the digest its name stands for."""

    client: Client
    manifest: Manifest
    named: str


def find(wanted: Reference, settings: Registries, keyring: Keyring, platform: Platform) -> Found:
    """Ask a registry's mirrors, then itself. Raises the error of the registry."""
    credentials = keyring.find(wanted.registry)
    for endpoint in settings.mirrors_of(wanted.registry):
        with suppress(GasangError):  # a mirror may lack it, or be away
            return _found(Client(endpoint, wanted.name, NOBODY, settings), wanted, platform)
    return _found(Client(reach(wanted.registry, settings), wanted.name, credentials, settings), wanted, platform)


def _found(client: Client, wanted: Reference, platform: Platform) -> Found:
    try:
        return _chosen(client, wanted, platform)
    except (GasangError, Cancelled):
        client.close()
        raise


def _chosen(client: Client, wanted: Reference, platform: Platform) -> Found:
    subject = f"image {wanted.familiar()}"
    blob, raw = client.manifest(wanted.digest or wanted.tag)
    named = blob.digest
    if blob.media_type in INDEXES:
        chosen = choose(parse_offers(raw, subject), platform, subject)
        blob, raw = client.manifest(chosen.digest)
        if blob.media_type in INDEXES:
            raise BadInputError(subject, "its index lists another index", "pull another image")
    return Found(client, parse_image_manifest(raw, blob, subject), named)


class _Pull:
    """One pull under way: downloads in some threads, unpacking in others, the first failure ends all."""

    def __init__(self, content: Content, lease: Lease, found: Found, wanted: Reference, settings: Registries) -> None:
        self._content = content
        self._containers = Containers(content)
        self._lease = lease
        self._found = found
        self._wanted = wanted
        self._settings = settings
        self._cancelled = threading.Event()
        self._faults: list[Exception] = []
        self._tell: Callable[..., None] = lambda *facts: None
        self._new_digest: NewDigest = hashlib.sha256

    def run(self, listener: Listener, progress: Progress) -> ContainerImage:
        """Bring everything, then give it its name."""
        manifest = self._found.manifest
        subject = f"image {self._wanted.familiar()}"
        self._lease.hold(manifest.blob.digest, manifest.config.digest, *(layer.digest for layer in manifest.layers))
        raw_config = self._config(manifest.config, subject)
        diff_ids = diff_ids_of(parse_document(raw_config, subject), len(manifest.layers), subject)
        self._lease.hold(*diff_ids)
        layers = list({blob.digest: (diff_id, blob) for diff_id, blob in zip(diff_ids, manifest.layers, strict=True)}.values())
        with progress.step(f"pulling {self._wanted.familiar()}", sum(blob.size for _, blob in layers), "bytes") as step:
            self._tell = Teller(both(listener, AsSteps(step))).tell
            self._settings.patience.ending.add(self._cancelled.set)
            try:
                self._bring(layers)
            finally:
                self._settings.patience.ending.discard(self._cancelled.set)
        self._containers.keep(manifest, raw_config, self._lease.hold)
        return self._containers.tag(manifest.blob, self._wanted, f"{self._wanted.repository}@{self._found.named}")

    def _config(self, blob: Blob, subject: str) -> bytes:
        return self._content.read(blob, subject) if self._content.has(blob) else self._found.client.document(blob)

    def _bring(self, layers: list[tuple[str, Blob]]) -> None:
        """All layers, the largest first: so the last to be ready is a small one."""
        for _, blob in layers:
            self._tell(blob.digest, Status.PULLING)
        missing = [blob.size for diff_id, blob in layers if not self._containers.layers.has(diff_id)]
        self._new_digest = hashing(2 * len(missing), sum(missing))
        order = sorted(layers, key=lambda item: item[1].size, reverse=True)
        unpackers = min(len(order), UNPACKERS) or 1
        with ThreadPoolExecutor(unpackers, "unpack") as unpacking, ThreadPoolExecutor(self._settings.parallel, "download") as downloading:
            try:
                first = [downloading.submit(self._guarded, self._layer, blob, diff_id, unpacking) for diff_id, blob in order]
                wait(first)
                wait([job for started in first if (job := started.result()) is not None])
            except BaseException:
                self._cancelled.set()
                raise
        if self._faults:
            raise self._faults[0]
        if self._cancelled.is_set():
            raise Cancelled

    def _guarded(self, work: Callable[..., Future[Any] | None], *arguments: object) -> Future[Any] | None:
        """Do part of the work in a thread: what fails is noted, and ends the other parts."""
        try:
            if not self._cancelled.is_set():
                return work(*arguments)
        except (Cancelled, GivenUp):
            self._cancelled.set()
        except Exception as fault:
            self._faults.append(fault)
            self._cancelled.set()
        return None

    def _layer(self, blob: Blob, diff_id: str, unpacking: ThreadPoolExecutor) -> Future[Any] | None:
        """Download a layer while it is unpacked; the future of its being unpacked, if there is anything to unpack."""
        if self._content.has(blob):
            return self._have(blob, diff_id, unpacking)
        with ingesting(self._content.ingests, blob, self._new_digest) as ingest:
            if self._content.has(blob):  # another pull has brought it meanwhile
                return self._have(blob, diff_id, unpacking)
            ingest.adopt()
            unpacked = self._begin_unpacking(diff_id, ingest.follow(), blob, unpacking)
            try:
                self._download(ingest)
            except BaseException as fault:
                wait([unpacked])
                # What was unpacked and found wrong is of no use, and on a full disk its room is worth more than the download.
                if any(isinstance(known, (BadInputError, OutOfSpaceError)) for known in (fault, *self._faults)):
                    ingest.discard()
                raise
            return unpacked

    def _have(self, blob: Blob, diff_id: str, unpacking: ThreadPoolExecutor) -> Future[Any] | None:
        if self._containers.layers.has(diff_id):
            self._tell(blob.digest, Status.DOWNLOADING, blob.size, blob.size)
            self._tell(blob.digest, Status.HERE)
            return None
        return self._begin_unpacking(diff_id, _read(self._content, blob), blob, unpacking)

    def _begin_unpacking(
        self, diff_id: str, pieces: Follower | Generator[bytes, None, None], blob: Blob, unpacking: ThreadPoolExecutor
    ) -> Future[Any]:
        job = unpacking.submit(self._guarded, self._unpack, diff_id, pieces, blob)
        job.add_done_callback(lambda done: pieces.close())
        return job

    def _download(self, ingest: Ingest) -> None:
        blob = ingest.blob
        try:
            self._tell(blob.digest, Status.DOWNLOADING, ingest.have, blob.size)
            download(self._found.client, ingest, lambda have: self._tell(blob.digest, Status.DOWNLOADING, have, blob.size), self._cancelled)
            ingest.finish(self._content.path(blob))
        except BaseException:
            ingest.fail()
            raise
        self._tell(blob.digest, Status.DOWNLOADED)

    def _unpack(self, diff_id: str, pieces: Iterator[bytes], blob: Blob) -> None:
        subject = f"layer {blob.digest[:19]} of {self._wanted.familiar()}"
        done = 0

        def counted() -> bytes:
            nonlocal done
            if self._cancelled.is_set():
                raise Cancelled
            piece = next(pieces, b"")
            done += len(piece)
            self._tell(blob.digest, Status.EXTRACTING, done, blob.size)
            return piece

        self._containers.layers.unpack(diff_id, inflate(counted, subject), subject, self._new_digest)
        for _ in pieces:  # what is behind the compressed stream's end still belongs to the blob, and its digest must be right
            pass
        self._tell(blob.digest, Status.PULLED)


def _read(content: Content, blob: Blob) -> Generator[bytes, None, None]:
    with content.path(blob).open("rb", buffering=0) as file:
        while piece := file.read(READ):
            yield piece
