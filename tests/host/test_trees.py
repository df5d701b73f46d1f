"""Paths as a root sees them."""

from __future__ import annotations

import pytest

from gasang.host.trees import absolute


@pytest.mark.parametrize(
    ("path", "seen"),
    [("a", "/a"), ("/a/", "/a"), ("//a", "/a"), ("///a//b/", "/a/b"), ("/../a/./b", "/a/b"), ("", "/"), ("//", "/"), ("a/../..", "/")],
)
def test_absolute(path: str, seen: str) -> None:
    assert absolute(path) == seen
