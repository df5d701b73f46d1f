"""Searching for images: the index protocol of old (`/v1/search?q=TERM&n=COUNT`), which Docker Hub and some registries still answer.

A term may begin with a registry, as an image's name does; else Docker Hub's index is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from gasang.core.errors import BadInputError, UnsupportedError, UsageError
from gasang.images.reference import DOCKER_HUB, split_registry
from gasang.images.registry.answers import document_of
from gasang.images.registry.client import Client
from gasang.images.registry.credentials import NOBODY, Credentials
from gasang.images.registry.reach import reach
from gasang.images.registry.settings import Endpoint, Registries

HUB_INDEX: Final = "https://index.docker.io"
USUAL: Final = 25
MOST: Final = 100
_HUBS: Final = ("", DOCKER_HUB, "index.docker.io")
_LONGEST_TERM: Final = 256
_LONGEST_TEXT: Final = 4096


@dataclass(frozen=True)
class Found:
    """One image that an index has."""

    name: str
    description: str
    stars: int
    official: bool
    automated: bool


def search(term: str, limit: int = USUAL, *, credentials: Credentials = NOBODY, registries: Registries | None = None) -> list[Found]:
    """What an index finds, in its order, at most `limit`.

    Raises UsageError for a wrong term or limit, UnsupportedError where the registry has no search, BadInputError, GasangError.
    """
    if not 1 <= limit <= MOST:
        raise UsageError(f"limit {limit}", f"limit {limit} is outside the range of [1, {MOST}]", "choose one within")
    registry, wanted = split_registry(term)
    if not wanted or len(term) > _LONGEST_TERM:
        raise UsageError(f"search term {term[:80]!r}", "it has no words, or too many", "name what the image's name has in it")
    settings = registries or Registries()
    endpoint = Endpoint(HUB_INDEX) if registry in _HUBS else reach(registry, settings)
    client = Client(endpoint, "", credentials, settings)
    try:
        return _ask(client, wanted, limit)
    finally:
        client.close()


def _ask(client: Client, term: str, limit: int) -> list[Found]:
    subject = f"search for {term[:80]}"
    answer = client.insist("GET", f"{client.endpoint.base}/v1/search?{urlencode({'q': term, 'n': limit})}", {"Accept": "application/json"})
    if answer.status in (404, 405):
        raise UnsupportedError(
            subject, f"registry {client.endpoint.host} has no search (it answers {answer.status})", "look at its own pages"
        )
    client.expect(answer, 200, subject)
    document = document_of(answer, client.endpoint, client.patience)
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list):
        raise BadInputError(subject, f"the answer of {client.endpoint.host} has no results in it", "look at its own pages")
    return [_found(entry) for entry in results[:limit] if isinstance(entry, dict) and isinstance(entry.get("name"), str)]


def _found(entry: dict[str, object]) -> Found:
    stars = entry.get("star_count")
    return Found(
        _shown(entry["name"]),
        _shown(entry.get("description")),
        stars if isinstance(stars, int) and not isinstance(stars, bool) and 0 <= stars < 1 << 53 else 0,
        entry.get("is_official") is True,
        entry.get("is_automated") is True,
    )


def _shown(value: object) -> str:
    """A text made safe for a terminal: an index says what it likes."""
    text = value[:_LONGEST_TEXT] if isinstance(value, str) else ""
    return "".join(sign if sign.isprintable() else " " for sign in text)
