"""The tags of a repository: page after page, and lists that are none."""

from __future__ import annotations

import json

import pytest

from gasang.core.errors import BadInputError, NotFoundError
from gasang.images.reference import parse_reference
from gasang.images.registry.credentials import Keyring
from gasang.images.registry.settings import Registries
from gasang.images.registry.tags import tags_of
from support.fake_registry import FakeRegistry, Handler


def tags(fake: FakeRegistry, quick: Registries) -> list[str]:
    return tags_of(parse_reference(f"{fake.address}/app:ignored"), keyring=Keyring(), registries=quick)


def test_page_after_page(fake: FakeRegistry, quick: Registries) -> None:
    pages = {"": ["a", "b"], "b": ["b", "c"], "c": ["d"]}

    def page(handler: Handler) -> bool:
        if "/tags/list" not in handler.path:
            return False
        last = handler.path.partition("last=")[2]
        names = pages[last]
        following = {} if last == "c" else {"Link": f'</v2/app/tags/list?n=2&last={names[-1]}>; rel="next"'}
        return handler.answer(200, json.dumps({"name": "app", "tags": names}).encode(), **following)

    fake.rules.append(page)
    assert tags(fake, quick) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("body", [b"[]", b'{"tags": 3}', b'{"tags": [3]}', b'{"tags": ["../x"]}', b'{"tags": ["a b"]}', b"{"])
def test_lists_that_are_none(fake: FakeRegistry, quick: Registries, body: bytes) -> None:
    fake.rules.append(lambda handler: "/tags/list" in handler.path and handler.answer(200, body))
    with pytest.raises(BadInputError):
        tags(fake, quick)


@pytest.mark.parametrize("link", ['</v2/app/tags/list?n=1000>; rel="next"', '<http://192.0.2.1/v2/app/tags/list>; rel="next"'])
def test_a_list_without_end_or_elsewhere(fake: FakeRegistry, quick: Registries, link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gasang.images.registry.tags._PAGES", 5)
    fake.rules.append(lambda handler: "/tags/list" in handler.path and handler.answer(200, b'{"tags": ["a"]}', Link=link))
    with pytest.raises(BadInputError, match=r"has no end|another host"):
        tags(fake, quick)


@pytest.mark.parametrize("body", [b'{"tags": null}', b'{"tags": []}', b"{}"])
def test_a_repository_without_tags(fake: FakeRegistry, quick: Registries, body: bytes) -> None:
    fake.rules.append(lambda handler: "/tags/list" in handler.path and handler.answer(200, body))
    with pytest.raises(NotFoundError, match="no tag"):
        tags(fake, quick)


def test_a_repository_that_is_not_there(fake: FakeRegistry, quick: Registries) -> None:
    with pytest.raises(NotFoundError):
        tags(fake, quick)
