"""Who we are to a registry: from Docker's X-Registry-Auth header, or from ~/.docker/config.json and the helpers it names."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gasang.core.errors import BadInputError, UsageError
from gasang.images.reference import DOCKER_HUB

HUB_KEY = "https://index.docker.io/v1/"
"""Under what Docker keeps the credentials of its own registry."""
_HELPER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HELPER_TIMEOUT = 30.0


@dataclass(frozen=True)
class Credentials:
    """A user's name and password, or a token that stands for both; all empty for nobody."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    """A refresh token (OAuth 2)."""
    registry_token: str = ""
    """A token to be sent as it is."""

    def __bool__(self) -> bool:
        """Whether it is anybody."""
        return bool(self.username or self.identity_token or self.registry_token)

    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


NOBODY = Credentials()


def from_registry_auth(header: str) -> Credentials:
    """The credentials in an X-Registry-Auth header: base64url of a JSON object. Raises UsageError."""
    return _of(_decoded(header, "X-Registry-Auth"))


def _decoded(header: str, name: str) -> dict[str, Any]:
    """The object in a header, an empty one where there is none. Raises UsageError."""
    if not header:
        return {}
    try:
        document = json.loads(base64.b64decode(header + "=" * (-len(header) % 4), altchars=b"-_"))
    except (ValueError, RecursionError) as fault:
        raise UsageError(name, "it is no base64url of a JSON object", "log in again") from fault
    if not isinstance(document, dict):
        raise UsageError(name, "it is no base64url of a JSON object", "log in again")
    return document


def from_registry_config(header: str) -> dict[str, Credentials]:
    """The credentials in an X-Registry-Config header, which a build may need several of, by registry. Raises UsageError."""
    from gasang.images.registry.login import registry_of

    document = _decoded(header, "X-Registry-Config")
    return {registry_of(key): _of(entry) for key, entry in document.items() if isinstance(entry, dict)}


def _of(document: dict[str, Any]) -> Credentials:
    values = [document.get(key) for key in ("username", "password", "identitytoken", "registrytoken")]
    username, password, identity, registry = (value if isinstance(value, str) else "" for value in values)
    packed = document.get("auth")
    if isinstance(packed, str) and packed and not username:
        username, password = _unpacked(packed)
    return Credentials(username, password, identity, registry)


def _unpacked(packed: str) -> tuple[str, str]:
    try:
        username, _, password = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as fault:
        raise BadInputError("Docker's config.json", "an auth in it is no base64", "log in again") from fault
    return username, password.rstrip("\0")


def config_file(environment: Mapping[str, str]) -> Path:
    """Docker's configuration file: in $DOCKER_CONFIG, or in ~/.docker."""
    folder = environment.get("DOCKER_CONFIG") or str(Path(environment.get("HOME", "~")).expanduser() / ".docker")
    return Path(folder) / "config.json"


class Keyring:
    """Credentials by registry."""

    def __init__(self, config: dict[str, Any] | None = None, given: Mapping[str, Credentials] | None = None) -> None:
        self._config = config or {}
        self._given = dict(given or {})

    @classmethod
    def of_user(cls, environment: Mapping[str, str]) -> Keyring:
        """That of Docker's configuration ($DOCKER_CONFIG, or ~/.docker); an empty one where there is none. Raises BadInputError."""
        path = config_file(environment)
        try:
            document = json.loads(path.read_bytes())
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, RecursionError) as fault:
            raise BadInputError(f"file {path}", "it is no JSON", "mend it, or log in again") from fault
        return cls(document if isinstance(document, dict) else {})

    @classmethod
    def only(cls, registry: str, credentials: Credentials) -> Keyring:
        """One that knows a single registry."""
        return cls(given={registry: credentials})

    def find(self, registry: str) -> Credentials:
        """The credentials for a registry, as it is named in references; NOBODY where there are none. Raises BadInputError."""
        if registry in self._given:
            return self._given[registry]
        keys = _keys(registry)
        helpers = self._config.get("credHelpers")
        helper = next((helpers[key] for key in keys if key in helpers), "") if isinstance(helpers, dict) else ""
        helper = helper or self._config.get("credsStore", "")
        found = ask_helper(helper, keys) if isinstance(helper, str) and helper else NOBODY
        return found or self._stored(keys)

    def _stored(self, keys: list[str]) -> Credentials:
        stored = self._config.get("auths")
        if isinstance(stored, dict):
            for key in keys:
                if isinstance(stored.get(key), dict):
                    return _of(stored[key])
        return NOBODY


def _keys(registry: str) -> list[str]:
    if registry == DOCKER_HUB:
        return [HUB_KEY, "index.docker.io", DOCKER_HUB, "registry-1.docker.io"]
    return [registry, f"https://{registry}", f"http://{registry}", f"https://{registry}/v1/", f"https://{registry}/v2/"]


def ask_helper(helper: str, keys: list[str]) -> Credentials:
    """What docker-credential-HELPER knows of the first of the keys it knows; NOBODY where it is not installed. Raises UsageError."""
    if not _HELPER.fullmatch(helper):
        raise UsageError(f"credential helper {helper[:64]!r}", "that is no helper's name", "mend Docker's config.json")
    program = shutil.which(f"docker-credential-{helper}", path=os.environ.get("PATH"))
    if program is None:
        return NOBODY
    for key in keys:
        try:
            answer = subprocess.run([program, "get"], input=key.encode(), capture_output=True, check=False, timeout=_HELPER_TIMEOUT)
            document = json.loads(answer.stdout) if answer.returncode == 0 else None
        except (OSError, ValueError, subprocess.TimeoutExpired):
            document = None
        if isinstance(document, dict):
            name, secret = str(document.get("Username", "")), str(document.get("Secret", ""))
            return Credentials(identity_token=secret) if name == "<token>" else Credentials(name, secret)
    return NOBODY
