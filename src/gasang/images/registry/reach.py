"""Which of its possible addresses a registry answers at."""

from __future__ import annotations

from gasang.images.registry.settings import Endpoint, Registries
from gasang.images.registry.transport import FAULTS, Transport, drain, explain

_NOT_HTTP = 400
"""What servers of HTTPS answer to who speaks HTTP."""


def reach(registry: str, settings: Registries) -> Endpoint:
    """The registry's address. Raises GasangError where none answers."""
    candidates = settings.endpoints(registry)
    if len(candidates) == 1:
        return candidates[0]
    faults: list[Exception] = []
    for endpoint in candidates:
        transport = Transport(endpoint, settings)
        try:
            answer = transport.send("GET", f"{endpoint.base}/v2/", {})
            drain(answer)
            if answer.status != _NOT_HTTP:
                return endpoint
        except FAULTS as fault:
            faults.append(fault)
        finally:
            transport.close()
    if not faults:
        return candidates[0]
    raise explain(candidates[0], faults[0], settings.patience) from faults[0]
