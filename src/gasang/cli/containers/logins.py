"""Who we are to registries: Docker's own file ~/.docker/config.json and the helpers it names, read and written as docker does."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import BadInputError, GasangError

_HELPER_TIME: Final = 30.0


def registry_headers(reference: str) -> Mapping[str, str]:
    """The header of a request about an image of a registry; none for a registry that nobody has logged in to. Raises GasangError."""
    from gasang.images.reference import parse_reference
    from gasang.images.registry.credentials import Keyring

    found = Keyring.of_user(os.environ).find(parse_reference(reference).qualified().registry)
    if not found:
        return {}
    document = {
        "username": found.username,
        "password": found.password,
        "identitytoken": found.identity_token,
        "registrytoken": found.registry_token,
    }
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(document).encode()).decode()}


def build_headers() -> Mapping[str, str]:
    """The header of a build, which may pull from any registry somebody has logged in to. Raises GasangError."""
    from gasang.images.registry.credentials import Keyring
    from gasang.images.registry.login import registry_of

    keyring, document = Keyring.of_user(os.environ), {}
    for key in auths(_read()[1]):
        found = keyring.find(registry_of(key))
        document[key] = {"username": found.username, "password": found.password, "identitytoken": found.identity_token}
    return {"X-Registry-Config": base64.urlsafe_b64encode(json.dumps(document).encode()).decode()} if document else {}


def key_of(registry: str) -> str:
    """Under what Docker's file keeps a registry."""
    from gasang.images.registry.credentials import HUB_KEY
    from gasang.images.registry.login import registry_of

    name = registry_of(registry)
    return HUB_KEY if name == "docker.io" else name


def remember(registry: str, username: str, password: str) -> str:
    """Keep a password that a registry has taken; where it is kept. Raises GasangError, OSError."""
    key, path, document = key_of(registry), *_read()
    helper = _helper(document, key)
    if helper:
        _ask(helper, "store", json.dumps({"ServerURL": key, "Username": username, "Secret": password}))
        auths(document)[key] = {}
    else:
        auths(document)[key] = {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}
    _write(path, document)
    return f"docker-credential-{helper}" if helper else f"{path}, which is not encrypted"


def forget(registry: str) -> bool:
    """Forget the password of a registry; whether there was one. Raises GasangError, OSError."""
    key, path, document = key_of(registry), *_read()
    helper = _helper(document, key)
    if helper:
        _ask(helper, "erase", key)
    if auths(document).pop(key, None) is None:
        return False
    _write(path, document)
    return True


def auths(document: dict[str, Any]) -> dict[str, Any]:
    """The part of the file that is about registries, made where it is missing."""
    found = document.setdefault("auths", {})
    if not isinstance(found, dict):
        raise BadInputError("Docker's config.json", "its auths are no object", "mend it")
    return found


def _read() -> tuple[Path, dict[str, Any]]:
    from gasang.images.registry.credentials import config_file

    path = config_file(os.environ)
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return path, {}
    except (ValueError, RecursionError) as fault:
        raise BadInputError(f"file {path}", "it is no JSON", "mend it or remove it") from fault
    if not isinstance(document, dict):
        raise BadInputError(f"file {path}", "it is no JSON object", "mend it or remove it")
    return path, document


def _write(path: Path, document: dict[str, Any]) -> None:
    """Replace the file; nobody else may read it, and half of one is never seen."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = path.resolve()  # it may be a link to where a person keeps such files
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f"{target.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(document, indent="\t") + "\n")
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def _helper(document: dict[str, Any], key: str) -> str:
    helpers = document.get("credHelpers")
    named = helpers.get(key) if isinstance(helpers, dict) else None
    found = named or document.get("credsStore")
    return found if isinstance(found, str) else ""


def _ask(helper: str, action: str, text: str) -> None:
    """Have a credential helper do something. Raises GasangError where it does not."""
    import subprocess

    program, again = f"docker-credential-{helper}", "install it, or take it out of Docker's config.json"
    try:
        done = subprocess.run([program, action], input=text.encode(), capture_output=True, check=False, timeout=_HELPER_TIME)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise GasangError(program, f"it cannot be asked ({error})", again) from error
    if done.returncode:
        raise GasangError(program, done.stdout.decode(errors="replace").strip() or f"it ended with {done.returncode}", again)
