"""An answer's body as a JSON document of bounded length."""

from __future__ import annotations

import json

from gasang.core.errors import BadInputError
from gasang.images.descriptors import DOCUMENT_MAX
from gasang.images.registry.settings import Endpoint, Patience
from gasang.images.registry.transport import FAULTS, Answer, explain


def document_of(answer: Answer, endpoint: Endpoint, patience: Patience) -> object:
    """What an endpoint answers, read to its end. Raises BadInputError for what is too long or no JSON, GasangError where it breaks off."""
    try:
        raw = answer.read(DOCUMENT_MAX + 1)
    except FAULTS as fault:
        raise explain(endpoint, fault, patience) from fault
    answer.release_conn()
    patience.ending.check()  # what has been ended may read as what is short
    if len(raw) > DOCUMENT_MAX:
        answer.close()
        raise BadInputError(f"registry {endpoint.host}", "its answer is too long", "ask who runs the registry")
    try:
        found: object = json.loads(raw)
    except (ValueError, RecursionError) as fault:
        raise BadInputError(f"registry {endpoint.host}", "its answer is no JSON", "ask who runs the registry") from fault
    return found
