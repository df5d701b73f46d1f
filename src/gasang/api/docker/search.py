"""/images/search: what the index of Docker Hub, or of the registry that the term begins with, finds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gasang.api.docker.filters import Filters, filters_of
from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Route
from gasang.core.errors import UsageError
from gasang.daemon.engine import Engine
from gasang.images.registry.credentials import NOBODY, from_registry_auth
from gasang.images.registry.search import USUAL, Found, search

FILTERS = ("is-automated", "is-official", "stars")


class Search:
    """The handler."""

    def __init__(self, engine: Engine) -> None:
        self._registries = engine.images.registries

    def routes(self) -> list[Route]:
        """The table."""
        return [Route("GET", "/images/search", self.search)]

    async def search(self, request: Request, reply: Reply) -> None:
        """GET /images/search."""
        fits = _test_of(filters_of(request, FILTERS))
        limit = request.number("limit") or USUAL
        header = request.headers.get("x-registry-auth", "")
        credentials = from_registry_auth(header) if header else NOBODY
        term = request.text("term")
        found = await asyncio.to_thread(lambda: search(term, limit, credentials=credentials, registries=self._registries))
        await reply.json(
            [
                {
                    "star_count": entry.stars,
                    "is_official": entry.official,
                    "name": entry.name,
                    "is_automated": entry.automated,
                    "description": entry.description,
                }
                for entry in found
                if fits(entry)
            ]
        )


def _test_of(filters: Filters) -> Callable[[Found], bool]:
    """Whether an image that was found is wanted. Raises UsageError."""
    wrong = [text for text in filters.get("stars") if not (text.isascii() and text.isdecimal() and len(text) < 16)]
    if wrong:
        raise UsageError("invalid filter", f"'stars={wrong[0][:40]}'", "give a number")
    least = max((int(text) for text in filters.get("stars")), default=0)
    wanted = {name: filters.flag(name, False) for name in ("is-official", "is-automated") if name in filters}

    def fits(found: Found) -> bool:
        facts = {"is-official": found.official, "is-automated": found.automated}
        return found.stars >= least and all(facts[name] == value for name, value in wanted.items())

    return fits
