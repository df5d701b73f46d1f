"""How a registry lets us in: no credentials, Basic, or a Bearer token from the server it names (distribution, token authentication)."""

from __future__ import annotations

import json
import threading
from typing import Any
from urllib.parse import urlencode, urlsplit

from gasang.core.errors import BadInputError, PermissionDeniedError
from gasang.images.registry.challenge import Challenge, parse_challenges
from gasang.images.registry.credentials import Credentials
from gasang.images.registry.transport import FAULTS, Answer, Transport, drain

CLIENT = "gasang"


class Access:
    """The Authorization header for one repository; found when the registry first refuses, then kept. Threads may share it."""

    def __init__(self, transport: Transport, credentials: Credentials, scopes: tuple[str, ...]) -> None:
        self._transport = transport
        self._credentials = credentials
        self._scopes = scopes
        self._lock = threading.Lock()
        self._header = f"Bearer {credentials.registry_token}" if credentials.registry_token else ""

    def header(self) -> dict[str, str]:
        """What to send now."""
        return {"Authorization": self._header} if self._header else {}

    def renew(self, refused: Answer, used: str) -> bool:
        """Get another header after an answer 401; False if there is none to be had. `used` is the header that was refused."""
        with self._lock:
            if self._header != used:
                return True  # another thread was faster
            fresh = self._answer(parse_challenges(", ".join(refused.headers.getlist("WWW-Authenticate"))))
            changed = bool(fresh) and fresh != self._header
            self._header = fresh or self._header
            return changed

    def _answer(self, challenges: list[Challenge]) -> str:
        for challenge in challenges:
            if challenge.scheme == "bearer":
                return f"Bearer {self._token(challenge.parameters)}"
            if challenge.scheme == "basic" and self._credentials.username:
                return self._credentials.basic()
        return ""

    def _token(self, parameters: dict[str, str]) -> str:
        realm = parameters.get("realm", "")
        endpoint = self._transport.endpoint
        plain = endpoint.base.startswith("http:") or not endpoint.verified
        if urlsplit(realm).scheme not in (("https", "http") if plain else ("https",)):
            raise BadInputError(f"registry {endpoint.host}", "it names no proper server of tokens", "ask who runs the registry")
        scopes = list(dict.fromkeys([*parameters.get("scope", "").split(), *self._scopes]))
        try:
            answer = self._ask(realm, parameters.get("service", ""), scopes)
            body = drain(answer)
        except FAULTS as fault:
            cause = f"its server of tokens does not answer ({type(fault).__name__})"
            raise PermissionDeniedError(realm[:200], cause, "try again later") from fault
        if answer.status != 200:
            raise PermissionDeniedError(f"registry {endpoint.host}", f"it does not let us in ({answer.status})", "try gasang login")
        return _token_of(body, realm)

    def _ask(self, realm: str, service: str, scopes: list[str]) -> Answer:
        if self._credentials.identity_token:
            form = {
                "grant_type": "refresh_token", "refresh_token": self._credentials.identity_token, "service": service,
                "client_id": CLIENT, "scope": " ".join(scopes),
            }  # fmt: skip
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._transport.send("POST", realm, headers, urlencode(form).encode())
        query = urlencode([("service", service), *(("scope", scope) for scope in scopes), ("client_id", CLIENT)])
        headers = {"Authorization": self._credentials.basic()} if self._credentials.username else {}
        return self._transport.send("GET", f"{realm}{'&' if '?' in realm else '?'}{query}", headers)


def _token_of(body: bytes, realm: str) -> str:
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    found = (document.get("token") or document.get("access_token")) if isinstance(document, dict) else None
    if not isinstance(found, str) or not found.isascii() or not found.isprintable():
        raise BadInputError(realm[:200], "it gives no token", "try again later")
    return found
