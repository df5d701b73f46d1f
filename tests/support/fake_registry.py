"""A registry in this process that can misbehave, and images to put into it."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from support.tars import packed

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<what>manifests|blobs)/(?P<which>[^/?]*)")


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Made:
    """An image as a registry serves it."""

    manifest: bytes
    config: bytes
    blobs: dict[str, bytes]
    diff_ids: list[str]
    media_type: str = OCI_MANIFEST

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    def layer(self, index: int) -> str:
        """The digest of a layer's blob."""
        return str(json.loads(self.manifest)["layers"][index]["digest"])


def make_image(
    archives: list[bytes],
    *,
    family: str = "oci",
    compress: Callable[[bytes], bytes] = packed,
    ending: str = "gzip",
    diff_ids: list[str] | None = None,
    config: dict[str, Any] | None = None,
) -> Made:
    """An image of tar archives."""
    types = {
        "oci": (
            OCI_MANIFEST,
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.oci.image.layer.v1.tar" + (f"+{ending}" if ending else ""),
        ),
        "docker": (
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.image.rootfs.diff.tar" + (f".{ending}" if ending else ""),
        ),
    }[family]
    blobs: dict[str, bytes] = {}
    layers = []
    for archive in archives:
        data = compress(archive)
        blobs[digest_of(data)] = data
        layers.append({"mediaType": types[2], "digest": digest_of(data), "size": len(data)})
    told = diff_ids or [digest_of(archive) for archive in archives]
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": told},
        **(config or {}),
    }
    raw = json.dumps(document).encode()
    blobs[digest_of(raw)] = raw
    manifest = {
        "schemaVersion": 2,
        "mediaType": types[0],
        "config": {"mediaType": types[1], "digest": digest_of(raw), "size": len(raw)},
        "layers": layers,
    }
    return Made(json.dumps(manifest).encode(), raw, blobs, told, types[0])


Rule = Callable[["Handler"], bool]
"""Answers a request, or says False."""


@dataclass
class FakeRegistry:
    """What it has, what it was asked, and how it misbehaves."""

    address: str = ""
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)
    """Set at the end: what stalls wakes up."""

    def add(self, name: str, tag: str, made: Made) -> str:
        """Serve an image; its reference."""
        for digest, data in made.blobs.items():
            self.blobs[name, digest] = data
        for which in (tag, made.digest):
            self.manifests[name, which] = (made.media_type, made.manifest)
        return f"{self.address}/{name}:{tag}"

    def add_index(self, name: str, tag: str, offers: list[tuple[Made, dict[str, str]]]) -> str:
        """Serve an index of images."""
        listed = [
            {"mediaType": made.media_type, "digest": made.digest, "size": len(made.manifest), "platform": platform}
            for made, platform in offers
        ]
        raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}).encode()
        for made, _ in offers:
            self.add(name, made.digest, made)
        self.manifests[name, tag] = (OCI_INDEX, raw)
        return f"{self.address}/{name}:{tag}"

    def paths(self, method: str = "GET") -> list[str]:
        """What was asked."""
        return [path for verb, path, _ in self.asked if verb == method]


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    registry: FakeRegistry

    def log_message(self, *args: object) -> None:
        """Nothing is printed."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> bool:
        """Send an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def handle_one(self) -> None:
        registry = self.registry
        registry.asked.append((self.command, self.path, dict(self.headers)))
        for rule in registry.rules:
            if rule(self):
                return
        if self.path == "/v2/":
            self.answer(200, b"{}")
            return
        if "/blobs/uploads" in self.path:
            self._upload()
            return
        found = _PATH.match(self.path)
        if found is None:
            self.answer(404, b'{"errors":[{"code":"UNKNOWN"}]}')
        elif found["what"] == "manifests":
            self._manifest(found["name"], found["which"])
        else:
            self._blob(found["name"], found["which"])

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = handle_one  # noqa: N815

    def body(self) -> bytes:
        """The request's body."""
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _manifest(self, name: str, which: str) -> None:
        if self.command == "PUT":
            data = self.body()
            for key in (which, digest_of(data)):
                self.registry.manifests[name, key] = (self.headers["Content-Type"], data)
            self.answer(201, Docker_Content_Digest=digest_of(data))
            return
        found = self.registry.manifests.get((name, which))
        if found is None:
            self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')
            return
        self.answer(200, found[1], Content_Type=found[0], Docker_Content_Digest=digest_of(found[1]))

    def _blob(self, name: str, digest: str) -> None:
        data = self.registry.blobs.get((name, digest))
        if data is None:
            self.answer(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}')
            return
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted:
            start = int(wanted[1])
            self.answer(206, data[start:], Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")
            return
        self.answer(200, data)

    def _upload(self) -> None:
        registry = self.registry
        name = self.path.partition("/v2/")[2].partition("/blobs/")[0]
        if self.command == "POST":
            mount = re.search(r"mount=([^&]+)&from=([^&]+)", self.path)
            self.body()
            if mount and (mount[2].replace("%2F", "/"), mount[1]) in registry.blobs:
                registry.blobs[name, mount[1]] = registry.blobs[mount[2].replace("%2F", "/"), mount[1]]
                self.answer(201)
                return
            session = str(len(registry.uploads))
            registry.uploads[session] = bytearray()
            self.answer(202, Location=f"/v2/{name}/blobs/uploads/{session}?state=s")
            return
        session = self.path.rpartition("/")[2].partition("?")[0]
        data = registry.uploads.get(session)
        if data is None:
            self.body()
            self.answer(404)
        elif self.command == "GET":
            self.answer(204, Range=f"0-{max(0, len(data) - 1)}", Location=f"/v2/{name}/blobs/uploads/{session}")
        elif self.command == "PATCH":
            data += self.body()
            self.answer(202, Range=f"0-{len(data) - 1}", Location=f"/v2/{name}/blobs/uploads/{session}")
        else:
            data += self.body()
            digest = self.path.partition("digest=")[2].replace("%3A", ":")
            if digest != digest_of(bytes(data)):
                self.answer(400, b'{"errors":[{"code":"DIGEST_INVALID","message":"digest invalid"}]}')
                return
            registry.blobs[name, digest] = bytes(data)
            self.answer(201)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is part of the tests."""


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[FakeRegistry]:
    """A registry on the loopback."""
    registry = FakeRegistry()
    server = _Server(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"registry": registry}))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    registry.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield registry
    finally:
        registry.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
