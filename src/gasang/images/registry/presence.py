"""Whether a registry can be reached at all: its name resolves, its address takes a connection. What it then says is no matter here."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

from gasang.images.registry.settings import Registries
from gasang.images.registry.transport import FAULTS, Transport, drain

SECONDS: Final = 3.0
"""In which a connection is made, or there is none."""
ABSENT: Final = (NewConnectionError, ConnectTimeoutError, ProxyError)


def absence(registry: str, settings: Registries | None = None) -> str:
    """Why a registry cannot be reached, in a few words; "" where it can, whatever it answers."""
    known = settings or Registries()
    hasty = replace(known, patience=replace(known.patience, connect=SECONDS, stall=SECONDS))
    reason = ""
    for endpoint in [*hasty.mirrors_of(registry), *hasty.endpoints(registry)]:
        transport = Transport(endpoint, hasty)
        try:
            drain(transport.send("GET", f"{endpoint.base}/v2/", {}))
            return ""
        except ABSENT as fault:
            reason = _words(fault)
        except FAULTS:
            return ""
        finally:
            transport.close()
    return reason


def _words(fault: Exception) -> str:
    if isinstance(fault, ConnectTimeoutError) and not isinstance(fault, NewConnectionError):
        return f"no connection within {SECONDS:g} seconds"
    cause = fault.__cause__ or getattr(fault, "original_error", None)
    return (getattr(cause, "strerror", None) or str(cause or "no answer")).lower()[:120]
