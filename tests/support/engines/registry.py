"""A registry of our own on the loopback (Debian: docker-registry), with or without a password, and a way to fill it without an engine."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from support.engines.engine import dies_with_us
from support.engines.rootfs import MANIFEST, Image, digest

USER, PASSWORD = "tester", "not-a-secret"
_HTPASSWD = "tester:$2b$05$abcdefghijklmnopqrstuuVPNOToLP9MHdthRCXkVoiIF0qNKnk2G"
_SETTINGS = """version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {folder}/data}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}"""
_AUTH = "auth: {{htpasswd: {{realm: tests, path: {folder}/htpasswd}}}}\n"


class Registry:
    """docker-registry as a process; `host` is what stands before the slash of an image's name."""

    def __init__(self, folder: Path, *, guarded: bool = False) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._log = (folder / "log").open("wb")
        (folder / "htpasswd").write_text(_HTPASSWD + "\n")
        tries = 0
        while not self._begins(_AUTH.format(folder=folder) if guarded else ""):  # another may have taken the port by now
            tries += 1
            assert tries < 5, (folder / "log").read_text()
        self.host = f"localhost:{self._port}"

    def _begins(self, auth: str) -> bool:
        """Whether it serves, at a port that was free a moment ago."""
        self._port = free_port()
        settings = self._folder / "settings.yml"
        settings.write_text(_SETTINGS.format(folder=self._folder, port=self._port, auth=auth))
        self._process = subprocess.Popen(
            [program(), "serve", str(settings)], stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL, preexec_fn=dies_with_us
        )
        limit = time.monotonic() + 60
        while self._process.poll() is None:
            if self._answers():
                return True
            assert time.monotonic() < limit, f"docker-registry does not answer on port {self._port}"
            time.sleep(0.02)
        return False

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        self._log.close()

    def put(self, name: str, image: Image) -> str:
        """Store an image under NAME:TAG; its digest."""
        repository, _, tag = name.partition(":")
        for key, data in image.blobs.items():
            headers, _ = self._call("POST", f"/v2/{repository}/blobs/uploads/", expected=202)
            parts = urlsplit(headers["Location"])
            self._call("PUT", f"{parts.path}?{parts.query}&digest={key}", data, {"Content-Type": "application/octet-stream"}, expected=201)
        self._call("PUT", f"/v2/{repository}/manifests/{tag}", image.manifest, {"Content-Type": MANIFEST}, expected=201)
        return digest(image.manifest)

    def damage(self, key: str) -> None:
        """Change a byte of a stored blob behind the registry's back."""
        name = key.partition(":")[2]
        path = self._folder / "data/docker/registry/v2/blobs/sha256" / name[:2] / name / "data"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    def tags(self, repository: str) -> bytes:
        """The registry's own answer about a repository's tags."""
        return self._call("GET", f"/v2/{repository}/tags/list", expected=200)[1]

    def _call(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, *, expected: int
    ) -> tuple[http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            said = answer.read()
        assert answer.status == expected, f"{method} {path}: {answer.status} {said!r}"
        return answer.headers, said

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), 1):
                return True
        except OSError:
            return False


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def program() -> str:
    """The registry's program, or "" where it is not installed."""
    return shutil.which("docker-registry") or ""
