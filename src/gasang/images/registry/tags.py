"""The tags of a repository, as the registry lists them (distribution API, "Listing Tags")."""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import urljoin, urlsplit

from gasang.core.errors import BadInputError, NotFoundError
from gasang.images.reference import Reference, is_tag
from gasang.images.registry.answers import document_of
from gasang.images.registry.client import Client
from gasang.images.registry.credentials import Keyring
from gasang.images.registry.reach import reach
from gasang.images.registry.settings import Registries

_NEXT: Final = re.compile(r'<([^<>]{1,2048})>\s*;\s*rel="?next"?')
_PAGES: Final = 1000
_TAGS: Final = 100_000


def tags_of(reference: Reference, *, keyring: Keyring | None = None, registries: Registries | None = None) -> list[str]:
    """The tags of the reference's repository, in the registry's order; its own tag or digest plays no part.

    Raises NotFoundError where there are none, PermissionDeniedError, BadInputError for an answer that is no list, GasangError.
    """
    wanted = reference.qualified()
    settings = registries or Registries()
    credentials = (keyring or Keyring.of_user(os.environ)).find(wanted.registry)
    client = Client(reach(wanted.registry, settings), wanted.name, credentials, settings)
    try:
        found = _all(client, f"image {wanted.familiar().repository}")
    finally:
        client.close()
    if not found:
        raise NotFoundError(f"image {wanted.familiar().repository}", "the registry has no tag of it", "check its name")
    return found


def _all(client: Client, subject: str) -> list[str]:
    found: dict[str, None] = {}
    url = client.url("tags/list?n=1000")
    for _ in range(_PAGES):
        answer = client.insist("GET", url)
        client.expect(answer, 200, subject)
        following = _NEXT.search(answer.headers.get("Link", ""))
        document = document_of(answer, client.endpoint, client.patience)
        found.update(dict.fromkeys(_tags(document, subject)))
        if following is None:
            return list(found)
        if len(found) > _TAGS:
            break
        url = urljoin(url, following[1])
        if urlsplit(url).netloc != client.endpoint.host:
            raise BadInputError(subject, "the list of its tags goes on at another host", "name the tags you want")
    raise BadInputError(subject, "the list of its tags has no end", "name the tags you want")


def _tags(document: object, subject: str) -> list[str]:
    listed = document.get("tags") if isinstance(document, dict) else None
    if listed is None and isinstance(document, dict):
        return []
    if not isinstance(listed, list) or not all(isinstance(tag, str) and is_tag(tag) for tag in listed):
        raise BadInputError(subject, "what the registry says are its tags is no list of tags", "name the tags you want")
    return listed
