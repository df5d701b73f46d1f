"""One repository at one endpoint, as the distribution API has it: requests with access, retries, and errors in sentences."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

from gasang.core.errors import BadInputError, GasangError, NotFoundError, PermissionDeniedError
from gasang.images.descriptors import DOCUMENT_MAX, Blob
from gasang.images.registry.credentials import Credentials
from gasang.images.registry.manifests import ACCEPTED, media_type_of
from gasang.images.registry.settings import Endpoint, Patience, Registries
from gasang.images.registry.tokens import Access
from gasang.images.registry.transport import FAULTS, Answer, Body, Transport, drain, explain, is_temporary, wait_before

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_UNKNOWN_ENOUGH = 200
"""Characters shown of what a registry says."""


class Client:
    """Speaks to a repository. `scopes` are further repositories that access is asked for. Threads may share it."""

    def __init__(
        self, endpoint: Endpoint, repository: str, credentials: Credentials, registries: Registries, *,
        action: str = "pull", scopes: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.endpoint = endpoint
        self.repository = repository
        self._patience = registries.patience
        self._transport = Transport(endpoint, registries)
        self._access = Access(self._transport, credentials, (f"repository:{repository}:{action}", *scopes))

    @property
    def patience(self) -> Patience:
        """How long to wait and how often to try."""
        return self._patience

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def url(self, path: str) -> str:
        """The address of something of the repository."""
        return f"{self.endpoint.base}/v2/{self.repository}/{path}"

    def send(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: Body = None) -> Answer:
        """One attempt, with access; a 401 is answered once. Raises FAULTS, GasangError."""
        ours = urlsplit(url).netloc == self.endpoint.host
        access = self._access.header() if ours else {}
        answer = self._transport.send(method, url, {**(headers or {}), **access}, body)
        if answer.status == 401 and ours and (body is None or isinstance(body, bytes)):
            drain(answer)
            if self._access.renew(answer, access.get("Authorization", "")):
                answer = self._transport.send(method, url, {**(headers or {}), **self._access.header()}, body)
        return answer

    def insist(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Answer:
        """As `send`, again and again while there is hope. Raises GasangError where there is none; any final answer is returned."""
        failures = 0
        while True:
            answer = None
            try:
                answer = self.send(method, url, headers, body)
                if not is_temporary(answer.status):
                    return answer
                failures += 1
                if failures >= self._patience.attempts:
                    return answer
                drain(answer)
            except FAULTS as fault:
                failures += 1
                if failures >= self._patience.attempts or _is_hopeless(fault):
                    raise explain(self.endpoint, fault, self._patience) from fault
            self._patience.wait(wait_before(self._patience, failures, answer))

    def manifest(self, which: str) -> tuple[Blob, bytes]:
        """The manifest or index of a tag or digest, checked. Raises NotFoundError, BadInputError, PermissionDeniedError."""
        answer = self.insist("GET", self.url(f"manifests/{which}"), {"Accept": ", ".join(ACCEPTED)})
        self.expect(answer, 200, f"image {self.repository}:{which}")
        raw = self._body(answer)
        digest = "sha256:" + hashlib.sha256(raw).hexdigest()
        told = which if _DIGEST.fullmatch(which) else answer.headers.get("Docker-Content-Digest", digest)
        if told.startswith("sha256:") and told != digest:
            raise BadInputError(f"image {self.repository}:{which}", "its manifest has another digest than it should", "pull it again")
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise BadInputError(f"image {self.repository}:{which}", "its manifest is no JSON object", "pull another image")
        return Blob(media_type_of(document, answer.headers.get("Content-Type", "").partition(";")[0].strip()), digest, len(raw)), raw

    def _body(self, answer: Answer) -> bytes:
        try:
            raw = answer.read(DOCUMENT_MAX + 1)
        except FAULTS as fault:
            raise explain(self.endpoint, fault, self._patience) from fault
        answer.release_conn()
        self._patience.ending.check()  # what has been ended may read as what is short
        if len(raw) > DOCUMENT_MAX:
            answer.close()
            raise BadInputError(f"image {self.repository}", "its manifest is too long", "pull another image")
        return raw

    def document(self, blob: Blob) -> bytes:
        """A small blob, such as a configuration, checked. Raises BadInputError."""
        subject = f"image {self.repository}"
        if blob.size > DOCUMENT_MAX:
            raise BadInputError(subject, "its configuration is too long", "pull another image")
        answer = self.insist("GET", self.url(f"blobs/{blob.digest}"))
        self.expect(answer, 200, subject)
        raw = self._body(answer)
        if "sha256:" + hashlib.sha256(raw).hexdigest() != blob.digest:
            raise BadInputError(subject, "its configuration has another digest than its manifest says", "pull it again")
        return raw

    def expect(self, answer: Answer, wanted: int, subject: str) -> None:
        """Raise the error of an answer that is not the one wanted."""
        if answer.status == wanted:
            return
        said = _said(drain(answer))
        where = self.endpoint.host
        if answer.status in (401, 403):
            refusal = "unauthorized" if answer.status == 401 else "denied"
            raise PermissionDeniedError(subject, f"{refusal}: access is denied by {where}{said}", f"check its name, or log in to {where}")
        if answer.status == 404:
            raise NotFoundError(subject, f"it is not in the registry {where}{said}", "check its name and tag")
        if answer.status == 429:
            raise GasangError(subject, f"{where} refuses more requests for now{said}", "try again later, or log in")
        raise GasangError(subject, f"{where} answers {answer.status}{said}", "try again later")

    def location(self, answer: Answer, base: str) -> str:
        """Where an answer says to go on. Raises BadInputError for another scheme than HTTP."""
        target = urljoin(base, answer.headers.get("Location", ""))
        if urlsplit(target).scheme not in ("http", "https"):
            raise BadInputError(self.endpoint.base, "it sends uploads to where we do not go", "ask who runs the registry")
        return target


def _is_hopeless(fault: Exception) -> bool:
    """A certificate does not become right by asking again."""
    return type(fault).__name__ == "SSLError"


def _said(body: bytes) -> str:
    """What the registry's error document says, made safe to show."""
    try:
        errors = json.loads(body)["errors"]
        text = "; ".join(str(error.get("message") or error.get("code")) for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    shown = "".join(sign if sign.isprintable() else "?" for sign in text[:_UNKNOWN_ENOUGH])
    return f" ({shown})" if shown else ""


