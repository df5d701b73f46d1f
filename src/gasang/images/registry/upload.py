"""A blob into a registry: not at all where it is there, by mounting it from a neighbouring repository, or uploaded (distribution-spec)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from gasang.core.errors import BadInputError, GasangError
from gasang.images.descriptors import Blob
from gasang.images.registry.client import Client
from gasang.images.registry.transport import FAULTS, Answer, drain, explain, is_temporary, wait_before
from gasang.images.spool import out_of_space

MONOLITHIC_MAX = 8 << 20
"""Bytes of the longest blob that is sent in one request."""
CHUNK = 64 << 20
"""Bytes of a chunk of a longer one: what is lost at most when a connection breaks off."""
_PIECE = 1 << 18
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})")
Advanced = Callable[[int], None]
"""Hears how many bytes are sent."""


def is_there(client: Client, blob: Blob) -> bool:
    """Whether the repository has the blob."""
    answer = client.insist("HEAD", client.url(f"blobs/{blob.digest}"))
    drain(answer)
    if answer.status == 404:
        return False
    client.expect(answer, 200, f"blob {blob.digest}")
    return True


def put_blob(client: Client, blob: Blob, path: Path, sources: Iterable[str], advanced: Advanced) -> str:
    """Have the blob in the repository. The repository it was mounted from, or "".

    Raises PermissionDeniedError, BadInputError for a registry that answers nonsense, TimedOutError, GasangError when it keeps failing.
    """
    location = ""
    for source in sources:
        answer = _begin(client, f"?mount={blob.digest}&from={quote(source)}")
        if answer.status == 201:
            return source
        location = client.location(answer, client.url("blobs/uploads/"))
    if blob.size <= MONOLITHIC_MAX:
        _whole(client, blob, path, location)
        advanced(blob.size)
    else:
        _Chunks(client, blob, path, advanced).send(location)
    return ""


def _begin(client: Client, query: str = "") -> Answer:
    """Ask for an upload; 202, or 201 where a mount went well."""
    answer = client.insist("POST", client.url(f"blobs/uploads/{query}"), {"Content-Length": "0"}, b"")
    if answer.status != 201:
        client.expect(answer, 202, f"repository {client.repository}")
    drain(answer)
    return answer


def _with_digest(location: str, blob: Blob) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={quote(blob.digest)}"


def _whole(client: Client, blob: Blob, path: Path, location: str) -> None:
    failures = 0
    data = _read(path)
    while True:
        fault: Exception | None = None
        answer: Answer | None = None
        location = location or client.location(_begin(client), client.url("blobs/uploads/"))
        try:
            answer = client.send("PUT", _with_digest(location, blob), {"Content-Type": "application/octet-stream"}, data)
            if answer.status == 201:
                drain(answer)
                return
        except FAULTS as broken:
            fault = broken
        failures += 1
        _check(client, blob, answer, fault, failures)
        location = ""
        client.patience.wait(wait_before(client.patience, failures, answer))


def _check(client: Client, blob: Blob, answer: Answer | None, fault: Exception | None, failures: int) -> None:
    """Raise what an upload's failure is, unless it may be tried again."""
    if fault is not None and failures >= client.patience.attempts:
        raise explain(client.endpoint, fault, client.patience) from fault
    if answer is not None:
        # A session that is gone (404, 416) is begun anew; so is one that a registry has trouble with.
        if failures >= client.patience.attempts or not (is_temporary(answer.status) or answer.status in (404, 416)):
            client.expect(answer, 201, f"blob {blob.digest}")
        drain(answer)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as fault:
        raise out_of_space(fault, path) from fault


class _Chunks:
    """An upload in several requests, gone on with where the registry says it got."""

    def __init__(self, client: Client, blob: Blob, path: Path, advanced: Advanced) -> None:
        self._client = client
        self._blob = blob
        self._path = path
        self._advanced = advanced
        self._at = 0
        self._failures = 0

    def send(self, location: str) -> None:
        """All of it."""
        while True:
            location = location or self._anew()
            if self._at < self._blob.size:
                location = self._chunk(location)
            elif self._close(location):
                return
            else:
                location = ""

    def _anew(self) -> str:
        self._at = 0
        return self._client.location(_begin(self._client), self._client.url("blobs/uploads/"))

    def _chunk(self, location: str) -> str:
        """Send the next chunk; where to go on, "" to begin anew."""
        end = min(self._at + CHUNK, self._blob.size)
        headers = {
            "Content-Type": "application/octet-stream", "Content-Length": str(end - self._at), "Content-Range": f"{self._at}-{end - 1}",
        }  # fmt: skip
        answer, fault = self._attempt("PATCH", location, headers, self._pieces(self._at, end))
        if answer is not None and answer.status in (202, 204):
            drain(answer)
            self._failures = 0
            self._at = _reached(answer, end)
            return self._client.location(answer, location)
        self._failed(answer, fault)
        return self._resumed(location)

    def _attempt(
        self, method: str, location: str, headers: dict[str, str], body: Iterator[bytes] | bytes
    ) -> tuple[Answer | None, Exception | None]:
        try:
            return self._client.send(method, location, headers, body), None
        except FAULTS as fault:
            return None, fault

    def _failed(self, answer: Answer | None, fault: Exception | None) -> None:
        self._failures += 1
        _check(self._client, self._blob, answer, fault, self._failures)
        self._client.patience.wait(wait_before(self._client.patience, self._failures, answer))

    def _resumed(self, location: str) -> str:
        """Ask how much has arrived."""
        answer, _ = self._attempt("GET", location, {}, b"")
        if answer is None or answer.status != 204:
            if answer is not None:
                drain(answer)
            return ""
        drain(answer)
        self._at = _reached(answer, 0)
        if self._at > self._blob.size:
            raise BadInputError(f"blob {self._blob.digest}", f"{self._client.endpoint.host} has more of it than there is", "push it again")
        return self._client.location(answer, location) if answer.headers.get("Location") else location

    def _close(self, location: str) -> bool:
        """Tell the digest; False if it must be sent anew."""
        answer, fault = self._attempt("PUT", _with_digest(location, self._blob), {"Content-Length": "0"}, b"")
        if answer is not None and answer.status == 201:
            drain(answer)
            return True
        self._failed(answer, fault)
        return False

    def _pieces(self, at: int, end: int) -> Iterator[bytes]:
        with self._path.open("rb", buffering=0) as file:
            file.seek(at)
            while at < end:
                data = file.read(min(_PIECE, end - at))
                if not data:
                    raise GasangError(f"blob {self._blob.digest}", "its file is shorter than it was", "pull the image again")
                at += len(data)
                self._advanced(at)
                yield data


def _reached(answer: Answer, otherwise: int) -> int:
    """How many bytes the registry has, by its Range header: "0-N" counts the last one in."""
    found = _RANGE.fullmatch(answer.headers.get("Range", ""))
    if found is None:
        return otherwise
    last = int(found[1])
    return last + 1 if last else otherwise
