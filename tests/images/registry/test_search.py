"""Searching an index, and what an index may say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gasang.core.errors import BadInputError, GasangError, PermissionDeniedError, UnsupportedError, UsageError
from gasang.images.descriptors import DOCUMENT_MAX
from gasang.images.registry.credentials import Credentials
from gasang.images.registry.search import Found, search
from gasang.images.registry.settings import Registries
from support.fake_registry import FakeRegistry


def answers(fake: FakeRegistry, body: bytes, status: int = 200) -> None:
    fake.rules.append(lambda handler: handler.path.startswith("/v1/search?") and handler.answer(status, body))


def results(*entries: Any) -> bytes:
    return json.dumps({"results": entries}).encode()


def test_what_is_found(fake: FakeRegistry, quick: Registries) -> None:
    answers(fake, results({"name": "a/b", "description": "d", "star_count": 3, "is_official": True}, {"name": "c"}, {"no": "name"}, 5))
    found = search(f"{fake.address}/b c&d", 4, registries=quick)
    assert found == [Found("a/b", "d", 3, True, False), Found("c", "", 0, False, False)]
    assert fake.paths()[-1] == "/v1/search?q=b+c%26d&n=4"


def test_no_more_than_asked_for(fake: FakeRegistry, quick: Registries) -> None:
    answers(fake, results(*({"name": f"n{number}"} for number in range(50))))
    assert len(search(f"{fake.address}/n", 3, registries=quick)) == 3


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "x", "star_count": "many", "description": 5, "is_official": "yes"},
        {"name": "x", "star_count": -1},
        {"name": "x", "star_count": True},
        {"name": "x", "star_count": 1 << 60},
    ],
)
def test_fields_that_make_no_sense_count_for_nothing(fake: FakeRegistry, quick: Registries, entry: dict[str, object]) -> None:
    answers(fake, results(entry))
    assert search(f"{fake.address}/x", registries=quick) == [Found("x", "", 0, False, False)]


def test_nothing_of_it_commands_a_terminal(fake: FakeRegistry, quick: Registries) -> None:
    answers(fake, results({"name": "a\x1b[2J", "description": "b\r\nc\x9b"}))
    found = search(f"{fake.address}/a", registries=quick)[0]
    assert found.name.isprintable()
    assert found.description.isprintable()


@pytest.mark.parametrize(
    "body", [b"no json", b"[]", b'{"results": 3}', b"{}", b"[" * 100_000, b'{"results": ["' + b"x" * DOCUMENT_MAX + b'"]}']
)
def test_answers_that_are_no_results(fake: FakeRegistry, quick: Registries, body: bytes) -> None:
    answers(fake, body)
    with pytest.raises(BadInputError):
        search(f"{fake.address}/x", registries=quick)


def test_refusals(fake: FakeRegistry, quick: Registries) -> None:
    with pytest.raises(UnsupportedError, match=r"registry 127.0.0.1:\d+ has no search \(it answers 404\)"):
        search(f"{fake.address}/x", registries=quick)
    answers(fake, b"{}", 500)
    with pytest.raises(GasangError, match="answers 500"):
        search(f"{fake.address}/x", registries=quick)
    fake.rules.clear()
    answers(fake, b"{}", 401)
    with pytest.raises(PermissionDeniedError, match="unauthorized"):
        search(f"{fake.address}/x", registries=quick, credentials=Credentials("u", "p"))
    with pytest.raises(GasangError, match="it cannot be reached"):
        search("localhost:1/x", registries=quick)


@pytest.mark.parametrize(("term", "limit"), [("", 1), ("localhost:5000/", 1), ("x", 0), ("x", 101), ("x" * 300, 1)])
def test_terms_and_limits_that_are_wrong(term: str, limit: int) -> None:
    with pytest.raises(UsageError):
        search(term, limit)
