"""`push`: an image of the store into a registry. What is there already is not sent."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from gasang.core.errors import BadInputError, GasangError
from gasang.core.progress import Progress, Silent
from gasang.images.containers import ContainerImage, Containers
from gasang.images.content.content import Content
from gasang.images.descriptors import Blob
from gasang.images.reference import Reference, parse_reference
from gasang.images.registry.client import Client
from gasang.images.registry.credentials import Credentials, Keyring
from gasang.images.registry.ending import Cancelled
from gasang.images.registry.events import AsSteps, Listener, Status, Teller, both, nobody
from gasang.images.registry.manifests import parse_image_manifest
from gasang.images.registry.reach import reach
from gasang.images.registry.settings import Endpoint, Registries
from gasang.images.registry.transport import drain
from gasang.images.registry.upload import is_there, put_blob

SOURCES_MAX = 3
"""Neighbouring repositories that a mount is tried from."""


def push(
    reference: Reference | str, content: Content, *, keyring: Keyring | None = None, registries: Registries | None = None,
    listener: Listener = nobody, progress: Progress | None = None,
) -> str:  # fmt: skip
    """Have a named image of the store in the registry of its name; the manifest's digest there.

    Raises GasangError: NotFoundError for an image that is not here, PermissionDeniedError where the registry does not let us.
    Cancelled where the settings' `patience.ending` says so.
    """
    target = (parse_reference(reference) if isinstance(reference, str) else reference).qualified()
    settings = registries or Registries()
    containers = Containers(content)
    with content.leases.take() as lease:
        image = containers.find(str(target))
        lease.hold(image.digest, image.id, *(layer.digest for layer in image.layers))
        credentials = (keyring or Keyring.of_user(os.environ)).find(target.registry)
        sources = _sources(containers, image, target)
        client = connect(target, credentials, settings, sorted({name for names in sources.values() for name in names}))
        try:
            _Push(content, client, image, sources, settings.parallel).run(listener, progress or Silent(), f"pushing {target.familiar()}")
            digest = put_manifest(client, content.read(image.manifest, str(target)), image.manifest, target.tag or image.digest)
        finally:
            client.close()
    containers.tag(image.manifest, target, f"{target.repository}@{digest}")
    return digest


def connect(target: Reference, credentials: Credentials, settings: Registries, others: list[str]) -> Client:
    """A client that may push. Raises PermissionDeniedError, GasangError where the registry does not speak the API."""
    scopes = tuple(f"repository:{name}:pull" for name in others)
    endpoint = reach(target.registry, settings)
    client = Client(endpoint, target.name, credentials, settings, action="pull,push", scopes=scopes)
    try:
        check_api(client, endpoint)
    except (GasangError, Cancelled):
        client.close()
        raise
    return client


def check_api(client: Client, endpoint: Endpoint) -> None:
    """Raise GasangError unless the endpoint speaks the distribution API and lets us in."""
    answer = client.insist("GET", f"{endpoint.base}/v2/")
    if answer.status == 404:
        drain(answer)
        raise GasangError(f"registry {endpoint.host}", "it does not speak the distribution API", "check its name")
    client.expect(answer, 200, f"registry {endpoint.host}")
    drain(answer)


def _sources(containers: Containers, image: ContainerImage, target: Reference) -> dict[str, list[str]]:
    """For each layer, repositories of the same registry that have it as far as we know."""
    wanted = {layer.digest for layer in image.layers}
    found: dict[str, list[str]] = {}
    for other in containers.images():
        names = {parse_reference(name).repository for name in other.repository_digests}
        near = sorted(name.removeprefix(f"{target.registry}/") for name in names if name.startswith(f"{target.registry}/"))
        for layer in other.layers:
            if layer.digest in wanted:
                known = found.setdefault(layer.digest, [])
                known += [name for name in near if name != target.name and name not in known]
    return {digest: names[:SOURCES_MAX] for digest, names in found.items()}


class _Push:
    """One push under way, several blobs at once; the first failure ends it."""

    def __init__(self, content: Content, client: Client, image: ContainerImage, sources: dict[str, list[str]], parallel: int) -> None:
        self._content = content
        self._client = client
        self._image = image
        self._sources = sources
        self._parallel = parallel
        self._failed = threading.Event()
        self._tell: Callable[..., None] = lambda *facts: None

    def run(self, listener: Listener, progress: Progress, title: str) -> None:
        """Send layers and configuration."""
        manifest = parse_image_manifest(self._content.read(self._image.manifest, title), self._image.manifest, title)
        blobs = list({blob.digest: blob for blob in (*manifest.layers, manifest.config)}.values())
        with progress.step(title, sum(blob.size for blob in blobs), "bytes") as step:
            self._tell = Teller(both(listener, AsSteps(step))).tell
            with ThreadPoolExecutor(self._parallel, "push") as pool:
                for job in [pool.submit(self._blob, blob) for blob in blobs]:
                    try:
                        job.result()
                    except BaseException:
                        self._failed.set()
                        raise

    def _blob(self, blob: Blob) -> None:
        self._client.patience.ending.check()
        if self._failed.is_set():
            return
        self._tell(blob.digest, Status.PREPARING)
        if is_there(self._client, blob):
            self._tell(blob.digest, Status.PUSHING, blob.size, blob.size)
            self._tell(blob.digest, Status.THERE)
            return
        sources = self._sources.get(blob.digest, [])
        mounted = put_blob(
            self._client, blob, self._content.path(blob), sources, lambda sent: self._tell(blob.digest, Status.PUSHING, sent, blob.size)
        )
        self._tell(blob.digest, f"{Status.MOUNTED} {mounted}" if mounted else Status.PUSHED)


def put_manifest(client: Client, raw: bytes, blob: Blob, which: str) -> str:
    """Store a manifest under a tag or its digest; the digest the registry has it by. Raises BadInputError if that is another."""
    answer = client.insist("PUT", client.url(f"manifests/{which}"), {"Content-Type": blob.media_type}, raw)
    client.expect(answer, 201, f"image {client.repository}:{which}")
    drain(answer)
    told = answer.headers.get("Docker-Content-Digest", blob.digest)
    if told != blob.digest:
        raise BadInputError(f"image {client.repository}:{which}", f"{client.endpoint.host} stores it under another digest", "push it again")
    return blob.digest
