"""A blob out of a registry into an ingest: gone on with where a connection breaks off, given up when nothing comes any more."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gasang.core.errors import BadInputError, GasangError
from gasang.images.content.ingest import Ingest
from gasang.images.registry.client import Client
from gasang.images.registry.ending import Cancelled
from gasang.images.registry.transport import FAULTS, Answer, drain, explain, is_temporary, wait_before

PIECE = 1 << 19


def download(client: Client, ingest: Ingest, advanced: Callable[[int], None], cancelled: threading.Event) -> None:
    """Bring all of the blob. `advanced` hears how many bytes are there.

    Raises GasangError: NotFoundError, PermissionDeniedError, TimedOutError for a registry that stalls, BadInputError for too much or too
    little, OutOfSpaceError; Cancelled when the event is set.
    """
    failures = 0
    while ingest.have < ingest.blob.size:
        before = ingest.have
        answer: Answer | None = None
        fault: Exception | None = None
        try:
            answer = _ask(client, ingest)
            if not is_temporary(answer.status):
                _take(client, answer, ingest, advanced, cancelled)
        except (GasangError, Cancelled):
            if answer is not None:
                answer.close()
            raise
        except FAULTS as broken:
            fault = broken
        if cancelled.is_set():
            raise Cancelled
        if ingest.have >= ingest.blob.size:
            return
        failures = 1 if ingest.have > before else failures + 1
        if failures >= client.patience.attempts:
            _give_up(client, answer, fault, ingest)
        if answer is not None and fault is None:
            drain(answer)
        client.patience.wait(wait_before(client.patience, failures, answer))


def _ask(client: Client, ingest: Ingest) -> Answer:
    headers = {"Range": f"bytes={ingest.have}-"} if ingest.have else {}
    return client.send("GET", client.url(f"blobs/{ingest.blob.digest}"), headers)


def _take(client: Client, answer: Answer, ingest: Ingest, advanced: Callable[[int], None], cancelled: threading.Event) -> None:
    """Read an answer's body. FAULTS where it breaks off."""
    skip = 0
    if answer.status == 206:
        if not answer.headers.get("Content-Range", "").startswith(f"bytes {ingest.have}-"):
            cause = f"{client.endpoint.host} sends another part than was asked for"
            raise BadInputError(f"blob {ingest.blob.digest}", cause, "try again later")
    else:
        client.expect(answer, 200, f"blob {ingest.blob.digest}")
        skip = ingest.have  # it knows no ranges and begins anew
    while data := answer.read(PIECE):
        if cancelled.is_set():
            raise Cancelled
        if skip:
            skip, data = max(0, skip - len(data)), data[skip:]
        if data:
            ingest.write(data)
            advanced(ingest.have)
    answer.release_conn()


def _give_up(client: Client, answer: Answer | None, fault: Exception | None, ingest: Ingest) -> None:
    subject = f"blob {ingest.blob.digest}"
    if fault is not None:
        raise explain(client.endpoint, fault, client.patience) from fault
    assert answer is not None
    client.expect(answer, 200, subject)
    raise GasangError(subject, f"{client.endpoint.host} sends less of it than its manifest says", "pull it again")
