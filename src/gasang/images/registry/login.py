"""Whether a registry lets a user in."""

from __future__ import annotations

from gasang.core.errors import UsageError
from gasang.images.reference import DOCKER_HUB, REGISTRY
from gasang.images.registry.client import Client
from gasang.images.registry.credentials import Credentials
from gasang.images.registry.push import check_api
from gasang.images.registry.reach import reach
from gasang.images.registry.settings import Registries


def log_in(server: str, credentials: Credentials, registries: Registries | None = None) -> None:
    """Return if the registry lets this user in. Raises PermissionDeniedError where it does not, GasangError where it does not answer."""
    settings = registries or Registries()
    name = registry_of(server)
    endpoint = reach(name, settings)
    client = Client(endpoint, "", credentials, settings)
    try:
        check_api(client, endpoint)
    finally:
        client.close()


def registry_of(server: str) -> str:
    """The registry of an address as ``docker login`` sends it: with or without a scheme and a path. Raises UsageError."""
    host = server.partition("://")[2] or server
    host = host.partition("/")[0]
    if host in ("", "index.docker.io", "registry-1.docker.io", DOCKER_HUB):
        return DOCKER_HUB
    if REGISTRY.fullmatch(host) is None:
        raise UsageError(f"registry {host[:80]!r}", "it is no host", "write HOST or HOST:PORT")
    return host
