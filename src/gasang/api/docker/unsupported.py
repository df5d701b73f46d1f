"""What the Docker Engine API has and gasang has not: each answers 501 with a sentence. The reference is made from this table."""

from __future__ import annotations

from typing import Final

from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Handler, Route
from gasang.core.errors import NotFoundError, UnsupportedError

MISSING: Final = {
    "/swarm": "there is no Swarm; gasang runs Kubernetes manifests",
    "/swarm/{rest*}": "there is no Swarm; gasang runs Kubernetes manifests",
    "/services": "services belong to Swarm, which is not here",
    "/services/{rest*}": "services belong to Swarm, which is not here",
    "/tasks": "tasks belong to Swarm, which is not here",
    "/tasks/{rest*}": "tasks belong to Swarm, which is not here",
    "/nodes": "nodes belong to Swarm, which is not here",
    "/nodes/{rest*}": "nodes belong to Swarm, which is not here",
    "/secrets": "secrets belong to Swarm, which is not here",
    "/secrets/{rest*}": "secrets belong to Swarm, which is not here",
    "/configs": "configs belong to Swarm, which is not here",
    "/configs/{rest*}": "configs belong to Swarm, which is not here",
    "/session": "BuildKit sessions are not spoken; set DOCKER_BUILDKIT=0",
    "/grpc": "BuildKit is not spoken; set DOCKER_BUILDKIT=0",
    "/containers/{id}/attach/ws": "attaching through a WebSocket is not spoken; use POST attach",
    "/containers/{id}/checkpoints": "containers have no checkpoints yet",
    "/containers/{id}/checkpoints/{rest*}": "containers have no checkpoints yet",
}
"""pattern → why."""
METHODS: Final = ("GET", "POST", "PUT", "DELETE")


def _refuse(pattern: str, why: str) -> Handler:
    async def handler(request: Request, reply: Reply) -> None:
        raise UnsupportedError(f"{request.method} {pattern}", why)

    return handler


async def _no_plugins(request: Request, reply: Reply) -> None:
    await reply.json([])


async def _no_plugin(request: Request, reply: Reply) -> None:
    raise NotFoundError(f"plugin {request.arguments['name'][:80]!r} not found", "Docker's plugins are not run")


def routes() -> list[Route]:
    """The table of refusals; the list of plugins is empty rather than refused, because clients ask for it."""
    refused = [Route(method, pattern, _refuse(pattern, why)) for pattern, why in MISSING.items() for method in METHODS]
    return [Route("GET", "/plugins", _no_plugins), Route("GET", "/plugins/{name*}/json", _no_plugin), *refused]
